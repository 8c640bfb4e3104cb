"""The app's name."""

from django.apps import AppConfig


class CoreConfig(AppConfig):
    """Events, states, permissions, money, parameters, secrets."""

    name = "core"
