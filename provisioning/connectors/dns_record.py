"""Being written."""

from provisioning.connectors.base import Connector


class DnsRecord(Connector):
    """Being written."""

    idempotency = "lookup"
