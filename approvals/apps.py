"""The app's name."""

from django.apps import AppConfig


class ApprovalsConfig(AppConfig):
    """Decisions, and what they were made of."""

    name = "approvals"
