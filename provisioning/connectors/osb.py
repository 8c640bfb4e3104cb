"""Being written."""

from provisioning.connectors.base import Connector


class OpenServiceBroker(Connector):
    """Being written."""

    idempotency = "key"
