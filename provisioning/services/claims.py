"""Claiming a step, keeping the lease, and writing the result: every write repeats the lease token.

The rules are those of docs/architecture.md: a claim is one UPDATE that is committed before any call, only
the database's clock counts, and a result is written only by who still holds the lease.
"""

import os
import random
import socket
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db import connection
from django.db.models import F
from django.utils import timezone

from core import events
from core.secrets import scrub
from core.transactions import run as in_transaction
from provisioning.connectors.base import Done, LeaseLost, Waiting, Working
from provisioning.models import ManualTask, Run, Step, StepAttempt, StepLine
from provisioning.services.runs import ClockTimestamp, after_failure, after_success, undo_steps

WORKER = f"{socket.gethostname()}:{{}}"
MAX_BACKOFF_SECONDS = 300.0

# Takes the most urgent due row whose lease is free or has run out. A step that waits for the next poll
# keeps its attempt number: asking how far it got is no new attempt, but a worker lost over it counts.
CLAIM = """
    WITH due AS (
        SELECT id, state, lease_token FROM provisioning_step
        WHERE state IN ('ready', 'retry', 'running', 'polling')
          AND queue = ANY(%(queues)s)
          AND (%(step)s::uuid IS NULL OR id = %(step)s::uuid)
          AND (CASE WHEN lease_token IS NULL THEN next_run_at ELSE lease_expires_at END) <= clock_timestamp()
        ORDER BY urgency, next_run_at
        LIMIT 1
        FOR UPDATE SKIP LOCKED
    )
    UPDATE provisioning_step AS step
    SET state = CASE WHEN step.state = 'polling' THEN 'polling' ELSE 'running' END,
        attempt = step.attempt + CASE WHEN due.state = 'polling' AND due.lease_token IS NULL THEN 0 ELSE 1 END,
        lease_token = nextval('provisioning_lease'),
        lease_expires_at = clock_timestamp() + make_interval(secs => %(lease)s),
        claimed_at = clock_timestamp(),
        heartbeat_at = NULL,
        started_at = COALESCE(step.started_at, clock_timestamp()),
        deadline_at = COALESCE(step.deadline_at, clock_timestamp() + make_interval(secs => step.timeout_seconds))
    FROM due WHERE step.id = due.id
    RETURNING step.id, due.state, due.lease_token, step.deadline_at < clock_timestamp()
"""


def claim(step_id: UUID | str | None = None, *, queues: list[str] | None = None) -> Step | None:
    """Take one due step (the one named, or the most urgent) for this worker; None where nothing is due.

    Settles by itself, without a call, what must not be called again: a step out of attempts or past its
    deadline, one whose run was stopped, and one whose end is unknown at a back end that cannot tell.
    """
    while True:
        claimed = in_transaction(lambda: _claim_once(step_id, queues or ["default", "long"]))
        if claimed is None:
            return None
        step, refusal = claimed
        if refusal is None:
            return step
        # In a transaction of its own, since everyone locks the run before the step.
        with suppress(LeaseLost):
            in_transaction(partial(_settle, step, *refusal))
        if step_id is not None:
            return None


def _claim_once(step_id: UUID | str | None, queues: list[str]) -> tuple[Step, tuple[str, str] | None] | None:
    """Claim one step; give it with what must become of it instead of a call, if anything."""
    with connection.cursor() as cursor:
        cursor.execute(
            CLAIM,
            {
                "step": str(step_id) if step_id else None,
                "queues": queues,
                "lease": float(settings.LEASE_SECONDS),
            },
        )
        row = cursor.fetchone()
    if row is None:
        return None
    pk, state_before, lost_token, is_late = row
    was_lost = lost_token is not None
    step = Step.objects.select_related("run__instance", "undoes").get(pk=pk)
    if was_lost:
        StepAttempt.objects.filter(lease_token=lost_token, outcome=StepAttempt.Outcome.RUNNING).update(
            outcome=StepAttempt.Outcome.LOST, finished_at=ClockTimestamp(), error="The worker was lost."
        )
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
    failed = Step.State.FAILED if step.kind == Step.Kind.DO else Step.State.COMPENSATION_FAILED
    if step.attempt > step.max_attempts:
        return failed, f"No result after {step.max_attempts} attempts."
    if is_late:
        return failed, f"Not done within {step.timeout_seconds} seconds."
    tells = settings.CONNECTORS.get(step.connector, {}).get("idempotency", "none")
    if was_lost and state_before == Step.State.RUNNING and tells == "none":
        # A person looks: at what was begun, or, where that was the undoing, at what is left.
        return (
            Step.State.OUTCOME_UNKNOWN if step.kind == Step.Kind.DO else failed,
            "The worker was lost, and this back end cannot tell what it had done.",
        )
    return None


def _settle(step: Step, state: str, reason: str) -> None:
    run = _locked_run(step)
    _write(step, state, error=reason, next_run_at=None)
    if state == Step.State.CANCELED:
        undo_steps(run)
    elif state in {Step.State.FAILED, Step.State.COMPENSATION_FAILED}:
        after_failure(run, step, reason)


def token_of(step: Step) -> int:
    """Give the token of the lease under which `step` was claimed. Raises LeaseLost for a step without one."""
    if step.lease_token is None:
        raise LeaseLost(f"Step {step.pk} is not claimed.")
    return step.lease_token


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


def finish(step: Step, answer: Done | Working | Waiting, lines: list[str]) -> Step | None:
    """Write what the connector answered and go on; the step made ready next is given back.

    Raises LeaseLost where another worker holds the step by now; nothing is written then.
    """

    def write() -> Step | None:
        run = _locked_run(step)
        _keep_lines(step, lines)
        if not isinstance(answer, Done) and _was_stopped(step, run):
            return _stop(step, run)
        if isinstance(answer, Working):
            after = {
                "next_run_at": _in_seconds(answer.after),
                "external_ref": answer.external_ref or step.external_ref,
            }
            _write(step, Step.State.POLLING, StepAttempt.Outcome.POLLING, detail=answer.detail, **after)
            return None
        if isinstance(answer, Waiting):
            _write(
                step,
                Step.State.WAITING_FOR_PERSON,
                StepAttempt.Outcome.WAITING,
                detail=answer.detail,
                next_run_at=None,
            )
            _open_task(step, answer)
            return None
        _write(
            step,
            Step.State.SUCCEEDED,
            StepAttempt.Outcome.SUCCEEDED,
            outputs=answer.outputs,
            detail=answer.detail,
            external_ref=answer.external_ref or step.external_ref,
            next_run_at=None,
            error="",
        )
        return after_success(run, step)

    return in_transaction(write)


def give_up(step: Step, reason: str, lines: list[str]) -> Step | None:
    """Write that the step cannot work, and undo the run. Raises LeaseLost as `finish` does."""

    def write() -> Step | None:
        run = _locked_run(step)
        _keep_lines(step, lines)
        failed = Step.State.FAILED if step.kind == Step.Kind.DO else Step.State.COMPENSATION_FAILED
        _write(step, failed, StepAttempt.Outcome.FAILED, error=reason, next_run_at=None)
        return after_failure(run, step, reason)

    return in_transaction(write)


def try_later(step: Step, reason: str, after: float | None, lines: list[str]) -> Step | None:
    """Write that this attempt did not work; the next is due after `after` seconds or a growing while.

    Gives up where that was the last attempt. Raises LeaseLost as `finish` does.
    """
    is_polling = step.state == Step.State.POLLING
    if step.attempt >= step.max_attempts and not is_polling:
        return give_up(step, f"{reason} (attempt {step.attempt} of {step.max_attempts})", lines)
    wait = backoff(step.attempt) if after is None else min(max(after, 0.0), 3600.0)

    def write() -> Step | None:
        run = _locked_run(step)
        _keep_lines(step, lines)
        if _was_stopped(step, run):
            return _stop(step, run)
        # What the back end has begun goes on there: it is asked again, until the step's deadline.
        state = Step.State.POLLING if is_polling else Step.State.RETRY
        _write(step, state, StepAttempt.Outcome.RETRY, error=reason, next_run_at=_in_seconds(wait))
        return None

    return in_transaction(write)


def _was_stopped(step: Step, run: Run) -> bool:
    return step.kind == Step.Kind.DO and run.state != Run.State.RUNNING


def _stop(step: Step, run: Run) -> Step | None:
    """End a step whose run was canceled while it was at work, and undo what it may have made."""
    _write(step, Step.State.CANCELED, error="The run was stopped.", next_run_at=None)
    return undo_steps(run)


def backoff(attempt: int) -> float:
    """Seconds to wait after the `attempt`th failure: 1, 2, 4 ... 300, each between a half and one and a half."""
    return float(min(MAX_BACKOFF_SECONDS, 2.0 ** min(attempt - 1, 20)) * random.uniform(0.5, 1.5))  # noqa: S311 (jitter)


def _in_seconds(seconds: float) -> Any:
    return ClockTimestamp() + timedelta(seconds=seconds)


def _locked_run(step: Step) -> Run:
    """The run, locked before its step: everyone locks in this order."""
    run = Run.objects.select_for_update(of=("self",)).select_related("instance").get(pk=step.run_id)
    step.run = run
    return run


def _write(step: Step, state: str, outcome: str = StepAttempt.Outcome.FAILED, **values: Any) -> None:
    """Write a result if, and only if, the lease is still ours; release it and note the event."""
    token = token_of(step)
    if "error" in values:
        values["error"] = scrub(values["error"])[:1000]
    if "detail" in values:
        values["detail"] = scrub(values["detail"])[:300]
    ended = state not in {
        Step.State.RETRY,
        Step.State.POLLING,
        Step.State.WAITING_FOR_PERSON,
        Step.State.OUTCOME_UNKNOWN,
    }
    hit = Step.objects.filter(pk=step.pk, lease_token=token, lease_expires_at__gt=ClockTimestamp()).update(
        state=state,
        lease_token=None,
        lease_expires_at=None,
        finished_at=ClockTimestamp() if ended else F("finished_at"),
        **values,
    )
    if hit != 1:
        raise LeaseLost(f"The lease of step {step.pk} is another worker's by now.")
    StepAttempt.objects.filter(lease_token=token).update(
        outcome=outcome, finished_at=ClockTimestamp(), error=values.get("error", "")
    )
    if step.state != state:  # one more question to a busy back end is no news
        step.state = state
        because = {"error": values["error"]} if values.get("error") else {}
        events.record(f"step.{state}", step, attempt=step.attempt, **because)


def _keep_lines(step: Step, lines: list[str]) -> None:
    StepLine.objects.bulk_create([StepLine(step=step, text=scrub(line)[:500]) for line in lines])


def _open_task(step: Step, answer: Waiting) -> None:
    task = dict(answer.task)
    due_hours = task.pop("due_hours", None)
    ManualTask.objects.get_or_create(
        step=step,
        defaults={**task, "due_at": timezone.now() + timedelta(hours=due_hours) if due_hours else None},
    )
