"""Being written."""

from provisioning.connectors.base import Connector


class Email(Connector):
    """Being written."""
