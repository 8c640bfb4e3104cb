"""Routes of provisioning."""

from django.urls import path

from provisioning import views

app_name = "provisioning"
urlpatterns = [
    path("tasks/", views.manualtask_list, name="manualtask_list"),
    path("tasks/<uuid:pk>/", views.manualtask_detail, name="manualtask_detail"),
    path("tasks/<uuid:pk>/complete/", views.manualtask_complete, name="manualtask_complete"),
]
