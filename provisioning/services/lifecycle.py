"""The later life of a service: it is changed, removed, or, where making it failed, made once more.

All of this runs in the transaction of the order that wants it. The service's own state is the lock: of several
who want to change it at once, one does. Rows only, no network; the lock order is that of runs.py, and a service
that is held here has no open run.
"""

from collections.abc import Collection
from typing import Any
from uuid import UUID

from catalog.models import Plan
from core import events
from core.problems import Conflict
from core.states import move
from provisioning.models import Run, ServiceInstance, Step
from provisioning.services.runs import UNDO_ATTEMPTS, Begun, context_of, go_on, start_run, workflow_steps

State = ServiceInstance.State
CHANGEABLE = frozenset({State.ACTIVE})
REMOVABLE = frozenset({State.ACTIVE, State.SUSPENDED, State.MISSING})
BUSY = frozenset({State.PROVISIONING, State.UPDATING, State.RETIRING})
# What was sent is sent: no change brings it back.
NEVER_CHANGED = frozenset({"email"})
UNDO_SECONDS = 30 * 86400
BUSY_SECONDS = 5


def hold(instance: ServiceInstance, states: Collection[str]) -> ServiceInstance:
    """Lock `instance` until the end of the transaction, and give it as it is now.

    Raises Conflict `change-running` while something else is being done to it, `not-changeable` where its state is
    none of `states`.
    """
    rows = ServiceInstance.objects.select_for_update(of=("self",)).select_related(
        "plan__version__offering", "cost_center__unit", "owner"
    )
    row = rows.get(pk=instance.pk)
    if row.state in states:
        return row
    word = row.get_state_display().lower()
    if row.state in BUSY:
        raise Conflict(
            "change-running", f"{row.name} is {word}. Wait until that is done, and try again.", retry_after=BUSY_SECONDS
        )
    raise Conflict("not-changeable", f"{row.name} is {word}, so this cannot be done with it.")


def begin_change(
    instance: ServiceInstance, *, plan: Plan, parameters: dict[str, Any], order_ref: UUID, actor: Any
) -> Begun:
    """Begin to bring a held service in line with `plan` (of its own version) and cleaned `parameters`.

    What was made is changed in the order in which it was made; should that fail, it is changed back. The caller
    records the events. Raises Conflict `not-changeable` where nothing of it can be changed.
    """
    made = [step for step in steps_in_force(instance) if step.state == Step.State.SUCCEEDED]
    steps = [_change_of(step) for step in made if step.connector not in NEVER_CHANGED]
    if not steps:
        raise Conflict("not-changeable", f"Nothing of {instance.name} can be changed. Order another one instead.")
    move(instance, State.UPDATING, actor=actor, because="change", order=str(order_ref))
    facts = _facts_of(instance)
    former = context_of(instance.plan, instance.parameters, {})
    context = {**context_of(plan, parameters, facts), "plan_id": str(plan.pk), "before": former}
    return start_run(instance, Run.Kind.UPDATE, steps, context=context, order_ref=order_ref, actor=actor)


def begin_removal(instance: ServiceInstance, *, order_ref: UUID, actor: Any) -> Begun:
    """Begin to take away what was made for a held service, last first. The caller records the events.

    A service of which nothing is left anywhere is removed at once.
    """
    steps = [_removal_of(step) for step in reversed(steps_in_force(instance))]
    move(instance, State.RETIRING, actor=actor, because="removal", order=str(order_ref))
    context = context_in_force(instance)
    if steps:
        return start_run(instance, Run.Kind.RETIRE, steps, context=context, order_ref=order_ref, actor=actor)
    run = Run.objects.create(instance=instance, kind=Run.Kind.RETIRE, context=context, order_ref=order_ref)
    events.record("run.running", run, actor=actor, kind=run.kind)
    go_on(run, Step.Kind.COMPENSATE)
    return Begun(instance, run, [])


def begin_again(instance: ServiceInstance, *, facts: dict[str, Any], actor: Any) -> Begun:
    """Begin to make a service once more whose making failed and was undone. The caller records the events.

    `facts` are what its order says now; its name at the back ends stays. Raises IntegrityError where the service's
    name has been given away meanwhile (constraint `live_name_in_cost_center`).
    """
    move(instance, State.PROVISIONING, actor=actor, because="tried again")
    return start_run(
        instance,
        Run.Kind.PROVISION,
        workflow_steps(instance.plan),
        context=context_of(instance.plan, instance.parameters, facts),
        order_ref=instance.order_ref,
        actor=actor,
    )


def steps_in_force(instance: ServiceInstance) -> list[Step]:
    """Give the steps that made what there is, in order, each with its back end's newest name for the thing.

    Steps that an operator left out count too, where they may have left half a thing.
    """
    rows = Step.objects.filter(
        run__instance=instance,
        run__kind=Run.Kind.PROVISION,
        run__state=Run.State.SUCCEEDED,
        kind=Step.Kind.DO,
        operation="start",
        attempt__gt=0,
        left_nothing=False,
    ).exclude(state=Step.State.COMPENSATED)
    made = list(rows.select_related("run__instance", "undoes").order_by("run__created_at", "seq"))
    changed = [step for step in made if step.state == Step.State.SUCCEEDED and step.connector not in NEVER_CHANGED]
    last = Run.objects.filter(instance=instance, kind=Run.Kind.UPDATE, state=Run.State.SUCCEEDED).first()
    names = last.steps.filter(kind=Step.Kind.DO).order_by("seq").values_list("external_ref", flat=True) if last else []
    # A change takes the steps in this very order, so that its names belong to them one by one.
    for step, name in zip(changed, names, strict=False):
        step.external_ref = name or step.external_ref
    return made


def context_in_force(instance: ServiceInstance) -> dict[str, Any]:
    """Give what steps may read of a service: the facts of its first order, with today's plan and parameters."""
    return context_of(instance.plan, instance.parameters, _facts_of(instance))


def _facts_of(instance: ServiceInstance) -> dict[str, Any]:
    made = Run.objects.filter(instance=instance, kind=Run.Kind.PROVISION, state=Run.State.SUCCEEDED)
    return made.values_list("context", flat=True).first() or {}


def _change_of(step: Step) -> Step:
    return Step(
        name=f"Changing: {step.name}"[:80],
        connector=step.connector,
        back_end=step.back_end,
        operation="update",
        inputs=step.inputs,
        external_ref=step.external_ref,
        max_attempts=step.max_attempts,
        timeout_seconds=step.timeout_seconds,
        queue=step.queue,
    )


def _removal_of(step: Step) -> Step:
    return Step(
        kind=Step.Kind.COMPENSATE,
        undoes=step,
        name=f"Removing: {step.name}"[:80],
        connector=step.connector,
        back_end=step.back_end,
        operation="undo",
        inputs=step.inputs,
        external_ref=step.external_ref,
        max_attempts=UNDO_ATTEMPTS,
        timeout_seconds=UNDO_SECONDS,
        queue=step.queue,
    )
