"""Being written."""

from provisioning.connectors.base import Connector


class Awx(Connector):
    """Being written."""

    idempotency = "lookup"
