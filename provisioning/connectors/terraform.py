"""Being written."""

from provisioning.connectors.base import Connector


class Terraform(Connector):
    """Being written."""

    idempotency = "lookup"
