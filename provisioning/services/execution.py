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

from core import secrets
from core.transactions import Busy, is_unreachable
from provisioning.connectors import connector
from provisioning.connectors.base import Answer, Call, Failed, Lease, LeaseLost, Retry
from provisioning.models import Run, Secret, Step
from provisioning.services import claims

logger = logging.getLogger(__name__)

# A woken worker goes on to further steps for so long; then another message has its turn. A call of 25 seconds
# that begins just before still ends within the task's soft limit of 60.
GO_ON_SECONDS = 30.0

# One byte that a worker's pool processes share with the process that forked them: set when it shuts down.
_leaving = mmap.mmap(-1, 1)


def leave() -> None:
    """Have this worker's processes end after the step they are at: the rest is for other workers."""
    _leaving[0] = 1


def work(step_id: UUID | str | None = None) -> int:
    """Do the named step if it is due, then whatever else is, most urgent first; give how many were done.

    Interactive work comes first; the next step of the same run is taken without another ring.
    """
    ends_at = time.monotonic() + GO_ON_SECONDS
    done = 0
    if _leaving[0]:
        return done
    step = claims.claim(step_id) if step_id else None
    step = step or claims.claim()
    while step is not None:
        following = execute(step)
        done += 1
        if _leaving[0] or time.monotonic() >= ends_at:
            break
        step = (claims.claim(following.pk) if following else None) or claims.claim()
    return done


def execute(step: Step) -> Step | None:
    """Make one attempt of a claimed step; the step made ready by its result is given back."""
    lease = Lease(float(settings.LEASE_SECONDS))
    lines: list[str] = []
    try:
        with _kept(step, lease):
            try:
                answer = _ask(step, _call_for(step, lease, lines))
            except LeaseLost:
                raise
            except Failed as error:
                write = partial(claims.give_up, step, str(error), lines)
            except Retry as error:
                write = partial(claims.try_later, step, str(error), error.after, lines)
            except Exception as error:  # a connector's fault is a failed attempt, never a dead worker
                logger.exception("The connector %s failed at step %s.", step.connector, step.pk)
                write = partial(claims.try_later, step, f"{type(error).__name__}: {error}", None, lines)
            else:
                write = partial(claims.finish, step, answer, lines)
            return _written(lease, write)
    except LeaseLost as error:
        logger.warning("%s", error)
        return None


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


def _ask(step: Step, call: Call) -> Answer:
    back_end = connector(step.connector)
    if step.state == Step.State.POLLING:
        return back_end.last_operation(call)
    operations = {
        "start": back_end.start,
        "undo": back_end.undo,
        "describe": back_end.describe,
        "rotate": back_end.rotate,
    }
    return operations[step.operation](call)


def _call_for(step: Step, lease: Lease, lines: list[str]) -> Call:
    run = step.run
    return Call(
        step_id=step.pk,
        operation=step.operation,
        attempt=step.attempt,
        idempotency_key=step.idempotency_key,
        fencing_token=claims.token_of(step),
        instance_id=run.instance_id,
        instance_name=run.instance.name,
        inputs={**_limits_for(step, run), **step.inputs},
        context=run.context,
        outputs=_earlier_outputs(step),
        secrets=_secrets_for(step),
        external_ref=step.external_ref,
        lease=lease,
        lines=lines,
        step_name=step.name,
        was_done=step.undoes is None or step.undoes.state == Step.State.SUCCEEDED,
    )


def _limits_for(step: Step, run: Run) -> dict[str, object]:
    """The plan's limits that the connector knows as inputs; the workflow's own inputs go before them."""
    known = settings.CONNECTORS[step.connector]["inputs"]
    return {name: value for name, value in run.context.get("limits", {}).items() if name in known}


def _earlier_outputs(step: Step) -> dict[str, object]:
    outputs: dict[str, object] = dict(step.run.instance.outputs)
    rows = Step.objects.filter(run=step.run_id, kind=Step.Kind.DO).exclude(outputs={}).order_by("seq")
    for earlier in rows.values_list("outputs", flat=True):
        outputs |= earlier
    return outputs


def _secrets_for(step: Step) -> dict[str, str]:
    """The passwords to set: the step's own, or else those in force."""
    rows = Secret.objects.filter(instance=step.run.instance_id, superseded_at__isnull=True).order_by("created_at")
    own = [row for row in rows if row.step_id == step.pk]
    chosen = own or [row for row in rows if row.in_force_at is not None]
    return {row.name: secrets.decrypt(row.ciphertext, bound_to=row.pk) for row in chosen}


@contextmanager
def _kept(step: Step, lease: Lease) -> Iterator[None]:
    """Renew the lease from a second thread every third of it while the block runs."""
    stop = threading.Event()
    keeper = threading.Thread(target=_keep, args=(step, lease, stop), name=f"lease-{step.pk}", daemon=True)
    keeper.start()
    try:
        yield
    finally:
        stop.set()
        keeper.join(timeout=5)


def _keep(step: Step, lease: Lease, stop: threading.Event) -> None:
    pause = lease.seconds / 3
    try:
        while not stop.wait(pause):
            if not _renewed(step, lease):
                pause = min(lease.seconds / 10, 1.0)
                if lease.is_over():
                    lease.lose()
                    return
            else:
                pause = lease.seconds / 3
    finally:
        connection.close()


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
