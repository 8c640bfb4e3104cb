"""The delivery of a past order: its service, its run, its steps and the tasks that people did."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from accounts.models import Person, Role
from config.demo_data.past import Past
from config.seeding.rows import Rows, id_of
from orders.models import Order
from provisioning.connectors.names import name_for
from provisioning.models import ManualTask, Run, ServiceInstance, Step, StepLine
from provisioning.services.runs import CANCELED

# How the parts of a delivery by machine share its time.
FIRST_SHARE, PICKED_UP_AFTER = 0.8, timedelta(milliseconds=60)
ATTEMPTS = 5
# What the connectors say once they have looked.
CHECKED = {
    "postgresql": "Signed in with the new password.",
    "redis_acl": "Signed in with the new password.",
    "git_repository": "Git can read the repository.",
}
INSTANCE_STATES = {
    "open": ServiceInstance.State.PROVISIONING,
    "failed": ServiceInstance.State.FAILED,
    "canceled": ServiceInstance.State.RETIRED,
}
RUN_STATES = {
    "open": Run.State.RUNNING,
    "completed": Run.State.SUCCEEDED,
    "failed": Run.State.COMPENSATED,
    "canceled": Run.State.COMPENSATED,
}


@dataclass
class Work:
    """One delivery, from the moment at which it began."""

    at: datetime
    order: Order
    instance: ServiceInstance
    run: Run
    steps: list[Step]

    @property
    def by_hand(self) -> bool:
        """Whether people do it."""
        return self.steps[0].connector == "manual"


def begin(told: Any, order: Order, rows: Rows) -> Work:
    """Write down that the delivery of a `history.Told` began: service, run, and all steps as waiting."""
    past: Past = told.past
    state = INSTANCE_STATES.get(past.ended)
    if state is None:
        state = ServiceInstance.State.ACTIVE if past.kept is None else ServiceInstance.State.RETIRED
    instance = ServiceInstance(
        id=id_of(past.name, "service"),
        name=past.name,
        state=state,
        plan=told.plan,
        cost_center=told.cost_center,
        owner=told.requester,
        parameters=told.values,
        order_ref=order.pk,
        outputs=past.outputs,
        created_at=told.at,
    )
    run = Run(
        id=id_of(past.name, "run"),
        instance=instance,
        state=RUN_STATES[past.ended],
        order_ref=order.pk,
        created_at=told.at,
        context=_context(told, order),
    )
    steps = [
        _step(past.name, run, seq, entry) for seq, entry in enumerate(told.plan.version.promised["workflow"], start=1)
    ]
    order.instance = instance
    rows.instances.append(instance)
    rows.runs.append(run)
    rows.steps.extend(steps)
    who = told.requester
    rows.note(told.at, "serviceinstance.provisioning", instance, who, run=str(run.pk))
    rows.note(told.at, "run.running", run, who, kind=run.kind)
    rows.note(told.at, "step.ready", steps[0], who, seq=1)
    rows.note(told.at, "order.fulfilling", order, who, run=str(run.pk))
    return Work(told.at, order, instance, run, steps)


def _context(told: Any, order: Order) -> dict[str, Any]:
    plans = told.plan.version.promised["plans"]
    return {
        "order": str(order.pk),
        "order_number": order.number,
        "offering": told.plan.version.offering.slug,
        "plan": told.plan.slug,
        "requester": told.requester.username,
        "requester_name": told.requester.name,
        "cost_center": told.cost_center.code,
        "purpose": order.purpose,
        "limits": next(entry["limits"] for entry in plans if entry["slug"] == told.plan.slug),
        "parameters": told.values,
    }


def _step(name: str, run: Run, seq: int, entry: dict[str, Any], **values: Any) -> Step:
    kind = values.get("kind", Step.Kind.DO)
    return Step(
        id=id_of(name, f"{kind}-{seq}"),
        idempotency_key=id_of(name, f"{kind}-{seq}-key"),
        run=run,
        seq=seq,
        name=entry["name"],
        connector=entry["connector"],
        back_end=entry.get("back_end") or entry["connector"],
        inputs=entry["inputs"],
        max_attempts=entry["max_attempts"],
        timeout_seconds=entry["timeout_seconds"],
        **{"operation": entry["operation"], **values},
    )


def go_on(past: Past, work: Work, doer: Person, rows: Rows) -> None:
    """Write down how the delivery went on; `doer` did what was done by hand."""
    {"completed": _complete, "failed": _fail, "canceled": _cancel, "open": _wait}[past.ended](past, work, doer, rows)


def _complete(past: Past, work: Work, doer: Person, rows: Rows) -> None:
    ends_at = work.at + timedelta(seconds=past.took)
    for step, start, end in _times(work, ends_at):
        _start(step, start, rows, attempt=1)
        if work.by_hand:
            _done_by_hand(past, step, (start, end), doer, rows)
        else:
            _done_by_machine(work, step, end, rows)
    work.run.finished_at = work.instance.active_at = work.order.completed_at = ends_at
    rows.note(ends_at, "run.succeeded", work.run, kind=work.run.kind)
    rows.note(ends_at, "serviceinstance.active", work.instance, run=str(work.run.pk))
    rows.note(ends_at, "order.completed", work.order, run=str(work.run.pk))
    if past.kept is not None:
        removed_at = ends_at + timedelta(days=past.kept)
        rows.note(removed_at, "serviceinstance.retiring", work.instance, work.order.requester)
        rows.note(removed_at + timedelta(seconds=2), "serviceinstance.retired", work.instance)


def _times(work: Work, ends_at: datetime) -> list[tuple[Step, datetime, datetime]]:
    """Share the time out among the steps: (step, start, end)."""
    whole = ends_at - work.at
    bounds = [work.at + PICKED_UP_AFTER]
    count = len(work.steps)
    bounds += [work.at + whole * FIRST_SHARE * (number / (count - 1)) for number in range(1, count)]
    bounds.append(ends_at)
    return [(step, bounds[place], bounds[place + 1]) for place, step in enumerate(work.steps)]


def _start(step: Step, at: datetime, rows: Rows, *, attempt: int) -> None:
    step.attempt, step.started_at = attempt, at
    step.deadline_at = at + timedelta(seconds=step.timeout_seconds)
    rows.note(at, "step.running", step, attempt=attempt)


def _end(step: Step, state: str, at: datetime, rows: Rows, *, detail: str = "", actor: Any = None) -> None:
    step.state, step.finished_at, step.detail = state, at, detail
    error = {"error": step.error} if step.error else {}
    rows.note(at, f"step.{state}", step, actor, attempt=step.attempt, **error)


def _done_by_machine(work: Work, step: Step, at: datetime, rows: Rows) -> None:
    step.external_ref = name_for(work.instance.name, work.instance.pk)
    detail = CHECKED[step.connector] if step.operation == "describe" else f"Made {step.external_ref}."
    rows.lines.append(StepLine(step=step, at=at, text=detail))
    _end(step, Step.State.SUCCEEDED, at, rows, detail=detail)


def _task(past: Past, step: Step, at: datetime) -> ManualTask:
    inputs = step.inputs
    return ManualTask(
        id=id_of(past.name, f"task-{step.seq}"),
        step=step,
        title=step.name,
        instructions=inputs["instructions"],
        role=inputs["assignee_role"],
        output_fields=[{**entry, "optional": False} for entry in inputs["output_fields"]],
        due_at=at + timedelta(hours=inputs["due_hours"]),
        created_at=at,
    )


def _done_by_hand(past: Past, step: Step, times: tuple[datetime, datetime], doer: Person, rows: Rows) -> None:
    start, end = times
    task = _task(past, step, start)
    known = {entry["name"] for entry in task.output_fields}
    given = {name: text for name, text in past.outputs.items() if name in known}
    task.state, task.done_by, task.done_at, task.outputs = ManualTask.State.DONE, doer, end, given
    step.outputs = given
    rows.tasks.append(task)
    rows.note(start, "step.waiting_for_person", step, attempt=1)
    rows.note(end, "manualtask.done", task, doer)
    _end(step, Step.State.SUCCEEDED, end, rows, detail=f"Done by {doer.name}.", actor=doer)


def _wait(past: Past, work: Work, doer: Person, rows: Rows) -> None:
    step = work.steps[0]
    at = work.at + PICKED_UP_AFTER
    _start(step, at, rows, attempt=1)
    task = _task(past, step, at)
    step.state = Step.State.WAITING_FOR_PERSON
    step.detail = f"A person does this: {Role(task.role).label}."
    rows.tasks.append(task)
    rows.note(at, "step.waiting_for_person", step, attempt=1)


def _fail(past: Past, work: Work, doer: Person, rows: Rows) -> None:
    """The first step was tried as often as it may be; the run was undone once the server was back."""
    step, *others = work.steps
    ends_at = work.at + timedelta(seconds=past.took)
    gave_up_at = work.at + timedelta(seconds=past.took * FIRST_SHARE)
    _start(step, work.at + PICKED_UP_AFTER, rows, attempt=ATTEMPTS)
    step.error = f"{past.why} (attempt {ATTEMPTS} of {ATTEMPTS})"
    _end(step, Step.State.FAILED, gave_up_at, rows)
    rows.note(gave_up_at, "run.compensating", work.run, failed_step=step.name)
    work.run.reason = past.why
    for other in others:
        other.state = Step.State.SKIPPED
        rows.note(gave_up_at, "step.skipped", other)
    _undo(past, work, ends_at, "There was nothing to remove.", rows)
    rows.note(ends_at, "serviceinstance.failed", work.instance, run=str(work.run.pk))
    rows.note(ends_at, "order.failed", work.order, reason=past.why)


def _cancel(past: Past, work: Work, doer: Person, rows: Rows) -> None:
    """The person who ordered took it back before anybody had done it."""
    who, at = work.order.requester, work.at + timedelta(seconds=past.took)
    _wait(past, work, doer, rows)
    task = rows.tasks[-1]
    task.state = ManualTask.State.CANCELED
    work.order.cancel_requested_at, work.run.reason = at, CANCELED
    rows.note(at, "order.cancel_requested", work.order, who)
    rows.note(at, "run.compensating", work.run, who)
    for step in work.steps:
        _end(step, Step.State.CANCELED, at, rows, actor=who)
    rows.note(at, "manualtask.canceled", task, who)
    ends_at = at + timedelta(seconds=1)
    _undo(past, work, ends_at, "Nobody had done it yet: nothing to take back.", rows)
    rows.note(ends_at, "serviceinstance.retired", work.instance, run=str(work.run.pk))
    rows.note(ends_at, "order.canceled", work.order, reason=CANCELED)


def _undo(past: Past, work: Work, at: datetime, detail: str, rows: Rows) -> None:
    """Add the step that undoes the first one, and end the run and the order."""
    first = work.steps[0]
    entry = {
        "name": f"Undoing: {first.name}"[:80],
        "connector": first.connector,
        "operation": "undo",
        "inputs": first.inputs,
        "max_attempts": 20,
        "timeout_seconds": 30 * 86_400,
    }
    step = _step(past.name, work.run, 1, entry, kind=Step.Kind.COMPENSATE, undoes=first, urgency=1)
    rows.steps.append(step)
    _start(step, at - timedelta(milliseconds=400), rows, attempt=1)
    _end(step, Step.State.SUCCEEDED, at, rows, detail=detail)
    work.run.finished_at = work.order.completed_at = at
    rows.note(at, "run.compensated", work.run, kind=work.run.kind, reason=work.run.reason)
