"""How a run begins, goes on from step to step, and is undone. No network here: rows only.

Lock order of everything in this module: run, step, instance, and only then (in the handlers) the order.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import DateTimeField as DateTime
from django.db.models import Func, Q
from django.utils import timezone

from core import bell, events, secrets
from core.models import Event
from core.permissions import require
from core.problems import Conflict, Invalid
from core.states import move
from core.transactions import run as in_transaction
from provisioning.models import ManualTask, Run, Secret, ServiceInstance, Step

UNDO_ATTEMPTS = 20
MAX_REASON = 500


class ClockTimestamp(Func):
    """The database's clock at this very moment, not at the start of the transaction."""

    function = "clock_timestamp"
    output_field = DateTime()


@dataclass(frozen=True)
class Begun:
    """What `begin` stored, and the events that the caller records with its own."""

    instance: ServiceInstance
    run: Run
    events: list[tuple[Event, Any]]


def begin(
    *,
    name: str,
    plan: Any,
    cost_center: Any,
    owner: Any,
    order_ref: UUID,
    parameters: dict[str, Any],
    context: dict[str, Any],
    actor: Any,
) -> Begun:
    """Store a new service instance with its run, and ring for a worker after commit.

    `plan.version.document` gives the workflow; `context` is what its steps may read. Runs in the caller's
    transaction, four statements at most, however many steps there are.
    """
    workflow = plan.version.promised["workflow"]
    limits = next(entry["limits"] for entry in plan.version.promised["plans"] if entry["slug"] == plan.slug)
    instance = ServiceInstance.objects.create(
        name=name, plan=plan, cost_center=cost_center, owner=owner, order_ref=order_ref, parameters=parameters
    )
    run = Run.objects.create(instance=instance, context={**context, "limits": limits, "parameters": parameters})
    steps = [
        Step(
            run=run,
            seq=seq,
            name=entry["name"],
            connector=entry["connector"],
            operation=entry["operation"],
            inputs=entry["inputs"],
            max_attempts=entry["max_attempts"],
            timeout_seconds=entry["timeout_seconds"],
        )
        for seq, entry in enumerate(workflow, start=1)
    ]
    make_ready(steps[0])
    Step.objects.bulk_create(steps)
    make_secrets(instance, [step for step in steps if step.operation == "start"])
    bell.ring(steps[0].pk, steps[0].queue)
    facts = [
        (events.event("serviceinstance.provisioning", instance, actor=actor, run=str(run.pk)), instance),
        (events.event("run.running", run, actor=actor, kind=run.kind), run),
        (events.event("step.ready", steps[0], actor=actor, seq=1), steps[0]),
    ]
    return Begun(instance, run, facts)


def make_ready(step: Step) -> None:
    """Set a step that is not stored yet to be due at once."""
    step.state, step.next_run_at = Step.State.READY, timezone.now()


def make_secrets(instance: ServiceInstance, steps: list[Step]) -> None:
    """Draw the passwords of `steps` now, so that every attempt sets the same ones."""
    drawn = []
    for step in steps:
        for name in settings.CONNECTORS[step.connector]["secrets"]:
            secret = Secret(instance=instance, step=step, name=name)
            secret.ciphertext = secrets.encrypt(secrets.generate(), bound_to=secret.pk)
            drawn.append(secret)
    if drawn:
        Secret.objects.bulk_create(drawn)


def after_success(run: Run, step: Step) -> Step | None:
    """Go on after `step` is done: the next step made ready is given back, or None at the run's end."""
    if step.kind == Step.Kind.DO:
        _put_secrets_in_force(step)
        if run.state == Run.State.COMPENSATING:
            return undo_steps(run)
        following = _first_pending(run, Step.Kind.DO)
        if following:
            return _release(following)
        _succeed(run)
        return None
    _note_compensated(step)
    following = _first_pending(run, Step.Kind.COMPENSATE)
    if following:
        return _release(following)
    _end_compensation(run)
    return None


def after_failure(run: Run, step: Step, reason: str) -> Step | None:
    """Go on after `step` has failed for good: undo what was done, or call an operator."""
    reason = secrets.scrub(reason)[:500]
    if step.kind == Step.Kind.COMPENSATE:
        move(run, Run.State.COMPENSATION_FAILED, values={"reason": reason}, step=step.name)
        return None
    if run.state == Run.State.RUNNING:
        move(run, Run.State.COMPENSATING, values={"reason": reason}, failed_step=step.name)
    return undo_steps(run)


def _first_pending(run: Run, kind: str) -> Step | None:
    return run.steps.filter(kind=kind, state=Step.State.PENDING).order_by("seq").first()


def _release(step: Step) -> Step:
    move(step, Step.State.READY, values={"next_run_at": ClockTimestamp()})
    bell.ring(step.pk, step.queue)
    return step


def _succeed(run: Run) -> None:
    now = timezone.now()
    move(run, Run.State.SUCCEEDED, values={"finished_at": now}, kind=run.kind)
    instance = run.instance
    if run.kind == Run.Kind.PROVISION:
        outputs: dict[str, Any] = {}
        for step in run.steps.filter(kind=Step.Kind.DO, state=Step.State.SUCCEEDED).order_by("seq"):
            outputs |= step.outputs
        move(
            instance,
            ServiceInstance.State.ACTIVE,
            values={"outputs": outputs, "active_at": now},
            run=str(run.pk),
        )
    elif run.kind == Run.Kind.ROTATE:
        move(instance, ServiceInstance.State.ACTIVE, run=str(run.pk), because="new password")


def _put_secrets_in_force(step: Step) -> None:
    """The back end took the step's passwords: they replace the ones before."""
    fresh = list(step.secrets.filter(in_force_at__isnull=True))
    if fresh:
        now = timezone.now()
        names = [secret.name for secret in fresh]
        Secret.objects.filter(
            instance=step.run.instance_id,
            name__in=names,
            in_force_at__isnull=False,
            superseded_at__isnull=True,
        ).update(superseded_at=now)
        Secret.objects.filter(pk__in=[secret.pk for secret in fresh]).update(in_force_at=now)


def undo_steps(run: Run) -> Step | None:
    """Make the steps that undo what `run` touched, last first; the first of them is given back.

    Every step that was ever tried is undone, failed ones too: they may have left half a thing. Where a
    worker is still at one, its result calls this again. What was never begun is skipped.
    """
    for step in run.steps.filter(kind=Step.Kind.DO, state=Step.State.PENDING):
        move(step, Step.State.SKIPPED)
    if run.steps.filter(
        kind=Step.Kind.DO, state__in=[Step.State.RUNNING, Step.State.POLLING], lease_token__isnull=False
    ).exists():
        return None
    touched = list(
        run.steps.filter(kind=Step.Kind.DO, attempt__gt=0, undone_by__isnull=True)
        .exclude(operation="describe")
        .order_by("-seq")
    )
    if not touched:
        _end_compensation(run)
        return None
    undoing = [
        Step(
            run=run,
            kind=Step.Kind.COMPENSATE,
            seq=seq,
            undoes=step,
            name=f"Undoing: {step.name}"[:80],
            connector=step.connector,
            operation="rotate" if step.operation == "rotate" else "undo",
            inputs=step.inputs,
            external_ref=step.external_ref,
            max_attempts=UNDO_ATTEMPTS,
            timeout_seconds=30 * 86400,
            queue=step.queue,
            urgency=1,
        )
        for seq, step in enumerate(touched, start=1)
    ]
    make_ready(undoing[0])
    Step.objects.bulk_create(undoing)
    events.record("step.ready", undoing[0], seq=1, kind=Step.Kind.COMPENSATE)
    bell.ring(undoing[0].pk, undoing[0].queue)
    return undoing[0]


def _note_compensated(step: Step) -> None:
    undone = step.undoes
    if undone and undone.state == Step.State.SUCCEEDED:
        move(undone, Step.State.COMPENSATED)


def _end_compensation(run: Run) -> None:
    move(run, Run.State.COMPENSATED, values={"finished_at": timezone.now()}, kind=run.kind, reason=run.reason)
    instance = run.instance
    if run.kind == Run.Kind.ROTATE:
        move(instance, ServiceInstance.State.ACTIVE, run=str(run.pk), because="old password kept")
    elif run.kind == Run.Kind.PROVISION:
        ended = ServiceInstance.State.RETIRED if was_canceled(run) else ServiceInstance.State.FAILED
        move(instance, ended, run=str(run.pk))


def was_canceled(run: Run) -> bool:
    """Tell whether a person stopped the run, rather than a failure."""
    return run.reason == CANCELED


CANCELED = "Canceled by the person who ordered."


def cancel_run(run: Run, *, actor: Any) -> Run:
    """Stop a run and undo what it did. Needs an open transaction; raises IllegalMove once it has ended.

    A step that a worker is at right now ends first; its result starts the undoing.
    """
    run = Run.objects.select_for_update().get(pk=run.pk)
    move(run, Run.State.COMPENSATING, actor=actor, values={"reason": CANCELED})
    waiting = run.steps.filter(kind=Step.Kind.DO).filter(
        Q(state__in=[Step.State.PENDING, Step.State.READY, Step.State.RETRY])
        | Q(state__in=[Step.State.WAITING_FOR_PERSON, Step.State.OUTCOME_UNKNOWN])
        | Q(state=Step.State.POLLING, lease_token__isnull=True)
    )
    for step in waiting.select_for_update():
        move(
            step,
            Step.State.CANCELED,
            actor=actor,
            values={"finished_at": timezone.now(), "next_run_at": None},
        )
    for task in ManualTask.objects.filter(step__run=run, state=ManualTask.State.OPEN):
        move(task, ManualTask.State.CANCELED, actor=actor)
    undo_steps(run)
    return run


def retry_run(run: Run, *, actor: Any) -> Run:
    """Try again to undo what could not be undone. Needs an open transaction."""
    require(actor, "provisioning.operate_run", run)
    run = Run.objects.select_for_update().get(pk=run.pk)
    if run.state != Run.State.COMPENSATION_FAILED:
        raise Conflict("not-failed", "Only a run whose undoing failed can be tried again.")
    move(run, Run.State.COMPENSATING, actor=actor)
    for step in run.steps.filter(state=Step.State.COMPENSATION_FAILED).select_for_update():
        move(
            step,
            Step.State.READY,
            actor=actor,
            values={"next_run_at": ClockTimestamp(), "attempt": 0, "deadline_at": None},
        )
        bell.ring(step.pk, step.queue)
    return run


def abandon_run(run: Run, reason: str, *, actor: Any) -> Run:
    """Give up undoing: what is left at the back end was cleared by hand, or may stay. Needs no transaction.

    Raises Invalid without a reason, Conflict for a run whose undoing has not failed.
    """
    require(actor, "provisioning.operate_run", run)
    if not reason.strip():
        raise Invalid({"/reason": "Enter the reason; the audit trail keeps it."})

    def change() -> Run:
        row = Run.objects.select_for_update(of=("self",)).select_related("instance").get(pk=run.pk)
        if row.state != Run.State.COMPENSATION_FAILED:
            raise Conflict("not-failed", "Only a run whose undoing failed can be abandoned.")
        for step in row.steps.filter(kind=Step.Kind.COMPENSATE, state=Step.State.PENDING):
            move(step, Step.State.CANCELED, actor=actor, values={"finished_at": timezone.now()})
        why = reason.strip()[:MAX_REASON]
        move(
            row,
            Run.State.ABANDONED,
            actor=actor,
            values={"finished_at": timezone.now(), "reason": why},
            reason=why,
        )
        _leave_instance(row, actor)
        return row

    return in_transaction(change)


def _leave_instance(run: Run, actor: Any) -> None:
    """A service whose making or removal was given up is no service; one whose password stayed goes on."""
    going_on = run.kind == Run.Kind.ROTATE
    ended = ServiceInstance.State.ACTIVE if going_on else ServiceInstance.State.FAILED
    move(run.instance, ended, actor=actor, run=str(run.pk), because="abandoned")
