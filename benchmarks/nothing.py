"""Back ends that are done before they are asked."""

from benchmarks.raw import write_start
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


class Noted(Nothing):
    """Delivers nothing, and writes down when it was asked to."""

    def start(self, call: Call) -> Done:
        """Write the moment down, as the task that it is compared with does."""
        write_start("ours", str(call.instance_id))
        return Done()
