"""What a connector is told, what it answers, and what it must be able to do.

Terms follow the Open Service Broker API: `start` provisions, `last_operation` asks how far it got,
`undo` deprovisions, `describe` fetches what is there.
"""

import logging
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from core.tracing import traceparent

logger = logging.getLogger(__name__)

MAX_LINES = 500
# No network call lasts longer; what takes more is polled (seconds, by a monotonic clock).
CALL_SECONDS = 25.0


class Failed(Exception):  # noqa: N818 (the field's word)
    """It cannot work however often it is tried: `str()` says why, in words for IT.

    `left_nothing`: the back end has certainly made nothing, so there is nothing to undo.
    """

    def __init__(self, reason: str, *, left_nothing: bool = False) -> None:
        super().__init__(reason)
        self.left_nothing = left_nothing


class Missing(Failed):
    """What `describe` looked for is not there any more."""


class Unknown(Exception):  # noqa: N818 (what is known)
    """Nobody can say whether it happened, and trying again could do it twice: a person has to look."""


class Retry(Exception):  # noqa: N818 (what is to be done)
    """It did not work this time; try again, after `after` seconds where the back end said so.

    `is_fault`: the back end does not answer or has a fault of its own. Its breaker counts that; a back end that is
    merely busy with the same thing is not at fault.
    """

    def __init__(self, reason: str, *, after: float | None = None, is_fault: bool = True) -> None:
        super().__init__(reason)
        self.after = after
        self.is_fault = is_fault


class LeaseLost(Exception):  # noqa: N818 (what happened)
    """This worker may no longer act for the step: another one may have taken it over."""


@dataclass(frozen=True)
class Done:
    """It is done: what came of it, and one sentence for the person who ordered."""

    outputs: dict[str, Any] = field(default_factory=dict)
    detail: str = ""
    external_ref: str = ""
    # Passwords that the back end made: stored encrypted, shown once, never part of outputs.
    secrets: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Working:
    """The back end goes on by itself; ask `last_operation` again after `after` seconds."""

    after: float = 5.0
    detail: str = ""
    external_ref: str = ""


@dataclass(frozen=True)
class Waiting:
    """A person has to do something; nothing is due until he has."""

    detail: str = ""
    task: dict[str, Any] = field(default_factory=dict)


Answer = Done | Working | Waiting


class Lease:
    """How long this worker may still act. The engine renews it; a connector only asks."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.lost = False
        self._good_until = time.monotonic() + seconds * 2 / 3
        self._cancelers: list[Callable[[], object]] = []

    def renewed(self) -> None:
        """Note that the database has just prolonged the lease."""
        self._good_until = time.monotonic() + self.seconds * 2 / 3

    def is_over(self) -> bool:
        """Tell whether two thirds of the lease went by without a renewal: time to stop by oneself."""
        return self.lost or time.monotonic() >= self._good_until

    def lose(self) -> None:
        """Stop whatever call is under way."""
        self.lost = True
        for cancel in tuple(self._cancelers):
            try:
                cancel()
            except Exception as error:  # noqa: BLE001 (any client's error: the call is over in any case)
                logger.warning("A call could not be canceled: %s", error)

    @contextmanager
    def cancel_by(self, cancel: Callable[[], object]) -> Iterator[None]:
        """While the block runs, `cancel` is called from another thread should the lease be lost."""
        self._cancelers.append(cancel)
        try:
            yield
        finally:
            self._cancelers.remove(cancel)


@dataclass(frozen=True)
class BackEnd:
    """Where to call and how to sign in there: a row of the back ends, its credentials in the clear."""

    slug: str
    address: str = ""
    config: dict[str, Any] = field(default_factory=dict)
    credentials: dict[str, str] = field(default_factory=dict, repr=False)


@dataclass
class Call:
    """Everything that a connector may know about one attempt of one step."""

    step_id: UUID
    operation: str
    attempt: int
    idempotency_key: UUID
    fencing_token: int
    instance_id: UUID
    instance_name: str
    inputs: dict[str, Any]
    context: dict[str, Any]
    outputs: dict[str, Any]
    secrets: dict[str, str]
    external_ref: str
    lease: Lease
    # The step's name, as the person who ordered reads it.
    step_name: str = ""
    # For `undo`: whether what is to be undone had come to its end.
    was_done: bool = True
    # The back end that the workflow names; None for connectors that know theirs from the settings.
    back_end: BackEnd | None = None
    trace_id: str = ""
    # For `update`: what was in force before, as {"plan", "limits", "parameters"}.
    before: dict[str, Any] = field(default_factory=dict)
    # For `last_operation`: the newest signed news of this step from the back end, if any came.
    news: dict[str, Any] | None = None
    # Seconds since the step was first begun, by the database's clock: the workers' own may differ.
    elapsed: float = 0.0
    # How long a child process may run: longer than a network call, where the connector's queue is `long`.
    work_seconds: float = CALL_SECONDS
    lines: list[str] = field(default_factory=list)
    _ends_at: float = field(default_factory=lambda: time.monotonic() + CALL_SECONDS)

    def check(self) -> None:
        """Ask before every act at the back end whether one may still act. Raises LeaseLost."""
        if self.lease.is_over():
            raise LeaseLost(f"The lease of step {self.step_id} ran out.")

    def remaining(self) -> float:
        """Seconds that the next network call may take. Raises LeaseLost or Retry where there are none."""
        self.check()
        left = self._ends_at - time.monotonic()
        if left <= 0:
            raise Retry("The back end took too long.")
        return left

    def headers(self) -> dict[str, str]:
        """Give what every outbound call says of itself: the key of its repeats, its claim, its trace."""
        return {
            "Idempotency-Key": str(self.idempotency_key),
            "X-Greenlane-Fencing-Token": str(self.fencing_token),
            "traceparent": traceparent(self.trace_id or self.step_id.hex, self.fencing_token),
        }

    def log(self, text: str) -> None:
        """Add a line to the technical log; written every few seconds while the call goes on."""
        if len(self.lines) < MAX_LINES:
            self.lines.append(text[:500])


class Connector:
    """One back end.

    `idempotency` says what a second `start` after an unknown end does: `key` (the back end recognizes our
    key), `lookup` (we look first and go on from there), or `none` (a person has to look).
    settings.CONNECTORS declares the same, and what else catalog and engine need to know (config/connectors.py).
    """

    idempotency = "none"

    def start(self, call: Call) -> Answer:
        """Make the thing, or go on making it: a second call finds what the first one left."""
        raise NotImplementedError

    def last_operation(self, call: Call) -> Answer:
        """Say how far what `start` began has got. Only for connectors that answer Working."""
        raise NotImplementedError

    def undo(self, call: Call) -> Answer:
        """Take away whatever `start` made, all of it or half of it or nothing. Effective once."""
        raise NotImplementedError

    def describe(self, call: Call) -> Answer:
        """Look whether the thing is there and works; Failed where it does not."""
        raise NotImplementedError

    def preview(self, call: Call) -> Answer:
        """Say in the log what `start` would do, and do none of it."""
        raise Failed("This connector cannot say beforehand what it would do.", left_nothing=True)

    def update(self, call: Call) -> Answer:
        """Bring what was made in line with the call's inputs; `call.before` is what was in force.

        A failed update is taken back by another one, with the former inputs; it never deletes.
        """
        raise Failed("This service cannot be changed.", left_nothing=True)

    def rotates(self, inputs: dict[str, Any]) -> bool:
        """Tell whether a step with these inputs, still unfilled, can be given new passwords."""
        return type(self).rotate is not Connector.rotate

    def rotate(self, call: Call) -> Answer:
        """Make the back end accept `call.secrets` instead of the ones before."""
        raise Failed("This service has no password to change.")
