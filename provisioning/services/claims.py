"""Claiming a step and keeping the lease.

The rules are those of docs/architecture.md: a claim is one UPDATE that is committed before any call, only
the database's clock counts, and a result is written only by who still holds the lease (results.py).
"""

import json
import os
import random
import socket
from collections.abc import Sequence
from contextlib import suppress
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection

from catalog.services import idempotency_of
from core import events
from core.transactions import run as in_transaction
from provisioning.connectors.base import LeaseLost
from provisioning.models import Breaker, Run, Step, StepAttempt
from provisioning.services import breakers, results
from provisioning.services.results import failed_state, token_of
from provisioning.services.runs import ClockTimestamp

WORKER = f"{socket.gethostname()}:{{}}"

# Which back ends may be called now, and the due step to take. Fair in three ways:
# - Between back ends: the one with the fewest calls under way goes first, none takes the last place of many, one that
#   was slow lately takes half of them at most, and one whose breaker is open gets a single probe.
# - Between a backlog and the person who orders now: in most claims what came due in the last seconds goes first,
#   newest first (`fresh`), so that ten thousand due steps do not stand before him, and are still worked off. What a
#   lost worker was at goes before all: whoever waits for it has waited longest.
# - Between what a person waits for and the rest (second tries, undoing): urgency; a share of the claims is the rest's.
FRESH_SECONDS = 5
FRESH_SHARE, REST_SHARE = 0.7, 0.15
WORKABLE = "state IN ('ready', 'retry', 'running', 'polling')"
ALL_NAMES = f"""
    RECURSIVE names AS (
        (SELECT back_end FROM provisioning_step WHERE {WORKABLE} ORDER BY back_end LIMIT 1)
        UNION ALL
        SELECT (SELECT step.back_end FROM provisioning_step AS step
                WHERE {WORKABLE} AND step.back_end > names.back_end ORDER BY step.back_end LIMIT 1)
        FROM names WHERE names.back_end IS NOT NULL
    )
"""  # noqa: S608 (constants of this file)
ONE_NAME = "names AS (SELECT back_end FROM provisioning_step WHERE id = %(step)s::uuid)"
OPEN_BACK_ENDS = f"""
    under_way AS (
        SELECT back_end, count(*) AS calls,
               bool_or(claimed_at < clock_timestamp() - interval '{breakers.SLOW_SECONDS} seconds') AS is_slow
        FROM provisioning_step
        WHERE lease_token IS NOT NULL AND lease_expires_at > clock_timestamp() GROUP BY back_end
    ),
    places AS (
        SELECT coalesce(sum((facts->>'places')::int), 0) AS all_of_them FROM core_pulse
        WHERE role LIKE 'worker:%%' AND at > clock_timestamp() - interval '30 seconds'
    ),
    open_back_ends AS (
        SELECT names.back_end, coalesce(under_way.calls, 0) AS calls
        FROM names
        CROSS JOIN places
        LEFT JOIN under_way USING (back_end)
        LEFT JOIN provisioning_breaker AS breaker USING (back_end)
        LEFT JOIN catalog_backend AS row ON row.slug = names.back_end
        WHERE names.back_end <> ALL(%(besides)s) AND coalesce(under_way.calls, 0) < least(
            CASE WHEN breaker.state = 'open' THEN (breaker.probe_at <= clock_timestamp())::int ELSE 32767 END,
            coalesce(row.limit, (%(limits)s::jsonb ->> names.back_end)::int, 32767),
            CASE WHEN places.all_of_them < 2 THEN 32767
                 WHEN under_way.is_slow OR breaker.slow_at > clock_timestamp() - interval '2 minutes'
                 THEN places.all_of_them / 2
                 WHEN places.all_of_them >= 4 THEN places.all_of_them - 1
                 ELSE 32767 END
        )
    )
"""  # noqa: S608 (constants of this file)
ANY = f"""
    chosen AS (
        SELECT open_back_ends.back_end FROM open_back_ends
        CROSS JOIN LATERAL (
            SELECT urgency, due_at FROM provisioning_step AS step
            WHERE step.back_end = open_back_ends.back_end AND {WORKABLE} AND urgency >= %(urgency)s
              AND queue = ANY(%(queues)s) AND due_at <= statement_timestamp()
            ORDER BY urgency, due_at LIMIT 1
        ) AS first
        ORDER BY first.urgency, open_back_ends.calls, first.due_at LIMIT 1
    ),
    lost AS (
        SELECT id, state, lease_token FROM provisioning_step AS step
        WHERE lease_token IS NOT NULL AND {WORKABLE} AND queue = ANY(%(queues)s) AND due_at <= statement_timestamp()
          AND back_end IN (SELECT back_end FROM open_back_ends)
        ORDER BY due_at LIMIT 1
        FOR UPDATE SKIP LOCKED
    ),
    fresh AS (
        SELECT id, state, lease_token FROM provisioning_step AS step
        WHERE %(fresh)s AND NOT EXISTS (SELECT FROM lost)
          AND step.back_end = (SELECT back_end FROM chosen) AND {WORKABLE} AND urgency = 0
          AND queue = ANY(%(queues)s)
          AND due_at BETWEEN statement_timestamp() - interval '{FRESH_SECONDS} seconds' AND statement_timestamp()
        ORDER BY due_at DESC LIMIT 1
        FOR UPDATE SKIP LOCKED
    ),
    oldest AS (
        SELECT id, state, lease_token FROM provisioning_step AS step
        WHERE NOT EXISTS (SELECT FROM lost) AND NOT EXISTS (SELECT FROM fresh)
          AND step.back_end = (SELECT back_end FROM chosen) AND {WORKABLE}
          AND urgency >= %(urgency)s AND queue = ANY(%(queues)s) AND due_at <= statement_timestamp()
        ORDER BY urgency, due_at LIMIT 1
        FOR UPDATE SKIP LOCKED
    ),
    due AS (SELECT * FROM lost UNION ALL SELECT * FROM fresh UNION ALL SELECT * FROM oldest)
"""  # noqa: S608 (constants of this file)
ONE = f"""
    due AS (
        SELECT id, state, lease_token FROM provisioning_step AS step
        WHERE id = %(step)s::uuid AND {WORKABLE} AND queue = ANY(%(queues)s) AND due_at <= statement_timestamp()
          AND back_end IN (SELECT back_end FROM open_back_ends)
        FOR UPDATE SKIP LOCKED
    )
"""  # noqa: S608 (constants of this file)
# Past their deadline: settled without a call, whether their back end may be called or not.
LATE = f"""
    due AS (
        SELECT id, state, lease_token FROM provisioning_step AS step
        WHERE {WORKABLE} AND queue = ANY(%(queues)s) AND due_at <= statement_timestamp()
          AND deadline_at < statement_timestamp()
        ORDER BY deadline_at LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
"""  # noqa: S608 (constants of this file)
# Takes the due row whose lease is free or has run out. A step that waits for the next poll keeps its attempt
# number: asking how far it got is no new attempt, but a worker lost over it counts.
TAKE = """
    UPDATE provisioning_step AS step
    SET state = CASE WHEN step.state = 'polling' THEN 'polling' ELSE 'running' END,
        attempt = step.attempt + CASE WHEN due.state = 'polling' AND due.lease_token IS NULL THEN 0 ELSE 1 END,
        lease_token = nextval('provisioning_lease'),
        lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s),
        claimed_at = clock_timestamp(),
        heartbeat_at = NULL,
        started_at = COALESCE(step.started_at, clock_timestamp()),
        deadline_at = COALESCE(step.deadline_at, clock_timestamp() + make_interval(secs => step.timeout_seconds))
    FROM due
    WHERE step.id = due.id
    RETURNING step.id, due.state, due.lease_token, step.deadline_at < clock_timestamp(),
              (SELECT failures FROM provisioning_breaker WHERE provisioning_breaker.back_end = step.back_end),
              (SELECT state FROM provisioning_breaker WHERE provisioning_breaker.back_end = step.back_end),
              coalesce((SELECT "limit" FROM catalog_backend WHERE slug = step.back_end),
                       (%(limits)s::jsonb ->> step.back_end)::int)
"""
UNDER_WAY = """
    SELECT count(*) FROM provisioning_step
    WHERE back_end = %s AND lease_token IS NOT NULL AND lease_expires_at > clock_timestamp()
"""
CLAIMS = {
    "any": f"WITH {ALL_NAMES}, {OPEN_BACK_ENDS}, {ANY} {TAKE}",
    "one": f"WITH {ONE_NAME}, {OPEN_BACK_ENDS}, {ONE} {TAKE}",
    "late": f"WITH {LATE} {TAKE}",
}
LIMIT_LOCK = 4_102_004
DEFAULT_QUEUES = ("default", "long")


def claim(step_id: UUID | str | None = None, *, queues: Sequence[str] = DEFAULT_QUEUES) -> Step | None:
    """Take one due step (the one named, or the most urgent) for this worker; None where nothing is due.

    Settles by itself, without a call, what must not be called again: a step out of attempts or past its
    deadline, one whose run was stopped, and one whose end is unknown at a back end that cannot tell.
    """
    besides: list[str] = []
    while True:
        try:
            claimed = _claim_first(_ways(step_id), step_id, queues, besides)
        except _TooMany as error:
            besides.append(error.back_end)
            continue
        if claimed is None:
            return None
        step, refusal = claimed
        if refusal is None:
            return step
        # In a transaction of its own, since everyone locks the run before the step.
        with suppress(LeaseLost):
            results.settle(step, *refusal)
        if step_id is not None:
            return None


def _ways(step_id: UUID | str | None) -> list[str]:
    """Say in which order to look for a due step, so that everyone gets his share."""
    if step_id:
        return ["one"]
    drawn = random.random()  # noqa: S311 (a share, no secret)
    # Whoever finds nothing looks once more: another worker may just have taken what both had chosen.
    if drawn < FRESH_SHARE:
        return ["fresh", "fresh", "late"]
    if drawn < FRESH_SHARE + REST_SHARE:
        return ["rest", "oldest", "oldest", "late"]
    return ["oldest", "oldest", "late"]


def _claim_first(
    ways: list[str], step_id: UUID | str | None, queues: Sequence[str], besides: list[str]
) -> tuple[Step, tuple[str, str] | None] | None:
    for way in ways:
        claimed = in_transaction(partial(_claim_once, way, step_id, queues, besides))
        if claimed is not None:
            return claimed
    return None


class _TooMany(Exception):  # noqa: N818 (says how things are)
    """Another worker took the last call that the back end may have at a time."""

    def __init__(self, back_end: str) -> None:
        super().__init__(back_end)
        self.back_end = back_end


def _keep_limit(cursor: Any, back_end: str, limit: int) -> None:
    """Count once more with the limit locked, since two workers may have counted at the same moment."""
    cursor.execute("SELECT pg_advisory_xact_lock(%s, hashtext(%s))", [LIMIT_LOCK, back_end])
    cursor.execute(UNDER_WAY, [back_end])
    if cursor.fetchone()[0] > limit:
        raise _TooMany(back_end)


def _claim_once(
    way: str, step_id: UUID | str | None, queues: Sequence[str], besides: list[str]
) -> tuple[Step, tuple[str, str] | None] | None:
    """Claim one step; give it with what must become of it instead of a call, if anything."""
    limits = {name: known["limit"] for name, known in settings.CONNECTORS.items() if known.get("limit")}
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIMS.get(way, CLAIMS["any"]),
            {
                "step": str(step_id) if step_id else None,
                "queues": list(queues),
                "limits": json.dumps(limits),
                "besides": besides,
                "fresh": way == "fresh",
                "urgency": 1 if way == "rest" else 0,
                "lease": float(settings.LEASE_SECONDS),
            },
        )
        row = cursor.fetchone()
        if row is None:
            return None
        pk, state_before, lost_token, is_late, failures, breaker, limit = row
        step = Step.objects.select_related("run__instance").get(pk=pk)
        limit = 1 if breaker == Breaker.State.OPEN else limit
        if limit is not None and way != "late":
            _keep_limit(cursor, step.back_end, limit)
    was_lost = lost_token is not None
    step.breaker_failures, step.is_probe = failures or 0, breaker == Breaker.State.OPEN
    if was_lost:
        StepAttempt.objects.filter(lease_token=lost_token, outcome=StepAttempt.Outcome.RUNNING).update(
            outcome=StepAttempt.Outcome.LOST, finished_at=ClockTimestamp(), error="The worker was lost."
        )
        breakers.note_failure(step.back_end, "A worker was lost over a call.")
    refusal = _why_not(step, state_before, was_lost=was_lost, is_late=is_late)
    if refusal is None and (was_lost or step.state == Step.State.RUNNING):
        StepAttempt.objects.create(
            step=step, number=step.attempt, lease_token=token_of(step), worker=WORKER.format(os.getpid())
        )
        events.record(f"step.{step.state}", step, attempt=step.attempt, lease_token=step.lease_token)
    return step, refusal


def _why_not(step: Step, state_before: str, *, was_lost: bool, is_late: bool) -> tuple[str, str] | None:
    """Say why a claimed step must not be called, as (what becomes of it, reason)."""
    if step.kind == Step.Kind.DO and step.run.state != Run.State.RUNNING:
        return Step.State.CANCELED, "The run was stopped."
    if step.look_again:
        return None
    failed = failed_state(step)
    if step.attempt > step.max_attempts:
        return failed, f"No result after {step.max_attempts} attempts."
    if is_late:
        return failed, f"Not done within {step.timeout_seconds} seconds."
    if was_lost and state_before == Step.State.RUNNING and idempotency_of(step.connector, step.inputs) == "none":
        # A person looks: at what was begun, or, where that was the undoing, at what is left.
        return (
            Step.State.OUTCOME_UNKNOWN if step.kind == Step.Kind.DO else failed,
            "The worker was lost, and this back end cannot tell what it had done.",
        )
    return None


def renew(step_id: UUID, lease_token: int) -> bool:
    """Prolong the lease from now; tell whether it still was ours."""
    with connection.cursor() as cursor:
        cursor.execute(
            """UPDATE provisioning_step
               SET heartbeat_at = clock_timestamp(),
                   lease_expires_at = clock_timestamp() + make_interval(secs => %s)
               WHERE id = %s AND lease_token = %s AND lease_expires_at > clock_timestamp()""",
            [float(settings.LEASE_SECONDS), str(step_id), lease_token],
        )
        return cursor.rowcount == 1
