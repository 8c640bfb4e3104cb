"""Tasks: the steps of deliveries that a person does by hand."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import DateTimeField, Value
from django.db.models.functions import Coalesce
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.utils import timezone
from django.views.decorators.http import require_safe

import provisioning.services as provisioning
from core import parameters
from core.pages import page_of
from core.problems import Invalid
from core.views import post_only, see_other
from provisioning.forms import output_fields, outputs_of
from provisioning.models import ManualTask

PAGE_SIZE = 50
INVALID = 422
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)  # what has no date comes last
SHOWN = ("step__run__instance__plan__version__offering", "step__run__instance__owner")


@login_required
@require_safe
def manualtask_list(request: HttpRequest) -> HttpResponse:
    """List the open tasks that this person may do, the longest overdue first."""
    tasks = (
        ManualTask.objects.visible_to(request.user)
        .filter(state=ManualTask.State.OPEN)
        .annotate(due=Coalesce("due_at", Value(FOREVER), output_field=DateTimeField()))
        .select_related(*SHOWN)
        .defer("step__run__instance__plan__version__document")
    )
    page = page_of(tasks, request, ("due", "created_at", "id"), PAGE_SIZE)
    now = timezone.now()
    context = {
        "tasks": [(task, _due(task, now)) for task in page.rows],
        "previous_url": page.previous_url,
        "next_url": page.next_url,
    }
    return render(request, "provisioning/manualtask_list.html", context)


def _due(task: ManualTask, now: datetime) -> dict[str, Any] | None:
    """Say in how many seconds a task is due, or for how many it has been late; None where it has no date."""
    if task.due_at is None:
        return None
    left = (task.due_at - now).total_seconds()
    return {"seconds": abs(left), "late": left < 0}


def _task_of(person: Any, pk: str) -> ManualTask:
    """Give the task `pk`, where `person` may see it. Raises Http404."""
    rows = ManualTask.objects.visible_to(person).select_related(
        *SHOWN, "done_by", "assignee", "step__run__instance__cost_center"
    )
    return get_object_or_404(rows, pk=pk)


@login_required
@require_safe
def manualtask_detail(request: HttpRequest, pk: str) -> HttpResponse:
    """Show one task, with the form that hands over what was done."""
    return _task_page(request, _task_of(request.user, pk), {}, {})


def _task_page(
    request: HttpRequest, task: ManualTask, values: Mapping[str, str], errors: Mapping[str, str]
) -> HttpResponse:
    shown = output_fields(task, values, errors)
    is_open = task.state == ManualTask.State.OPEN
    context = {
        "task": task,
        "instance": task.step.run.instance,
        "facts": _facts(task),
        "form_fields": shown,
        "errors": parameters.problems(shown, dict(errors)),
        "can_complete": is_open and request.user.has_perm("provisioning.complete_manualtask", task),
        "due": _due(task, timezone.now()),
    }
    return render(request, "provisioning/manualtask_detail.html", context, status=INVALID if errors else 200)


def _facts(task: ManualTask) -> list[tuple[str, str]]:
    """Say what it is for, in the words of the order; and what came of it, once it is done."""
    instance = task.step.run.instance
    version = instance.plan.version
    titles = {entry["name"]: entry["title"] for entry in task.output_fields}
    return [
        ("Service", version.name),
        ("Plan", instance.plan.name),
        ("Name", instance.name),
        *parameters.described(version.promised["form"], instance.parameters),
        ("For", str(instance.owner)),
        ("Cost center", str(instance.cost_center)),
        ("Order", str(task.step.run.context.get("order_number", ""))),
        *((titles.get(name, name), value) for name, value in task.outputs.items()),
    ]


@login_required
@post_only("provisioning:manualtask_detail", "pk")
def manualtask_complete(request: HttpRequest, pk: str) -> HttpResponse:
    """Note that a task is done; the delivery goes on."""
    task = _task_of(request.user, pk)
    given = outputs_of(task, request.POST)
    try:
        provisioning.complete(task, given, actor=request.user)
    except Invalid as refusal:
        return _task_page(request, task, given, refusal.errors)
    return see_other("provisioning:manualtask_detail", pk=pk)
