"""The end of calls that speak another language than HTTP: in time, and when the lease is lost."""

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

from core import egress
from provisioning.connectors.base import Call, Failed, LeaseLost, Retry


@contextmanager
def ended_in_time(call: Call, end: Callable[[], object]) -> Iterator[None]:
    """While the block runs, `end` is called from another thread when the call's time is over or its lease lost.

    Clients that wait for each line or packet anew are ended so, however slowly the server drips. Raises LeaseLost,
    or Retry where no time is left.
    """
    timer = threading.Timer(call.remaining(), end)
    timer.daemon = True
    timer.start()
    try:
        with call.lease.cancel_by(end):
            yield
    finally:
        timer.cancel()


def hang_up(connection: socket.socket | None) -> None:
    """Shut a connection down, so that whoever waits for it in another thread goes on at once."""
    if connection is not None:
        with suppress(OSError):
            connection.shutdown(socket.SHUT_RDWR)


def addresses(call: Call, host: str, port: int, *, is_safe: bool = True) -> list[str]:
    """Give the addresses at which the back end may be reached (egress.check). Raises Failed, Retry or LeaseLost."""
    try:
        return egress.check(host, port, seconds=min(5.0, call.remaining()), is_safe=is_safe)
    except egress.Refused as error:
        raise Failed(str(error), left_nothing=True) from error
    except egress.Unreachable as error:
        raise Retry(str(error)) from error


def stop_if_lost(call: Call, error: Exception) -> None:
    """Raise LeaseLost where a call ended because the lease did. Call it first when a client reports an error."""
    try:
        call.check()
    except LeaseLost as lost:
        raise lost from error
