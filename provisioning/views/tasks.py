"""Tasks: the steps of deliveries that a person does by hand."""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count, DateTimeField, Q, Value
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
from provisioning.models import ManualTask, ManualTaskQuerySet

PAGE_SIZE = 50
INVALID = 422
FOREVER = datetime(9999, 1, 1, tzinfo=UTC)  # what has no date comes last
TABS = {"all": "All", "unclaimed": "Unclaimed", "mine": "Mine"}
SHOWN = ("step__run__instance__plan__version__offering", "step__run__instance__owner")


@login_required
@require_safe
def manualtask_list(request: HttpRequest) -> HttpResponse:
    """List the open tasks that this person may do, the longest overdue first."""
    shown = request.GET.get("show", "")
    shown = shown if shown in TABS else "all"
    tasks = ManualTask.objects.visible_to(request.user).filter(state=ManualTask.State.OPEN)
    listed = (
        tasks.filter(_in_tab(shown, request.user))
        .annotate(due=Coalesce("due_at", Value(FOREVER), output_field=DateTimeField()))
        .select_related(*SHOWN, "assignee")
        .defer("step__run__instance__plan__version__document")
    )
    page = page_of(listed, request, ("due", "created_at", "id"), PAGE_SIZE)
    now = timezone.now()
    context = {
        "tasks": [(task, _due(task, now)) for task in page.rows],
        "tabs": _tabs(tasks, shown, request.user),
        "shown": shown,
        "previous_url": page.previous_url,
        "next_url": page.next_url,
    }
    return render(request, "provisioning/manualtask_list.html", context)


def _in_tab(name: str, person: Any) -> Q:
    return {"all": Q(), "mine": Q(assignee=person), "unclaimed": Q(assignee__isnull=True)}[name]


def _tabs(tasks: ManualTaskQuerySet, shown: str, person: Any) -> list[dict[str, Any]]:
    """Give the tabs with how many tasks stand in each, counted in one query."""
    # The tasks that a person may do are found by several ways: each counts once.
    counts = tasks.aggregate(**{name: Count("pk", filter=_in_tab(name, person), distinct=True) for name in TABS})
    return [
        {"name": name, "label": label, "count": counts[name], "current": name == shown} for name, label in TABS.items()
    ]


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
    may_do = _may_do(task, request.user)
    context = {
        "task": task,
        "instance": task.step.run.instance,
        "facts": _facts(task),
        "form_fields": shown,
        "errors": parameters.problems(shown, dict(errors)),
        "may_do": may_do,
        "is_mine": task.assignee_id == request.user.pk,
        "can_complete": may_do and task.assignee_id in {None, request.user.pk},
        "due": _due(task, timezone.now()),
    }
    return render(request, "provisioning/manualtask_detail.html", context, status=INVALID if errors else 200)


def _may_do(task: ManualTask, person: Any) -> bool:
    """Tell whether `person` may do the task now; who ordered the service may not, not even as a superuser."""
    is_open = task.state == ManualTask.State.OPEN and task.step.run.instance.owner_id != person.pk
    return bool(is_open and person.has_perm("provisioning.complete_manualtask", task))


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


@login_required
@post_only("provisioning:manualtask_detail", "pk")
def manualtask_claim(request: HttpRequest, pk: str) -> HttpResponse:
    """Take the task upon oneself."""
    provisioning.claim_task(_task_of(request.user, pk), actor=request.user)
    return see_other("provisioning:manualtask_detail", pk=pk)


@login_required
@post_only("provisioning:manualtask_detail", "pk")
def manualtask_hand_back(request: HttpRequest, pk: str) -> HttpResponse:
    """Let go of a task that one has."""
    provisioning.hand_back(_task_of(request.user, pk), actor=request.user)
    return see_other("provisioning:manualtask_detail", pk=pk)


@login_required
@post_only("provisioning:manualtask_detail", "pk")
def manualtask_take_over(request: HttpRequest, pk: str) -> HttpResponse:
    """Take a task from whoever has it."""
    provisioning.hand_to(_task_of(request.user, pk), request.user, actor=request.user)
    return see_other("provisioning:manualtask_detail", pk=pk)
