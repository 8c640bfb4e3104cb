"""The app's name."""

from django.apps import AppConfig


class ProvisioningConfig(AppConfig):
    """Service instances, workflow runs and steps, connectors."""

    name = "provisioning"
