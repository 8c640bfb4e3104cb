"""Routes of catalog."""

from django.urls import path

from catalog import views

app_name = "catalog"
urlpatterns = [
    path("", views.offering_list, name="offering_list"),
    path("catalog/<slug:slug>/", views.offering_detail, name="offering_detail"),
    path("catalog/<slug:slug>/quote/", views.offering_quote, name="offering_quote"),
    path("catalog/<slug:slug>/picture/", views.offering_picture, name="offering_picture"),
]
