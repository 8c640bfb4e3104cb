"""The app's name."""

from django.apps import AppConfig


class OrdersConfig(AppConfig):
    """Orders, accepted terms, idempotency keys."""

    name = "orders"
