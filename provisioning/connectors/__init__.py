"""Back ends: one small class each, named in settings.CONNECTORS, all passing one contract test."""

from functools import cache

from django.conf import settings
from django.utils.module_loading import import_string

from provisioning.connectors.base import Connector


@cache
def connector(name: str) -> Connector:
    """Give the connector that settings.CONNECTORS names `name`. Raises KeyError for an unknown one."""
    made: Connector = import_string(str(settings.CONNECTORS[name]["class"]))()
    return made
