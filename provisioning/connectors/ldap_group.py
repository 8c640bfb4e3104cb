"""Being written."""

from provisioning.connectors.base import Connector


class LdapGroup(Connector):
    """Being written."""

    idempotency = "lookup"
