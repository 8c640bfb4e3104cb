"""Routes of orders."""

from django.urls import path

from orders import views

app_name = "orders"
urlpatterns = [
    path("catalog/<slug:slug>/order/", views.order_create, name="order_create"),
    path("orders/", views.order_list, name="order_list"),
    path("orders/<uuid:pk>/", views.order_detail, name="order_detail"),
    path("orders/<uuid:pk>/live/", views.order_live, name="order_live"),
    path("orders/<uuid:pk>/cancel/", views.order_cancel, name="order_cancel"),
    path("orders/<uuid:pk>/change/", views.order_change, name="order_change"),
    path("orders/<uuid:pk>/change/quote/", views.order_change_quote, name="order_change_quote"),
    path("orders/<uuid:pk>/remove/", views.order_remove, name="order_remove"),
    path("orders/<uuid:pk>/retry/", views.order_retry, name="order_retry"),
    path("orders/<uuid:pk>/credentials/", views.order_credentials, name="order_credentials"),
    path("orders/<uuid:pk>/rotate/", views.order_rotate, name="order_rotate"),
]
