"""A worker at work: claim, call the connector while the lease is kept, write the result, go on."""

import logging
import mmap
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from uuid import UUID

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection

from catalog.services import idempotency_of
from core import bell, tracing
from core.transactions import Busy, is_unreachable
from provisioning.connectors import connector
from provisioning.connectors.base import Answer, Failed, Lease, LeaseLost, Retry, Unknown
from provisioning.models import Step
from provisioning.services import breakers, calls, claims, results

logger = logging.getLogger(__name__)

# A woken worker goes on to further steps for so long; then another message has its turn. A call of 25 seconds
# that begins just before still ends within the task's soft limit of 60.
GO_ON_SECONDS = 30.0
# How often the log of a call under way is written.
LOG_SECONDS = 2.0

# One byte that a worker's pool processes share with the process that forked them: set when it shuts down.
_leaving = mmap.mmap(-1, 1)


def leave() -> None:
    """Have this worker's processes end after the step they are at: the rest is for other workers."""
    _leaving[0] = 1


def work(step_id: UUID | str | None = None, *, queue: str = "default") -> int:
    """Do the named step if it is due, then whatever else is, most urgent first; give how many were done.

    Interactive work comes first; the next step of the same run is taken without another ring. Of the queue
    `long`, whose steps take minutes, one a call.
    """
    ends_at = time.monotonic() + (GO_ON_SECONDS if queue == "default" else 0.0)
    done = 0
    if _leaving[0]:
        return done
    step = claims.claim(step_id, queues=[queue]) if step_id else None
    step = step or claims.claim(queues=[queue])
    while step is not None:
        with bell.held() as rings:
            following = execute(step)
        done += 1
        goes_on = not _leaving[0] and time.monotonic() < ends_at
        step = claims.claim(following.pk, queues=[queue]) if following and goes_on else None
        rings.release(besides=following.pk if step and following else None)
        if not goes_on:
            break
        step = step or claims.claim(queues=[queue])
    return done


def execute(step: Step) -> Step | None:
    """Make one attempt of a claimed step; the step made ready by its result is given back."""
    lease = Lease(float(settings.LEASE_SECONDS))
    lines: list[str] = []
    tracing.enter(step.run.trace_id)
    began = time.monotonic()
    try:
        with _kept(step, lease, lines) as rest:
            write = _attempt(step, lease, lines)
            if time.monotonic() - began > breakers.SLOW_SECONDS:
                breakers.note_slow(step.back_end)
            return _written(lease, partial(write, lines=rest()))
    except LeaseLost as error:
        logger.warning("%s", error)
        return None
    finally:
        tracing.enter("")


def _attempt(step: Step, lease: Lease, lines: list[str]) -> Callable[..., Step | None]:
    """Call the connector and give the function that writes what came of it. Raises LeaseLost."""
    try:
        answer = _ask(step, lease, lines)
    except LeaseLost:
        raise
    except Unknown as error:
        return partial(results.ask_a_person, step, str(error))
    except Exception as error:  # a connector's fault is a failed attempt, never a dead worker
        if step.look_again:
            return partial(results.ask_a_person, step, f"Looked again: {error}")
        if isinstance(error, Failed):
            return partial(results.give_up, step, str(error), left_nothing=error.left_nothing)
        if isinstance(error, Retry):
            return partial(results.try_later, step, str(error), error.after, is_fault=error.is_fault)
        logger.exception("The connector %s failed at step %s.", step.connector, step.pk)
        reason = f"{type(error).__name__}: {error}"
        if idempotency_of(step.connector, step.inputs) == "none":
            return partial(results.ask_a_person, step, reason)
        return partial(results.try_later, step, reason, None)
    if answer is None:
        return partial(results.pass_over, step, "Not needed for this order.")
    return partial(results.finish, step, answer)


def _written(lease: Lease, write: Callable[[], Step | None]) -> Step | None:
    """Write a result, again and again while the lease lasts should the database be away for a moment."""
    while True:
        try:
            return write()
        except (DatabaseError, InterfaceError, Busy) as error:
            if not isinstance(error, Busy) and not is_unreachable(error):
                raise
            if lease.is_over():
                raise LeaseLost("The database was away for longer than the lease.") from error
            connection.close()
            time.sleep(0.2)


def _ask(step: Step, lease: Lease, lines: list[str]) -> Answer | None:
    """Call the connector; None where the step's condition says that it is not needed."""
    if step.kind == Step.Kind.DO and step.when and step.state != Step.State.POLLING and not calls.is_wanted(step):
        return None
    call = calls.call_for(step, lease, lines)
    back_end = connector(step.connector)
    if step.look_again:
        return back_end.describe(call)
    if step.state == Step.State.POLLING:
        return back_end.last_operation(call)
    operations = {
        "start": back_end.start,
        "undo": back_end.undo,
        "describe": back_end.describe,
        "preview": back_end.preview,
        "update": back_end.update,
        "rotate": back_end.rotate,
    }
    return operations[step.operation](call)


@contextmanager
def _kept(step: Step, lease: Lease, lines: list[str]) -> Iterator[Callable[[], list[str]]]:
    """While the block runs, renew the lease from a second thread and write the log as it grows.

    Gives a function that ends the writing and says which lines are not written yet.
    """
    stop, log = threading.Event(), _Log(step, lines)
    keeper = threading.Thread(target=_keep, args=(step, lease, log, stop), name=f"lease-{step.pk}", daemon=True)
    keeper.start()
    try:
        yield log.rest
    finally:
        stop.set()
        keeper.join(timeout=5)


class _Log:
    """The lines of one attempt: those of a long call are written while it goes on, the rest with its result."""

    def __init__(self, step: Step, lines: list[str]) -> None:
        self.step, self.lines, self.written, self.lock = step, lines, 0, threading.Lock()

    def rest(self) -> list[str]:
        """Give the lines that are not written yet, once."""
        with self.lock:
            fresh = self.lines[self.written :]
            self.written += len(fresh)
            return fresh

    def write(self) -> None:
        """Write what has come since; a database that is away costs lines, never the call."""
        fresh = self.rest()
        try:
            results.keep_lines(self.step, fresh)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("Step %s: %d lines of its log were lost: %s", self.step.pk, len(fresh), error)
            connection.close()


def _keep(step: Step, lease: Lease, log: _Log, stop: threading.Event) -> None:
    pause = lease.seconds / 3
    due = time.monotonic() + pause
    watch = threading.Thread(target=_watch, args=(lease, stop), name=f"watch-{step.pk}", daemon=True)
    try:
        while not stop.wait(min(LOG_SECONDS, max(due - time.monotonic(), 0.0))):
            if time.monotonic() >= due:
                if watch.ident is None:
                    watch.start()
                pause = lease.seconds / 3 if _renewed(step, lease) else min(lease.seconds / 10, 1.0)
                if lease.lost:
                    return
                due = time.monotonic() + pause
            log.write()
    finally:
        connection.close()


def _watch(lease: Lease, stop: threading.Event) -> None:
    """Stop the call once the lease is over: whoever renews it may be waiting for a database that does not answer."""
    while not stop.wait(min(lease.seconds / 20, 1.0)):
        if lease.is_over():
            lease.lose()
            return


def _renewed(step: Step, lease: Lease) -> bool:
    try:
        if not claims.renew(step.pk, claims.token_of(step)):
            lease.lose()
            return False
    except (DatabaseError, InterfaceError) as error:
        logger.warning("Step %s: the lease could not be renewed: %s", step.pk, error)
        connection.close()
        return False
    lease.renewed()
    return True
