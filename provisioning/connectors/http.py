"""Being written."""

from provisioning.connectors.base import Connector


class Http(Connector):
    """Being written."""

    idempotency = "key"
