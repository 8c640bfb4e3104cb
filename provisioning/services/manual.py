"""Tasks that a person does by hand."""

from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

from accounts.models import Person
from core.permissions import require
from core.problems import Invalid
from core.states import move
from core.transactions import run as in_transaction
from provisioning.models import ManualTask, Run, Step
from provisioning.services.runs import after_success

MAX_OUTPUT = 500


def complete(task: ManualTask, outputs: dict[str, str], *, actor: Any) -> ManualTask:
    """Note that the task is done, with what came of it; the run goes on.

    Raises Invalid where a needed output is missing, IllegalMove where someone was faster or the order is gone.
    """

    def change() -> ManualTask:
        run = Run.objects.select_for_update(of=("self",)).select_related("instance").get(pk=task.step.run_id)
        row = ManualTask.objects.select_related("step__run__instance__plan__version__offering").get(pk=task.pk)
        require(actor, "provisioning.complete_manualtask", row)
        if run.instance.owner_id == actor.pk:
            raise PermissionDenied("Who ordered a service cannot hand it over to himself.")
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
def hand_to(task: ManualTask, person: Person | None, *, actor: Any) -> ManualTask:
    """Give an open task to `person`, or back to everyone of its role."""
    require(actor, "provisioning.complete_manualtask", task)
    if person and not person.has_perm("provisioning.complete_manualtask", task):
        raise Invalid({"/assignee": f"{person} may not do this task."})
    ManualTask.objects.filter(pk=task.pk, state=ManualTask.State.OPEN).update(assignee=person)
    task.assignee = person
    return task
