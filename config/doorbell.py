"""How a worker treats a message: it is heard or it is lost, and nobody waits for an acknowledgment."""

from queue import Empty
from typing import Any

from celery.worker.request import Request
from kombu.transport import TRANSPORT_ALIASES, filesystem

# The scheme of a broker that is a folder: for one machine without Redis.
FILES = "files"
TRANSPORT_ALIASES[FILES] = "config.doorbell:Files"


class FileChannel(filesystem.Channel):
    """Messages as files. Whoever is quick reads one that is still being written: a lost ring, no fault."""

    def _get(self, queue: str, timeout: float | None = None) -> Any:
        try:
            return super()._get(queue)
        except ValueError:
            raise Empty from None


class Files(filesystem.Transport):
    """The transport of these channels."""

    Channel = FileChannel


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
