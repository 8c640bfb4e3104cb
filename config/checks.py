"""System checks: what would make this site unsafe, found by `manage.py check --deploy`."""

from typing import Any

from django.conf import settings
from django.core.checks import CheckMessage, Error, Tags, Warning, register  # noqa: A004 (Django's name)


@register(Tags.security, deploy=True)
def roles_apart(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """The web must not own the tables: an owner can switch triggers off."""
    if settings.DATABASE_URL == settings.DATABASE_OWNER_URL:
        return [
            Warning(
                "DATABASE_OWNER_URL is not set: the application owns its tables and could change the audit trail.",
                hint="Give migrations a role of their own; see docs/running.md.",
                id="greenlane.W001",
            )
        ]
    return []


@register(Tags.security)
def connectors_exist(app_configs: Any, **kwargs: Any) -> list[CheckMessage]:
    """Every connector of the settings can be made, and declares what the settings say."""
    from provisioning.connectors import connector  # noqa: PLC0415 (apps first)

    found: list[CheckMessage] = []
    for name, declared in settings.CONNECTORS.items():
        try:
            made = connector(name)
        except ImportError as error:
            found.append(Error(f"The connector {name} cannot be loaded: {error}", id="greenlane.E001"))
            continue
        if made.idempotency != declared["idempotency"]:
            found.append(
                Error(
                    f"The connector {name} is declared {declared['idempotency']} but is {made.idempotency}.",
                    id="greenlane.E002",
                )
            )
    return found
