"""A back end that is done before it is asked."""

from provisioning.connectors.base import Call, Connector, Done


class Nothing(Connector):
    """Delivers nothing, at once."""

    idempotency = "key"

    def start(self, call: Call) -> Done:
        """Be done."""
        call.check()
        return Done()

    def undo(self, call: Call) -> Done:
        """Be done."""
        call.check()
        return Done()
