"""How a worker treats a message: it is heard or it is lost, and nobody waits for an acknowledgment."""

from celery.worker.request import Request


class Ring(Request):
    """One message. Its queue gives it away for good when it is read (`no_ack`), so nothing is sent back.

    An acknowledgment that fails would leave the worker waiting for ever (a broker that hangs for seconds) or
    end it (a broker that came back meanwhile). A message lost with its worker only costs a sweep.
    """

    def acknowledge(self) -> None:
        """Note that it was handled."""
        self.acknowledged = True

    def reject(self, requeue: bool = False) -> None:  # noqa: FBT001, FBT002 (Celery's signature)
        """Note that it was not: the step is still due, and the sweep rings again."""
        self.acknowledged = True
