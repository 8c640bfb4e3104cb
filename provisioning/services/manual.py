"""Tasks that a person does by hand."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from core import events
from core.permissions import require
from core.problems import Conflict, Invalid
from core.states import IllegalMove, move
from core.transactions import run as in_transaction
from provisioning.models import ManualTask, Run, Step
from provisioning.services.runs import after_success

MAX_OUTPUT = 500


def complete(task: ManualTask, outputs: dict[str, str], *, actor: Any) -> ManualTask:
    """Note that the task is done, with what came of it; the run goes on.

    Raises Invalid where a needed output is missing, Conflict where somebody else has the task, IllegalMove where
    someone was faster or the order is gone.
    """

    def change() -> ManualTask:
        run = Run.objects.select_for_update(of=("self",)).select_related("instance").get(pk=task.step.run_id)
        row = _locked(task)
        _require(row, actor)
        if row.state == ManualTask.State.OPEN and row.assignee_id not in {None, actor.pk}:
            raise Conflict("claimed", f"{row.assignee} has this task. Take it over first.")
        given = _checked(row, outputs)
        now = timezone.now()
        move(
            row,
            ManualTask.State.DONE,
            actor=actor,
            values={"done_by": actor, "done_at": now, "outputs": given},
        )
        step = row.step
        step.run = run
        move(
            step,
            Step.State.SUCCEEDED,
            actor=actor,
            values={
                "outputs": given,
                "finished_at": now,
                "detail": f"Done by {actor.name or actor.username}.",
            },
        )
        after_success(run, step)
        return row

    return in_transaction(change)


def _checked(task: ManualTask, outputs: dict[str, str]) -> dict[str, str]:
    errors: dict[str, str] = {}
    given: dict[str, str] = {}
    known = {entry["name"] for entry in task.output_fields}
    for unknown in sorted(set(outputs) - known):
        errors[f"/{unknown}"] = f"There is no field named “{unknown}”."
    for entry in task.output_fields:
        name, value = entry["name"], outputs.get(entry["name"], "")
        if not isinstance(value, str):
            errors[f"/{name}"] = f"{entry['title']} must be text."
        elif not value.strip() and not entry.get("optional"):
            errors[f"/{name}"] = f"Enter {entry['title'].lower()}."
        elif len(value) > MAX_OUTPUT:
            errors[f"/{name}"] = f"{entry['title']} must be {MAX_OUTPUT} characters or fewer."
        elif value.strip():
            given[name] = value.strip()
    if errors:
        raise Invalid(errors)
    return given


@transaction.atomic
def claim_task(task: ManualTask, *, actor: Any) -> ManualTask:
    """Take an open task upon oneself; a second time changes nothing.

    Raises Conflict where somebody else has it, IllegalMove where it is no longer open.
    """
    row = _require_open(task, actor)
    if row.assignee_id == actor.pk:
        return row
    if row.assignee_id:
        raise Conflict("claimed", f"{row.assignee} has this task already.")
    return _give(row, actor, "manualtask.claimed", actor)


@transaction.atomic
def hand_back(task: ManualTask, *, actor: Any) -> ManualTask:
    """Let go of a task that one has, so that anybody of its role may take it. Raises as `claim_task` does."""
    row = _require_open(task, actor)
    if row.assignee_id != actor.pk:
        raise Conflict("not-yours", "Only the person who has a task can hand it back.")
    return _give(row, None, "manualtask.handed_back", actor)


@transaction.atomic
def hand_to(task: ManualTask, person: Any, *, actor: Any) -> ManualTask:
    """Give an open task to `person`, whoever has it now; None: back to everyone of its role.

    Raises Invalid for a person who may not do it, IllegalMove where it is no longer open.
    """
    row = _require_open(task, actor)
    if person and not (person.has_perm("provisioning.complete_manualtask", row) and _may_have(row, person)):
        raise Invalid({"/assignee": f"{person} may not do this task."})
    return _give(row, person, "manualtask.handed_over", actor)


def _require_open(task: ManualTask, actor: Any) -> ManualTask:
    """Lock an open task that `actor` may do. Raises PermissionDenied, IllegalMove."""
    row = _locked(task)
    _require(row, actor)
    if row.state != ManualTask.State.OPEN:
        raise IllegalMove(f"This task is {row.get_state_display().lower()} already.")
    return row


def _locked(task: ManualTask) -> ManualTask:
    rows = ManualTask.objects.select_for_update(of=("self",)).select_related("assignee")
    return rows.select_related("step__run__instance__plan__version__offering").get(pk=task.pk)


def _require(task: ManualTask, actor: Any) -> None:
    require(actor, "provisioning.complete_manualtask", task)
    if not _may_have(task, actor):
        raise PermissionDenied("Who ordered a service cannot hand it over to himself.")


def _may_have(task: ManualTask, person: Any) -> bool:
    """Tell whether the service is somebody else's: superusers pass every rule, and are asked again."""
    return bool(task.step.run.instance.owner_id != person.pk)


def _give(task: ManualTask, person: Any, event: str, actor: Any) -> ManualTask:
    before = task.assignee
    task.assignee = person
    task.save(update_fields=["assignee"])
    names = {"before": before.username if before else None, "after": person.username if person else None}
    events.record(event, task, actor=actor, **names)
    return task
