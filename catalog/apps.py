"""The app's name."""

from django.apps import AppConfig


class CatalogConfig(AppConfig):
    """Offerings and what was promised with them."""

    name = "catalog"
