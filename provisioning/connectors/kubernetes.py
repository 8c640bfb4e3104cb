"""Being written."""

from provisioning.connectors.base import Connector


class Kubernetes(Connector):
    """Being written."""

    idempotency = "lookup"
