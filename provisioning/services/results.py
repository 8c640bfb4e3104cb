"""Writing what came of an attempt, and going on from there: every write repeats the lease token."""

import random
from collections.abc import Callable
from datetime import timedelta
from typing import Any

from django.db.models import F

from core import events, secrets
from core.secrets import scrub
from core.transactions import run as in_transaction
from provisioning.connectors.base import Done, LeaseLost, Waiting, Working
from provisioning.models import ManualTask, Run, Secret, Step, StepAttempt, StepLine
from provisioning.services import breakers
from provisioning.services.runs import ClockTimestamp, after_failure, after_success, go_on, undo_steps

MAX_BACKOFF_SECONDS = 300.0
LONGEST_WAIT_SECONDS = 3600.0
KEPT_LINES = 2000
GOES_ON = {Step.State.RETRY, Step.State.POLLING, Step.State.WAITING_FOR_PERSON, Step.State.OUTCOME_UNKNOWN}


def token_of(step: Step) -> int:
    """Give the token of the lease under which `step` was claimed. Raises LeaseLost for a step without one."""
    if step.lease_token is None:
        raise LeaseLost(f"Step {step.pk} is not claimed.")
    return step.lease_token


def failed_state(step: Step) -> str:
    """Give the state of a step that has failed for good."""
    return Step.State.FAILED if step.kind == Step.Kind.DO else Step.State.COMPENSATION_FAILED


def finish(step: Step, answer: Done | Working | Waiting, lines: list[str]) -> Step | None:
    """Write what the connector answered and go on; the step made ready next is given back.

    Raises LeaseLost where another worker holds the step by now; nothing is written then.
    """

    def write(run: Run) -> Step | None:
        if isinstance(answer, Done):
            return _done(step, run, answer)
        if _was_stopped(step, run):
            return _stop(step, run)
        if isinstance(answer, Working):
            _working(step, answer)
        else:
            _waiting(step, answer)
        return None

    return _written(step, lines, write, back_end_answered=True)


def _done(step: Step, run: Run, answer: Done) -> Step | None:
    _write(
        step,
        Step.State.SUCCEEDED,
        StepAttempt.Outcome.SUCCEEDED,
        outputs=answer.outputs,
        detail=answer.detail,
        external_ref=answer.external_ref or step.external_ref,
        next_run_at=None,
        error="",
        look_again=False,
    )
    if answer.secrets:
        _store_secrets(step, answer.secrets)
    return after_success(run, step)


def _store_secrets(step: Step, received: dict[str, str]) -> None:
    """Keep the passwords that the back end made, encrypted; they come into force with the step's success."""
    Secret.objects.filter(step=step, name__in=received, in_force_at__isnull=True).delete()
    rows = []
    for name, value in received.items():
        row = Secret(instance=step.run.instance, step=step, name=name[:40])
        row.ciphertext = secrets.encrypt(value, bound_to=row.pk)
        rows.append(row)
    Secret.objects.bulk_create(rows)


def _working(step: Step, answer: Working) -> None:
    _write(
        step,
        Step.State.POLLING,
        StepAttempt.Outcome.POLLING,
        detail=answer.detail,
        next_run_at=_in_seconds(min(max(answer.after, 0.0), LONGEST_WAIT_SECONDS)),
        external_ref=answer.external_ref or step.external_ref,
    )


def _waiting(step: Step, answer: Waiting) -> None:
    _write(
        step,
        Step.State.WAITING_FOR_PERSON,
        StepAttempt.Outcome.WAITING,
        detail=answer.detail,
        next_run_at=None,
    )
    task = dict(answer.task)
    due_hours = task.pop("due_hours", None)
    ManualTask.objects.get_or_create(
        step=step,
        defaults={**task, "due_at": ClockTimestamp() + timedelta(hours=due_hours) if due_hours else None},
    )


def pass_over(step: Step, reason: str, lines: list[str]) -> Step | None:
    """Write that the step is not needed, since its condition does not hold, and go on. Raises as `finish` does."""

    def write(run: Run) -> Step | None:
        if _was_stopped(step, run):
            return _stop(step, run)
        _write(
            step, Step.State.SKIPPED, StepAttempt.Outcome.SUCCEEDED, detail=reason, next_run_at=None, left_nothing=True
        )
        return go_on(run, step.kind)

    return _written(step, lines, write)


def give_up(step: Step, reason: str, lines: list[str], *, left_nothing: bool = False) -> Step | None:
    """Write that the step cannot work, and undo the run. Raises LeaseLost as `finish` does.

    `left_nothing` counts only for a first attempt that began nothing: an earlier one may have made something all the
    same, and what is polled was begun.
    """

    def write(run: Run) -> Step | None:
        is_clean = left_nothing and step.state != Step.State.POLLING and step.attempts.count() == 1
        _write(
            step, failed_state(step), StepAttempt.Outcome.FAILED, error=reason, next_run_at=None, left_nothing=is_clean
        )
        return after_failure(run, step, reason)

    return _written(step, lines, write, back_end_answered=True)


def ask_a_person(step: Step, reason: str, lines: list[str]) -> Step | None:
    """Write that nobody knows whether it happened. Raises LeaseLost as `finish` does."""
    if step.kind == Step.Kind.COMPENSATE:
        return give_up(step, reason, lines)

    def write(run: Run) -> Step | None:
        if _was_stopped(step, run):
            return _stop(step, run)
        _write(
            step,
            Step.State.OUTCOME_UNKNOWN,
            StepAttempt.Outcome.UNKNOWN,
            error=reason,
            next_run_at=None,
            look_again=False,
        )
        return None

    return _written(step, lines, write)


def try_later(step: Step, reason: str, after: float | None, lines: list[str], *, is_fault: bool = True) -> Step | None:
    """Write that this attempt did not work; the next is due after `after` seconds or a growing while.

    Gives up where that was the last attempt; a probe of a silent back end costs none. `is_fault`: the back end
    is to blame, which its breaker counts. Raises LeaseLost as `finish` does.
    """
    is_polling = step.state == Step.State.POLLING
    is_probe = step.is_probe
    if step.attempt >= step.max_attempts and not is_polling and not is_probe:
        return give_up(step, f"{reason} (attempt {step.attempt} of {step.max_attempts})", lines)
    # A probe costs no attempt, and still the next one comes later and later.
    tries = step.attempts.count() if is_probe else step.attempt
    wait = backoff(tries) if after is None else min(max(after, 0.0), LONGEST_WAIT_SECONDS)

    def write(run: Run) -> Step | None:
        if _was_stopped(step, run):
            return _stop(step, run)
        # What the back end has begun goes on there: it is asked again, until the step's deadline.
        state = Step.State.POLLING if is_polling else Step.State.RETRY
        spared = {"attempt": F("attempt") - 1} if is_probe and not is_polling else {}
        _write(step, state, StepAttempt.Outcome.RETRY, error=reason, next_run_at=_in_seconds(wait), urgency=1, **spared)
        if is_fault:
            breakers.note_failure(step.back_end, reason)
        return None

    return _written(step, lines, write)


def settle(step: Step, state: str, reason: str) -> None:
    """Write what becomes of a claimed step that must not be called, and go on. Raises LeaseLost as `finish` does."""

    def write(run: Run) -> Step | None:
        _write(step, state, error=reason, next_run_at=None)
        if state == Step.State.CANCELED:
            return undo_steps(run)
        if state in {Step.State.FAILED, Step.State.COMPENSATION_FAILED}:
            return after_failure(run, step, reason)
        return None

    _written(step, [], write)


def keep_lines(step: Step, lines: list[str]) -> None:
    """Add lines to the step's technical log, without secrets; of very many the oldest go."""
    if not lines:
        return
    StepLine.objects.bulk_create([StepLine(step=step, text=scrub(line)[:500]) for line in lines])
    if step.attempt > 1 or len(lines) > KEPT_LINES // 2:
        last = StepLine.objects.filter(step=step).order_by("-id")[KEPT_LINES : KEPT_LINES + 1].values_list("pk")
        StepLine.objects.filter(step=step, pk__lte=last).delete()


def backoff(attempt: int) -> float:
    """Seconds to wait after the `attempt`th failure: 1, 2, 4 ... 300, each between a half and one and a half."""
    return float(min(MAX_BACKOFF_SECONDS, 2.0 ** min(attempt - 1, 20)) * random.uniform(0.5, 1.5))  # noqa: S311 (jitter)


def _written(
    step: Step, lines: list[str], write: Callable[[Run], Step | None], *, back_end_answered: bool = False
) -> Step | None:
    """Run `write` in a transaction, with the run locked before its step: everyone locks in this order."""
    state = step.state

    def change() -> Step | None:
        step.state = state  # a try before this one may have been rolled back, and its event with it
        run = Run.objects.select_for_update(of=("self",)).select_related("instance").get(pk=step.run_id)
        step.run = run
        keep_lines(step, lines)
        following = write(run)
        if back_end_answered and step.breaker_failures:
            breakers.note_answer(step.back_end)
        return following

    try:
        return in_transaction(change)
    except BaseException:
        step.state = state  # the worker tries again when the database is back
        raise


def _was_stopped(step: Step, run: Run) -> bool:
    return step.kind == Step.Kind.DO and run.state != Run.State.RUNNING


def _stop(step: Step, run: Run) -> Step | None:
    """End a step whose run was canceled while it was at work, and undo what it may have made."""
    _write(step, Step.State.CANCELED, error="The run was stopped.", next_run_at=None)
    return undo_steps(run)


def _in_seconds(seconds: float) -> Any:
    return ClockTimestamp() + timedelta(seconds=seconds)


def _write(step: Step, state: str, outcome: str = StepAttempt.Outcome.FAILED, **values: Any) -> None:
    """Write a result if, and only if, the lease is still ours; release it and note the event."""
    token = token_of(step)
    if "error" in values:
        values["error"] = scrub(values["error"])[:1000]
    if "detail" in values:
        values["detail"] = scrub(values["detail"])[:300]
    hit = Step.objects.filter(pk=step.pk, lease_token=token, lease_expires_at__gt=ClockTimestamp()).update(
        state=state,
        lease_token=None,
        lease_expires_at=None,
        finished_at=F("finished_at") if state in GOES_ON else ClockTimestamp(),
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
