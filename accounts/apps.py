"""The app's name."""

from django.apps import AppConfig


class AccountsConfig(AppConfig):
    """People, organizations, cost centers, roles, tokens."""

    name = "accounts"
