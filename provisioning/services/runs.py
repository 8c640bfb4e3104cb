"""How a run begins, goes on from step to step, and is undone. No network here: rows only.

Lock order of everything in this module: run, step, instance, and only then (in the handlers) the order.
"""

from dataclasses import dataclass
from typing import Any
from uuid import UUID

from django.conf import settings
from django.db.models import DateTimeField as DateTime
from django.db.models import Func, Q
from django.db.models.functions import Now

from catalog.models import Plan
from catalog.services import secret_names
from core import bell, events, secrets
from core.models import Event
from core.states import move
from provisioning.models import ManualTask, Run, Secret, ServiceInstance, Step

UNDO_ATTEMPTS = 20


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
    instance = ServiceInstance.objects.create(
        name=name, plan=plan, cost_center=cost_center, owner=owner, order_ref=order_ref, parameters=parameters
    )
    begun = start_run(
        instance,
        Run.Kind.PROVISION,
        workflow_steps(plan),
        context=context_of(plan, parameters, context),
        order_ref=order_ref,
        actor=actor,
    )
    made = events.event("serviceinstance.provisioning", instance, actor=actor, run=str(begun.run.pk))
    return Begun(instance, begun.run, [(made, instance), *begun.events])


def context_of(plan: Plan, parameters: dict[str, Any], facts: dict[str, Any]) -> dict[str, Any]:
    """Write down what the steps of a run may read: `facts` of the order, and what the plan and the form say."""
    limits = next(entry["limits"] for entry in plan.version.promised["plans"] if entry["slug"] == plan.slug)
    return {**facts, "plan": plan.slug, "limits": limits, "parameters": parameters}


def workflow_steps(plan: Plan) -> list[Step]:
    """Make, but do not store, the steps that the plan's version promises."""
    return [
        Step(
            name=entry["name"],
            connector=entry["connector"],
            back_end=entry.get("back_end") or entry["connector"],
            operation=entry["operation"],
            inputs=entry["inputs"],
            when=entry.get("when", ""),
            on_failure=entry.get("on_failure", Step.OnFailure.UNDO),
            max_attempts=entry["max_attempts"],
            timeout_seconds=entry["timeout_seconds"],
            queue=settings.CONNECTORS[entry["connector"]].get("queue", "default"),
        )
        for entry in plan.version.promised["workflow"]
    ]


def start_run(
    instance: ServiceInstance,
    kind: str,
    steps: list[Step],
    *,
    context: dict[str, Any],
    order_ref: UUID | None,
    actor: Any,
) -> Begun:
    """Store a run with its `steps` in order, draw their passwords, and ring for a worker after commit.

    Runs in the caller's transaction: three statements at most, however many steps there are. The caller
    records the events, and moves the instance. A `retire` run takes steps of the kind `compensate`.
    """
    run = Run.objects.create(instance=instance, kind=kind, context=context, order_ref=order_ref)
    for seq, step in enumerate(steps, start=1):
        step.run, step.seq = run, seq
    make_ready(steps[0])
    Step.objects.bulk_create(steps)
    make_secrets(instance, [step for step in steps if step.operation in {"start", "rotate"}])
    bell.ring(steps[0].pk, steps[0].queue)
    facts = [
        (events.event("run.running", run, actor=actor, kind=run.kind), run),
        (events.event("step.ready", steps[0], actor=actor, seq=1), steps[0]),
    ]
    return Begun(instance, run, facts)


def make_ready(step: Step) -> None:
    """Set a step that is not stored yet to be due at once, by the database's clock."""
    step.state, step.next_run_at = Step.State.READY, Now()


def make_secrets(instance: ServiceInstance, steps: list[Step]) -> None:
    """Draw the passwords of `steps` now, so that every attempt sets the same ones."""
    drawn = []
    for step in steps:
        for name in secret_names(step.connector, step.inputs):
            secret = Secret(instance=instance, step=step, name=name)
            secret.ciphertext = secrets.encrypt(secrets.generate(), bound_to=secret.pk)
            drawn.append(secret)
    if drawn:
        Secret.objects.bulk_create(drawn)


def after_success(run: Run, step: Step) -> Step | None:
    """Go on after `step` is done: the next step made ready is given back, or None at the run's end."""
    if step.kind == Step.Kind.DO or step.operation == "rotate":
        put_secrets_in_force(step)
    if step.kind == Step.Kind.COMPENSATE:
        _note_compensated(step)
    return go_on(run, step.kind)


def go_on(run: Run, kind: str) -> Step | None:
    """Make the next step of `kind` ready and give it back; None where `run` has come to its end with this."""
    if kind == Step.Kind.DO and run.state == Run.State.COMPENSATING:
        return undo_steps(run)
    following = _first_pending(run, kind)
    if following:
        return _release(following)
    if kind == Step.Kind.DO or run.kind == Run.Kind.RETIRE:
        _succeed(run)
    else:
        _end_compensation(run)
    return None


def after_failure(run: Run, step: Step, reason: str) -> Step | None:
    """Go on after `step` has failed for good: undo what was done, or call an operator."""
    reason = secrets.scrub(reason)[:500]
    if step.kind == Step.Kind.COMPENSATE:
        move(run, Run.State.COMPENSATION_FAILED, values={"reason": reason}, step=step.name)
        return None
    if run.state == Run.State.RUNNING and step.on_failure == Step.OnFailure.WAIT:
        Run.objects.filter(pk=run.pk).update(reason=reason)
        events.record("run.held", run, failed_step=step.name, reason=reason)
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
    move(run, Run.State.SUCCEEDED, values={"finished_at": Now()}, kind=run.kind)
    instance = run.instance
    facts: dict[str, Any] = {"run": str(run.pk), "because": run.get_kind_display().lower()}
    if run.kind == Run.Kind.RETIRE:
        move(instance, ServiceInstance.State.RETIRED, **facts)
        return
    values: dict[str, Any] = {}
    if run.kind != Run.Kind.ROTATE:
        values["outputs"] = dict(instance.outputs)
        for step in run.steps.filter(kind=Step.Kind.DO, state=Step.State.SUCCEEDED).order_by("seq"):
            values["outputs"] |= step.outputs
    if run.kind == Run.Kind.PROVISION:
        values |= {"active_at": Now()}
    elif run.kind == Run.Kind.UPDATE:
        values |= {"plan_id": run.context["plan_id"], "parameters": run.context["parameters"]}
    move(instance, ServiceInstance.State.ACTIVE, values=values, **facts)


def put_secrets_in_force(step: Step) -> None:
    """Let the passwords that the back end took from `step`, or gave for it, replace the ones before."""
    if not settings.CONNECTORS[step.connector]["secrets"]:
        return
    fresh = list(step.secrets.filter(in_force_at__isnull=True))
    if fresh:
        names = [secret.name for secret in fresh]
        Secret.objects.filter(
            instance=step.run.instance_id,
            name__in=names,
            in_force_at__isnull=False,
            superseded_at__isnull=True,
        ).update(superseded_at=Now())
        Secret.objects.filter(pk__in=[secret.pk for secret in fresh]).update(in_force_at=Now())


def undo_steps(run: Run) -> Step | None:
    """Make the steps that undo what `run` touched, last first; the first of them is given back.

    Every step that was ever tried is undone, failed ones too, unless the back end said that it made nothing:
    they may have left half a thing. Where a worker is still at one, its result calls this again. What was
    never begun is skipped. A change is undone by changing back: it never deletes.
    """
    for step in run.steps.filter(kind=Step.Kind.DO, state=Step.State.PENDING):
        move(step, Step.State.SKIPPED)
    if run.steps.filter(
        kind=Step.Kind.DO, state__in=[Step.State.RUNNING, Step.State.POLLING], lease_token__isnull=False
    ).exists():
        return None
    touched = list(
        run.steps.filter(kind=Step.Kind.DO, started_at__isnull=False, left_nothing=False, undone_by__isnull=True)
        .exclude(operation__in=["describe", "preview"])
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
            back_end=step.back_end,
            operation=step.operation if step.operation in {"rotate", "update"} else "undo",
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
    move(run, Run.State.COMPENSATED, values={"finished_at": Now()}, kind=run.kind, reason=run.reason)
    instance = run.instance
    if run.kind in {Run.Kind.ROTATE, Run.Kind.UPDATE}:
        kept = "old password kept" if run.kind == Run.Kind.ROTATE else "kept as it was"
        move(instance, ServiceInstance.State.ACTIVE, run=str(run.pk), because=kept)
    elif run.kind == Run.Kind.PROVISION:
        ended = ServiceInstance.State.RETIRED if was_canceled(run) else ServiceInstance.State.FAILED
        move(instance, ended, run=str(run.pk))


def was_canceled(run: Run) -> bool:
    """Tell whether a person stopped the run, rather than a failure."""
    return run.reason == CANCELED


CANCELED = "Canceled by the person who ordered."


def cancel_run(run: Run, *, actor: Any, reason: str = CANCELED) -> Run:
    """Stop a run and undo what it did. Needs an open transaction; raises IllegalMove once it has ended.

    A step that a worker is at right now ends first; its result starts the undoing.
    """
    run = Run.objects.select_for_update().get(pk=run.pk)
    move(run, Run.State.COMPENSATING, actor=actor, values={"reason": reason}, reason=reason)
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
            values={"finished_at": Now(), "next_run_at": None},
        )
    for task in ManualTask.objects.filter(step__run=run, state=ManualTask.State.OPEN):
        move(task, ManualTask.State.CANCELED, actor=actor)
    undo_steps(run)
    return run
