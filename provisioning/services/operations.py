"""What operators do with the engine's work: try again, leave out, give up, undo, say what happened.

Lock order as in runs.py: run, step, instance. Nothing here touches a step that a worker holds.
"""

from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.core.exceptions import PermissionDenied
from django.db.models import TextChoices
from django.db.models.functions import Now

from core import bell, events
from core.permissions import require
from core.problems import Conflict, Invalid
from core.states import IllegalMove, move
from core.transactions import Busy
from core.transactions import run as in_transaction
from provisioning.models import Breaker, ManualTask, Run, ServiceInstance, Step, StepAttempt
from provisioning.services import breakers
from provisioning.services.runs import ClockTimestamp, after_success, cancel_run, go_on, was_canceled
from provisioning.services.watching import Wanted, matching

MAX_REASON = 500
MOST_RETRIED = 500
MAX_OUTPUTS, MAX_OUTPUT_NAME, MAX_OUTPUT = 40, 60, 500
# From the first attempt again, as if the step had just become ready.
AFRESH: dict[str, Any] = {
    "next_run_at": ClockTimestamp(),
    "attempt": 0,
    "deadline_at": None,
    "finished_at": None,
    "left_nothing": False,
    "look_again": False,
}
SKIPPABLE = {
    Step.State.READY,
    Step.State.RETRY,
    Step.State.WAITING_FOR_PERSON,
    Step.State.OUTCOME_UNKNOWN,
    Step.State.FAILED,
    Step.State.COMPENSATION_FAILED,
}
UNFINISHED = [
    Step.State.PENDING,
    Step.State.READY,
    Step.State.RETRY,
    Step.State.RUNNING,
    Step.State.POLLING,
    Step.State.WAITING_FOR_PERSON,
    Step.State.OUTCOME_UNKNOWN,
    Step.State.COMPENSATION_FAILED,
]


class Finding(TextChoices):
    """What a person found out about a step whose end nobody knew."""

    HAPPENED = "happened", "It happened"
    DID_NOT = "did_not", "It did not happen"
    LOOK_AGAIN = "look_again", "Look again"


@dataclass
class Retried:
    """What came of trying many runs again: how many are, and which are not, each with the reason."""

    retried: int = 0
    refused: list[tuple[UUID, str]] = field(default_factory=list)


def retry_run(run: Run, *, actor: Any) -> Run:
    """Go on with a run from where it stands; give the run that goes on, a new one where the order begins again.

    A step that failed and was kept, or whose undoing failed, has all its attempts again. One that waits for its
    next attempt, or for a silent back end, is due now. Raises Conflict where there is nothing to try again.
    """
    require(actor, "provisioning.operate_run", run)
    return in_transaction(lambda: _retry(_locked(run.pk), actor))


def _retry(run: Run, actor: Any) -> Run:
    if run.state == Run.State.COMPENSATION_FAILED:
        return _undo_again(run, actor)
    if can_begin_anew(run):
        return _order_again(run, actor)
    if run.state not in Run.OPEN:
        raise Conflict("ended", f"This run is {run.get_state_display().lower()}: there is nothing to try again.")
    for step in _in_hand(run):
        if step.state == Step.State.FAILED:
            Run.objects.filter(pk=run.pk).update(reason="")
            move(step, Step.State.READY, actor=actor, values=AFRESH)
        else:
            _hurry(step, actor)
        events.record("run.retried", run, actor=actor, step=step.name)
        bell.ring(step.pk, step.queue)
    return run


def can_begin_anew(run: Run) -> bool:
    """Tell whether what `run` was to set up failed, is undone and was not begun anew since."""
    is_undone = run.state == Run.State.COMPENSATED and run.kind == Run.Kind.PROVISION and not was_canceled(run)
    return is_undone and run.instance.state == ServiceInstance.State.FAILED


def _in_hand(run: Run) -> list[Step]:
    """Give the steps at which `run` stands, locked: one, as steps follow each other. Raises Conflict at none."""
    steps = run.steps.filter(state__in=[*UNFINISHED, Step.State.FAILED]).exclude(state=Step.State.PENDING)
    if run.state == Run.State.COMPENSATING:
        steps = steps.filter(kind=Step.Kind.COMPENSATE)
    found = list(steps.order_by("seq").select_for_update(of=("self",)))
    if not found:
        raise Conflict("under-way", "This run goes on by itself: there is nothing to try again.")
    return found


def _hurry(step: Step, actor: Any) -> None:
    """Make a waiting step due now. Raises Conflict where it does not wait for time or a silent back end."""
    is_free = step.lease_token is None
    is_silent = Breaker.objects.filter(back_end=step.back_end, state=Breaker.State.OPEN).exists()
    waits = {Step.State.RETRY, Step.State.POLLING} | ({Step.State.READY} if is_silent else set())
    if not is_free or step.state not in waits:
        raise Conflict("under-way", _why_not_now(step))
    if is_silent:
        breakers.probe_now(step.back_end, actor=actor)
    Step.objects.filter(pk=step.pk).update(next_run_at=ClockTimestamp())


def _why_not_now(step: Step) -> str:
    return {
        Step.State.READY: f"“{step.name}” waits for a worker already.",
        Step.State.WAITING_FOR_PERSON: f"“{step.name}” waits for a person to do a task.",
        Step.State.OUTCOME_UNKNOWN: f"Nobody knows whether “{step.name}” happened: find out, and say so first.",
    }.get(Step.State(step.state), f"A worker is at “{step.name}” right now.")


def _undo_again(run: Run, actor: Any) -> Run:
    if Run.objects.filter(instance=run.instance_id, state__in=Run.OPEN).exists():
        raise Conflict("change-running", "Another run is at this service. Wait until it is done.", retry_after=5)
    _reopen(run, actor)
    for step in run.steps.filter(state=Step.State.COMPENSATION_FAILED).select_for_update():
        move(step, Step.State.READY, actor=actor, values=AFRESH)
        bell.ring(step.pk, step.queue)
    return run


def _reopen(run: Run, actor: Any) -> None:
    """Let a run whose undoing failed go on; a removal runs, anything else is being undone."""
    move(run, Run.State.RUNNING if run.kind == Run.Kind.RETIRE else Run.State.COMPENSATING, actor=actor)


def _order_again(run: Run, actor: Any) -> Run:
    """Ask who ordered (a handler of orders) to decide again and to begin anew. Raises Conflict where none did."""
    events.record("run.retry_requested", run, actor=actor)
    begun = Run.objects.filter(instance=run.instance_id, state__in=Run.OPEN).exclude(pk=run.pk).first()
    if begun is None:
        raise Conflict("not-retryable", "What was ordered cannot be begun again: it has to be ordered anew.")
    return begun


def skip_step(step: Step, reason: str, *, actor: Any) -> Step:
    """Leave a step out and go on with the run. What it may have made is undone with the rest, should it come to that.

    Raises Invalid without a reason, Conflict for a step that a worker holds or that is over, PermissionDenied for
    a step of one's own service.
    """
    require(actor, "provisioning.operate_run", step.run)
    why = _checked_reason(reason)

    def change() -> Step:
        run, row = _locked_step(step)
        _refuse_own(run, actor)
        if row.state not in SKIPPABLE or row.lease_token is not None or not _is_current(run, row):
            raise Conflict("not-skippable", _why_not_skipped(row))
        if run.state == Run.State.COMPENSATION_FAILED:
            _reopen(run, actor)
        move(
            row,
            Step.State.SKIPPED,
            actor=actor,
            values={"finished_at": ClockTimestamp(), "next_run_at": None, "detail": "Left out by an operator."},
            reason=why,
        )
        _cancel_tasks(run, actor, step=row)
        go_on(run, row.kind)
        return row

    return in_transaction(change)


def _is_current(run: Run, step: Step) -> bool:
    """Tell whether `run` goes on after `step`: what failed before the undoing began is history."""
    if step.kind == Step.Kind.DO:
        return run.state == Run.State.RUNNING
    return run.state in {*Run.OPEN, Run.State.COMPENSATION_FAILED}


def _why_not_skipped(step: Step) -> str:
    if step.state in {Step.State.RUNNING, Step.State.POLLING}:
        return f"“{step.name}” is in progress. Wait until it has come to an end, or undo the run."
    return f"“{step.name}” is {step.get_state_display().lower()}: it cannot be left out now."


def abandon_run(run: Run, reason: str, *, actor: Any) -> Run:
    """Give a run up: what is left at the back ends was cleared by hand, or may stay.

    Raises Invalid without a reason, Conflict where a worker is at it or it has ended.
    """
    require(actor, "provisioning.operate_run", run)
    why = _checked_reason(reason)

    def change() -> Run:
        row = _locked(run.pk)
        if row.state not in {*Run.OPEN, Run.State.COMPENSATION_FAILED}:
            raise Conflict("ended", f"This run is {row.get_state_display().lower()}: there is nothing to abandon.")
        _cancel_steps(row, actor)
        _cancel_tasks(row, actor)
        ended = {"finished_at": Now(), "reason": why}
        move(row, Run.State.ABANDONED, actor=actor, values=ended, reason=why)
        _leave_instance(row, actor)
        return row

    return in_transaction(change)


def _cancel_steps(run: Run, actor: Any) -> None:
    """Cancel what is not over yet. Raises Conflict while a worker holds one; a lost worker holds none."""
    steps = list(run.steps.filter(state__in=UNFINISHED).select_for_update(of=("self",)))
    held = run.steps.filter(lease_token__isnull=False, lease_expires_at__gt=ClockTimestamp()).first()
    if held:
        raise Conflict("at-work", f"A worker is at “{held.name}” right now. Try again in a moment.", retry_after=5)
    lost = [step.lease_token for step in steps if step.lease_token is not None]
    StepAttempt.objects.filter(lease_token__in=lost, outcome=StepAttempt.Outcome.RUNNING).update(
        outcome=StepAttempt.Outcome.LOST, finished_at=ClockTimestamp(), error="The worker was lost."
    )
    over = {"finished_at": ClockTimestamp(), "next_run_at": None, "lease_token": None, "lease_expires_at": None}
    for step in steps:
        move(step, Step.State.CANCELED, actor=actor, values=over)


def _leave_instance(run: Run, actor: Any) -> None:
    """A service whose making or removal was given up is no service; one that was to be changed goes on."""
    going_on = run.kind in {Run.Kind.ROTATE, Run.Kind.UPDATE}
    ended = ServiceInstance.State.ACTIVE if going_on else ServiceInstance.State.FAILED
    move(run.instance, ended, actor=actor, run=str(run.pk), because="abandoned")


def undo_run(run: Run, reason: str, *, actor: Any) -> Run:
    """Stop a run and undo what it did. A step that a worker is at ends first.

    Raises Invalid without a reason, Conflict for a removal, or where the run has ended or is being undone.
    """
    require(actor, "provisioning.operate_run", run)
    why = _checked_reason(reason)

    def change() -> Run:
        row = _locked(run.pk)
        if row.state != Run.State.RUNNING:
            raise Conflict("ended", f"This run is {row.get_state_display().lower()}: it cannot be undone.")
        if row.kind == Run.Kind.RETIRE:
            raise Conflict("not-undoable", "A removal cannot be undone.")
        return cancel_run(row, actor=actor, reason=why)

    return in_transaction(change)


def resolve_unknown(
    step: Step,
    finding: str,
    *,
    reason: str,
    outputs: dict[str, Any] | None = None,
    external_ref: str = "",
    actor: Any,
) -> Step:
    """Say what became of a step whose end nobody knew, and go on: it is done, is done again, or is looked at.

    `outputs` (short texts, numbers or truth values by name) and `external_ref` (the back end's name for it) belong to
    Finding.HAPPENED. Raises Invalid for those or a missing reason, Conflict where its end is known by now,
    PermissionDenied for a step of one's own service.
    """
    require(actor, "provisioning.operate_run", step.run)
    why = _checked_reason(reason)
    given = _checked_outputs(outputs or {})
    if finding not in Finding.values:
        raise Invalid({"/answer": f"The answer must be one of {', '.join(Finding.values)}."})

    def change() -> Step:
        run, row = _locked_step(step)
        _refuse_own(run, actor)
        if row.state != Step.State.OUTCOME_UNKNOWN or not _is_current(run, row):
            raise Conflict(
                "known", f"“{row.name}” is {row.get_state_display().lower()}: nobody asks about it any more."
            )
        facts = {"reason": why, "finding": str(finding)}
        if finding == Finding.HAPPENED:
            done: dict[str, Any] = {"outputs": given, "finished_at": ClockTimestamp(), "error": ""}
            done["external_ref"] = external_ref.strip()[:200] or row.external_ref
            move(row, Step.State.SUCCEEDED, actor=actor, values=done, **facts)
            after_success(run, row)
            return row
        again: dict[str, Any] = {"next_run_at": ClockTimestamp(), "deadline_at": None, "finished_at": None}
        again["look_again"] = finding == Finding.LOOK_AGAIN
        again["max_attempts"] = max(row.max_attempts, row.attempt + 1)
        move(row, Step.State.READY, actor=actor, values=again, **facts)
        bell.ring(row.pk, row.queue)
        return row

    return in_transaction(change)


def retry_many(wanted: Wanted, *, actor: Any, limit: int = MOST_RETRIED) -> Retried:
    """Try again the runs that match, longest waiting first, `limit` at most, each in a transaction of its own."""
    require(actor, "provisioning.operate_run")
    result = Retried()
    runs = matching(Run.objects.visible_to(actor), wanted).order_by("created_at", "id")
    for run in list(runs[: min(limit, MOST_RETRIED)]):
        try:
            retry_run(run, actor=actor)
        except (Conflict, IllegalMove, Invalid, PermissionDenied, Busy) as refusal:
            result.refused.append((run.pk, str(refusal)))
        else:
            result.retried += 1
    return result


def try_now(back_end: str, *, actor: Any) -> None:
    """Have a silent back end tried at once, by the step that has waited for it longest.

    Raises Conflict where the back end is not known to be silent.
    """
    require(actor, "provisioning.operate_run")

    def change() -> None:
        if not Breaker.objects.filter(back_end=back_end, state=Breaker.State.OPEN).exists():
            raise Conflict("not-silent", f"“{back_end}” is called as usual: there is nothing to try.")
        breakers.probe_now(back_end, actor=actor)
        waiting = Step.objects.filter(
            back_end=back_end, state__in=[Step.State.READY, Step.State.RETRY], lease_token__isnull=True
        )
        step = waiting.order_by("urgency", "next_run_at").select_for_update(skip_locked=True).first()
        if step:
            Step.objects.filter(pk=step.pk).update(next_run_at=ClockTimestamp())
            bell.ring(step.pk, step.queue)

    in_transaction(change)


def _locked(pk: UUID) -> Run:
    return Run.objects.select_for_update(of=("self",)).select_related("instance").get(pk=pk)


def _locked_step(step: Step) -> tuple[Run, Step]:
    run = _locked(step.run_id)
    row = Step.objects.select_for_update(of=("self",)).select_related("undoes").get(pk=step.pk)
    row.run = run
    return run, row


def _refuse_own(run: Run, actor: Any) -> None:
    """Nobody leaves a step of his own service out, or says that it was done: a check may stand there."""
    if run.instance.owner_id == actor.pk:
        raise PermissionDenied("Somebody else has to do that: the service is your own.")


def _cancel_tasks(run: Run, actor: Any, *, step: Step | None = None) -> None:
    tasks = ManualTask.objects.filter(step__run=run, state=ManualTask.State.OPEN)
    for task in tasks.filter(step=step) if step else tasks:
        move(task, ManualTask.State.CANCELED, actor=actor)


def _checked_reason(reason: str) -> str:
    why = reason.strip()
    if not why:
        raise Invalid({"/reason": "Enter the reason; the audit trail keeps it."})
    if len(why) > MAX_REASON:
        raise Invalid({"/reason": f"The reason must be {MAX_REASON} characters or fewer."})
    return why


def _checked_outputs(outputs: dict[str, Any]) -> dict[str, Any]:
    errors = {}
    if len(outputs) > MAX_OUTPUTS:
        errors["/outputs"] = f"There must be {MAX_OUTPUTS} outputs or fewer."
    for name, value in list(outputs.items())[:MAX_OUTPUTS]:
        if not name.isidentifier() or len(name) > MAX_OUTPUT_NAME:
            errors["/outputs"] = f"“{name[:MAX_OUTPUT_NAME]}” cannot be the name of an output."
        elif not isinstance(value, str | int | float) or len(str(value)) > MAX_OUTPUT:
            errors["/outputs"] = (
                f"“{name}” must be text, a number or a truth value, of {MAX_OUTPUT} characters at most."
            )
    if errors:
        raise Invalid(errors)
    return outputs
