"""Looking whether what was delivered is still there. It marks what is missing and what is there again, no more.

Nothing is made or deleted here: a service that somebody took away behind our back is for people to decide about.
"""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from celery import current_app
from django.db import connection, transaction

from core.secrets import scrub
from core.states import move
from provisioning.connectors import connector
from provisioning.connectors.base import Missing
from provisioning.models import Breaker, ServiceInstance, Step
from provisioning.services import calls
from provisioning.services.lifecycle import context_in_force, steps_in_force

logger = logging.getLogger(__name__)

TASK = "provisioning.tasks.reconcile"
OLDER_THAN = timedelta(hours=1)
# Of one task: another call of 25 seconds still ends within its soft limit of 60.
GO_ON_SECONDS = 30.0
MAX_REASON = 300
State = ServiceInstance.State
# What a person has done, or what was sent, nobody can look at.
CANNOT_TELL = frozenset({"manual", "email"})
LOOKED_AT = [State.ACTIVE, State.MISSING]

DUE = """
    state IN ('active', 'missing')
    AND (checked_at IS NULL OR checked_at < %(before)s)
    AND (%(connector)s = '' OR EXISTS (
        SELECT FROM provisioning_run AS run JOIN provisioning_step AS step ON step.run_id = run.id
        WHERE run.instance_id = instance.id AND %(connector)s IN (step.connector, step.back_end)))
"""
# One at a time, so that any number of workers and commands share the work.
TAKE = f"""
    UPDATE provisioning_serviceinstance SET checked_at = clock_timestamp()
    WHERE id = (SELECT id FROM provisioning_serviceinstance AS instance WHERE {DUE}
                ORDER BY checked_at NULLS FIRST LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id
"""  # noqa: S608 (constants of this file)
COUNT = f"SELECT count(*) FROM provisioning_serviceinstance AS instance WHERE {DUE}"  # noqa: S608 (as above)


@dataclass
class Found:
    """What a round of looking found: how many are there, are there again, or could not be looked at; which are gone."""

    there: int = 0
    again: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    unsure: int = 0
    is_over: bool = True

    @property
    def looked_at(self) -> int:
        """How many services were looked at."""
        return self.there + len(self.again) + len(self.missing) + self.unsure


def reconcile(
    *,
    connector_name: str = "",
    older_than: timedelta = OLDER_THAN,
    seconds: float | None = None,
    watch: Callable[[int, int], None] | None = None,
) -> Found:
    """Look at every service that was not looked at for `older_than`, longest unseen first; mark what is missing.

    `connector_name` narrows it to those of a connector or back end; after `seconds` no further one is begun
    (`is_over` says whether any is left); `watch` is told how many are done, and of how many.
    """
    ends_at = time.monotonic() + seconds if seconds is not None else float("inf")
    which = {"before": _now() - older_than, "connector": connector_name}
    total, found = _count(which), Found()
    for instance in _due(which):
        _note(found, instance, _look(instance, ends_at))
        if watch:
            watch(found.looked_at, max(total, found.looked_at))
        if time.monotonic() >= ends_at:
            found.is_over = _count(which) == 0
            break
    return found


def ring() -> None:
    """Have a worker look at what is due. Where the broker does not take it, the next hour's ring makes up for it."""
    try:
        current_app.send_task(TASK, queue="default", retry=False, ignore_result=True)
    except Exception as error:  # noqa: BLE001 (any broker, any of its errors)
        logger.warning("Nobody could be asked to look at the services: %s", error)


def _now() -> datetime:
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        now: datetime = cursor.fetchone()[0]
    return now


def _count(which: dict[str, Any]) -> int:
    with connection.cursor() as cursor:
        cursor.execute(COUNT, which)
        return int(cursor.fetchone()[0])


def _due(which: dict[str, Any]) -> Iterator[ServiceInstance]:
    """Take due services one by one; each is due no more once it is given."""
    while True:
        with connection.cursor() as cursor:
            cursor.execute(TAKE, which)
            row = cursor.fetchone()
        if row is None:
            return
        yield ServiceInstance.objects.select_related("plan__version").get(pk=row[0])


@dataclass(frozen=True)
class Seen:
    """What the back ends said of a service: `there`, `gone` or `unsure`, and why."""

    what: str
    reason: str = ""


def _look(instance: ServiceInstance, ends_at: float) -> Seen:
    """Ask the back ends of a service: it is there where all of it is, and gone where a part of it is."""
    made = [step for step in steps_in_force(instance) if step.state == Step.State.SUCCEEDED]
    asked = [step for step in made if step.connector not in CANNOT_TELL]
    context = context_in_force(instance)
    silent = set(Breaker.objects.filter(state=Breaker.State.OPEN).values_list("back_end", flat=True))
    seen = Seen("there") if asked else Seen("unsure", "Only a person could look.")
    for step in asked:
        if step.back_end in silent or time.monotonic() >= ends_at:
            seen = Seen("unsure", f"{step.back_end} was not asked.")
            continue
        # As it is in force now, not as it was first made.
        step.run.context = context
        try:
            connector(step.connector).describe(calls.call_for_look(step))
        except Missing as error:
            return Seen("gone", scrub(f"{step.name}: {error}")[:MAX_REASON])
        except Exception as error:  # noqa: BLE001 (a back end that gives no answer is no reason to mark anything)
            logger.debug("Service %s: %s could not be looked at: %s", instance.pk, step.connector, error)
            seen = Seen("unsure", scrub(str(error))[:MAX_REASON])
    return seen


def _note(found: Found, instance: ServiceInstance, seen: Seen) -> None:
    """Count what was seen, and mark what has changed, unless the service is being changed by now."""
    with transaction.atomic():
        row = ServiceInstance.objects.select_for_update().get(pk=instance.pk)
        if seen.what == "unsure" or row.state not in LOOKED_AT:
            found.unsure += 1
        elif seen.what == "gone":
            found.missing.append(f"{row.name} ({row.pk}): {seen.reason}")
            if row.state == State.ACTIVE:
                move(row, State.MISSING, reason=seen.reason)
                logger.warning("Service %s is missing: %s", row.pk, seen.reason)
        elif row.state == State.MISSING:
            found.again.append(f"{row.name} ({row.pk})")
            move(row, State.ACTIVE, because="found again")
        else:
            found.there += 1
