"""Being written."""

from provisioning.connectors.base import Connector


class Ansible(Connector):
    """Being written."""

    idempotency = "lookup"
