"""What is connected once all apps are loaded."""

from django.apps import AppConfig
from django.contrib.admin.apps import AdminConfig
from django.utils.module_loading import autodiscover_modules


class GreenlaneAdminConfig(AdminConfig):
    """The Django admin with our own site: sign-in through Greenlane's page."""

    default_site = "config.admin.GreenlaneAdminSite"


class WiringConfig(AppConfig):
    """Hands the lower layers the tables that only this layer may know."""

    name = "config"
    label = "wiring"

    def ready(self) -> None:
        """Load every app's permissions, register the checks, give core its table of who reacts to what."""
        autodiscover_modules("permissions")
        from config import celery, checks  # noqa: F401, PLC0415 (the queue that tasks ring; the system checks)
        from config.event_handlers import HANDLERS  # noqa: PLC0415 (apps first)
        from core import events  # noqa: PLC0415 (apps first)

        events.connect(HANDLERS)
