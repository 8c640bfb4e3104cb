"""Why a run stands where it stands, in one sentence for IT. Pure: rows and the time go in, words come out.

Moments are named, not counted ("since 15:04:05"): such a sentence is still true on a page that nobody reloads.
"""

from datetime import datetime, timedelta

from django.utils import timezone

from core.templatetags.greenlane import duration
from provisioning.models import Run, Step
from provisioning.services.watching import Standing

MOST_WORDS = 300


def why(run: Run, step: Step | None, standing: Standing | None, now: datetime) -> str:
    """Say what `run` waits for, or how it ended.

    `step` is the one at which it stands (None where it is over), with its task where a person has one; `standing` is
    that of the step's back end, `now` the database's time.
    """
    if run.state not in {*Run.OPEN, Run.State.COMPENSATION_FAILED}:
        return _ended(run)
    if step is None:
        return _cut(f"Undoing failed; waits for an operator: {run.reason}") if run.state not in Run.OPEN else "Goes on."
    return why_step(step, standing, now)


def why_step(step: Step, standing: Standing | None, now: datetime) -> str:
    """Say what `step` waits for; nothing for one that is over or whose turn has not come."""
    says = {
        Step.State.READY: _ready,
        Step.State.RETRY: _retry,
        Step.State.RUNNING: _running,
        Step.State.POLLING: _polling,
        Step.State.WAITING_FOR_PERSON: _person,
        Step.State.OUTCOME_UNKNOWN: _unknown,
        Step.State.FAILED: _failed,
        Step.State.COMPENSATION_FAILED: _undoing_failed,
    }.get(Step.State(step.state))
    return _cut(says(step, standing, now)) if says else ""


def next_try(step: Step | None, standing: Standing | None) -> datetime | None:
    """Give when a waiting step is tried again; None where nothing is planned."""
    if step is None or step.lease_token is not None or step.state not in Step.WORKABLE:
        return None
    if _is_blocked(step, standing) and standing and standing.probe_at:
        return max(standing.probe_at, step.next_run_at or standing.probe_at)
    return step.next_run_at


def _ended(run: Run) -> str:
    words = {Run.State.SUCCEEDED: "Done", Run.State.COMPENSATED: "Undone", Run.State.ABANDONED: "Abandoned"}
    word = words[Run.State(run.state)]
    took = f" after {duration((run.finished_at - run.created_at).total_seconds())}" if run.finished_at else ""
    return _cut(f"{word}{took}: {run.reason}" if run.reason else f"{word}{took}.")


def _is_blocked(step: Step, standing: Standing | None) -> bool:
    return bool(standing and standing.is_open and step.state in {Step.State.READY, Step.State.RETRY})


def _silence(standing: Standing, now: datetime) -> str:
    if standing.probe_at is None or standing.probe_at <= now:
        return f"Waits for {standing.name}, which does not answer; it is tried again now."
    return f"Waits for {standing.name}, which does not answer; next try at {_moment(standing.probe_at, now)}."


def _ready(step: Step, standing: Standing | None, now: datetime) -> str:
    if standing and standing.is_open:
        return _silence(standing, now)
    if standing and standing.is_full:
        return f"Waits for a place at {standing.name}, which takes {standing.limit} calls at a time."
    return f"Waits for a worker since {_moment(step.next_run_at or step.created_at, now)}."


def _retry(step: Step, standing: Standing | None, now: datetime) -> str:
    if standing and standing.is_open:
        return f"{_silence(standing, now)} {step.error}"
    at = step.next_run_at or now
    when = f"Will be tried again at {_moment(at, now)}" if at > now else "Will be tried again now"
    # A probe that was not counted may leave no attempt behind.
    following = min(step.attempt + 1, step.max_attempts)
    return f"{when} (attempt {following} of {step.max_attempts}): {step.error}"


def _running(step: Step, standing: Standing | None, now: datetime) -> str:
    if step.lease_expires_at is None or step.lease_expires_at <= now:
        return "Its worker was lost; another one takes it over."
    return f"In progress since {_moment(step.claimed_at or now, now)} (attempt {step.attempt} of {step.max_attempts})."


def _polling(step: Step, standing: Standing | None, now: datetime) -> str:
    where = standing.name if standing else step.connector
    since = _moment(step.started_at or step.created_at, now)
    trouble = f" {step.error}" if step.error else ""
    if step.lease_token is None and step.next_run_at and step.next_run_at > now:
        return f"{where} works on it since {since}; asked again at {_moment(step.next_run_at, now)}.{trouble}"
    return f"{where} works on it since {since}; being asked how far it has got.{trouble}"


def _person(step: Step, standing: Standing | None, now: datetime) -> str:
    task = getattr(step, "task", None)
    if task is None:
        return f"Waits for a person: {step.detail or step.name}"
    due = f", due {_moment(task.due_at, now)}" if task.due_at else ""
    return f"Waits for a person: task “{task.title}”{due}."


def _unknown(step: Step, standing: Standing | None, now: datetime) -> str:
    return f"Nobody can say whether it happened: {step.error}"


def _failed(step: Step, standing: Standing | None, now: datetime) -> str:
    return f"Failed; waits for an operator: {step.error}"


def _undoing_failed(step: Step, standing: Standing | None, now: datetime) -> str:
    return f"Undoing failed; waits for an operator: {step.error}"


def _moment(at: datetime, now: datetime) -> str:
    """Give the time of day; with the date where it is another day."""
    local = timezone.localtime(at)
    is_today = local.date() == timezone.localtime(now).date() or abs(at - now) < timedelta(hours=1)
    return f"{local:%H:%M:%S}" if is_today else f"{local:%b} {local.day}, {local:%H:%M}"


def _cut(text: str) -> str:
    text = text.strip().removesuffix(":")
    return text if len(text) <= MOST_WORDS else f"{text[: MOST_WORDS - 1]}…"
