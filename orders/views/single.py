"""One order: its live progress, how to connect, and what may be done with it."""

import hashlib
from datetime import datetime
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

import orders.services as orders
import provisioning.services as provisioning
from core import parameters
from core.problems import Conflict
from core.views import post_only, see_other
from orders.models import Order
from orders.views.progress import Progress, progress_of
from provisioning.models import Breaker, Secret, ServiceInstance, Step, StepLine

PAGE = "orders/order_detail.html"
MAX_LINES = 1000
# How often the page asks, in seconds, by the age of what it waits for: (up to this age, this often).
PACE = ((60, 1), (300, 3))
SLOW = 15


def _order_of(person: Any, pk: str) -> Order:
    """Give the order `pk` with all that its page says, where `person` may see it. Raises Http404."""
    rows = orders.priced_now(Order.objects.visible_to(person)).select_related(
        "plan__version__offering__category",
        "plan__version__offering__figures",
        "cost_center",
        "requester",
        "beneficiary",
        "decision",
        "acceptance",
        "instance__plan",
    )
    return get_object_or_404(rows, pk=pk)


@login_required
@require_safe
@never_cache
def order_detail(request: HttpRequest, pk: str) -> HttpResponse:
    """Show an order."""
    return render(request, PAGE, _context(_order_of(request.user, pk), request.user))


@login_required
@require_safe
@never_cache
def order_live(request: HttpRequest, pk: str) -> HttpResponse:
    """Answer a poll: nothing (204) unless something is new since `seen` and line `log` of the log."""
    sent = request.GET.get("log", "")
    known = int(sent) if sent.isdecimal() and len(sent) <= len(str(MAX_LINES)) else 0
    seen, _, detail = request.GET.get("seen", "").partition(".")
    context = _context(_order_of(request.user, pk), request.user, known_lines=known)
    meaning, _, detail_now = context["seen"].partition(".")
    if (seen, detail) == (meaning, detail_now) and not context["log"]:
        return HttpResponse(status=204)
    # One sentence, and only where its meaning is new: a screen reader says it aloud.
    context["say"] = context["sentence"] if seen != meaning else ""
    return render(request, f"{PAGE}#live_update", context)


@login_required
@post_only("orders:order_detail", "pk")
def order_cancel(request: HttpRequest, pk: str) -> HttpResponse:
    """Stop an order and take back what was made for it."""
    orders.cancel(_order_of(request.user, pk), actor=request.user)
    return see_other("orders:order_detail", pk=pk)


@login_required
@never_cache
@post_only("orders:order_detail", "pk")
def order_credentials(request: HttpRequest, pk: str) -> HttpResponse:
    """Show the password, this once; the answer is kept nowhere."""
    order = _order_of(request.user, pk)
    shown = provisioning.reveal(_instance_of(order), actor=request.user)
    context = _context(order, request.user) | {"credentials": shown}
    return render(request, f"{PAGE}#credentials" if request.htmx else PAGE, context)  # type: ignore[attr-defined]


@login_required
@post_only("orders:order_detail", "pk")
def order_rotate(request: HttpRequest, pk: str) -> HttpResponse:
    """Begin to set a new password; the page shows how far it has got."""
    provisioning.rotate(_instance_of(_order_of(request.user, pk)), actor=request.user)
    return see_other("orders:order_detail", pk=pk)


def _instance_of(order: Order) -> ServiceInstance:
    if order.instance is None:
        raise Conflict("not-ready", f"{order.name} was not delivered, so there is no password.")
    return order.instance


def _context(order: Order, person: Any, *, known_lines: int = 0) -> dict[str, Any]:
    """Give all that the page of an order says; of the log only what comes after `known_lines`."""
    now = timezone.now()
    steps = _steps(order)
    progress = progress_of(order, steps, now, shows_errors=person.has_perm("provisioning.view_step"))
    log = _log(order, person, known_lines)
    context = {
        "order": order,
        "instance": order.instance,
        "heading": progress.heading,
        "status_line": progress.status_line,
        "tone": progress.tone,
        "trouble": progress.trouble,
        "done": progress.done,
        "steps": progress.steps,
        "steps_done": progress.steps_done,
        "sentence": progress.sentence,
        "log": log,
        "sees_log": bool(log) or (not progress.done and _sees_log(order, person)),
        "outputs": _outputs(order),
        "facts": _facts(order),
        "poll_every": _pace(order, steps, now),
        **_deeds(order, person, steps),
        **_secrets(order, person),
    }
    context["seen"] = _seen(progress, context)
    query = urlencode({"seen": context["seen"], "log": known_lines + len(log)})
    context["poll_url"] = f"{reverse('orders:order_live', kwargs={'pk': order.pk})}?{query}"
    return context


def _deeds(order: Order, person: Any, steps: list[Step]) -> dict[str, Any]:
    """Say what `person` may do with the order, or with what it brought, as things stand."""
    instance = order.instance if order.action == Order.Action.ADD else None
    own = [step.run for step in steps if step.run.order_ref == order.pk]
    return {
        "can_cancel": order.state in Order.OPEN
        and order.action != Order.Action.DELETE
        and not order.cancel_requested_at
        and person.has_perm("orders.cancel_order", order),
        "can_retry": orders.can_retry(order, own[-1] if own else None) and person.has_perm("orders.retry_order", order),
        "can_change": instance is not None
        and instance.state in provisioning.CHANGEABLE
        and person.has_perm("provisioning.modify_serviceinstance", instance),
        "can_remove": instance is not None
        and instance.state in provisioning.REMOVABLE
        and person.has_perm("provisioning.remove_serviceinstance", instance),
        "other_order": _change_of(instance) if instance else None,
    }


def _change_of(instance: ServiceInstance) -> Order | None:
    """Give the order that changes or removes the service right now."""
    if instance.state not in {ServiceInstance.State.UPDATING, ServiceInstance.State.RETIRING}:
        return None
    return Order.objects.filter(instance=instance).exclude(action=Order.Action.ADD).order_by("-created_at").first()


def _runs(order: Order) -> Q:
    """Those that belong on the page: all of its service with the order that made it, else those that it caused."""
    if order.action == Order.Action.ADD:
        return Q(run__instance=order.instance_id)
    return Q(run__order_ref=order.pk)


def _steps(order: Order) -> list[Step]:
    """Give the steps of the runs on the page, in the order in which they are taken.

    `is_silent` says of one that is waiting whether its back end does not answer.
    """
    if order.instance_id is None:
        return []
    steps = sorted(
        Step.objects.filter(_runs(order)).select_related("run"),
        key=lambda step: (step.run.created_at, step.run_id, step.kind != Step.Kind.DO, step.generation, step.seq),
    )
    waiting = [step for step in steps if step.state in {Step.State.READY, Step.State.RETRY}]
    names = {step.back_end for step in waiting}
    open_ones = Breaker.objects.filter(back_end__in=names, state=Breaker.State.OPEN) if names else []
    silent = {breaker.back_end for breaker in open_ones}
    for step in waiting:
        step.is_silent = step.back_end in silent  # type: ignore[attr-defined]
    return steps


def _sees_log(order: Order, person: Any) -> bool:
    is_mine = person.pk in {order.requester_id, order.beneficiary_id}
    return is_mine or bool(person.has_perm("provisioning.view_stepline"))


def _log(order: Order, person: Any, known_lines: int) -> list[str]:
    """Give lines of the technical log to who ordered and to who runs the platform; no secret is in them."""
    if order.instance_id is None or not _sees_log(order, person):
        return []
    steps = Step.objects.filter(_runs(order))
    lines = StepLine.objects.filter(step__in=steps).order_by("id").select_related("step")
    return [
        f"{timezone.localtime(line.at):%H:%M:%S} {line.step.name}: {line.text}" for line in lines[known_lines:MAX_LINES]
    ]


def _secrets(order: Order, person: Any) -> dict[str, Any]:
    """Say which passwords there are, and what `person` may do with them. The passwords stay where they are."""
    instance = order.instance
    if instance is None or order.action != Order.Action.ADD:
        return {}
    in_force = list(
        Secret.objects.filter(instance=instance, in_force_at__isnull=False, superseded_at__isnull=True)
        .order_by("name")
        .only("name", "revealed_at")
    )
    is_holder = instance.owner_id == person.pk
    shown = [secret.revealed_at for secret in in_force if secret.revealed_at]
    hidden = len(shown) < len(in_force)
    usable = instance.state in {ServiceInstance.State.ACTIVE, ServiceInstance.State.SUSPENDED}
    return {
        "secret_names": [secret.name for secret in in_force],
        "can_reveal": bool(is_holder and hidden and usable),
        "revealed_at": max(shown) if shown and not hidden else None,
        "can_rotate": bool(is_holder and in_force and instance.state == ServiceInstance.State.ACTIVE),
    }


def _outputs(order: Order) -> list[tuple[str, str]]:
    """Give what the delivery brought, under the names that people know."""
    if order.instance is None or order.action != Order.Action.ADD:
        return []
    titles = {
        entry["name"]: entry["title"]
        for step in order.plan.version.promised["workflow"]
        for entry in step["inputs"].get("output_fields", [])
    }
    return [
        (titles.get(name, name.replace("_", " ").capitalize()), str(value))
        for name, value in order.instance.outputs.items()
    ]


def _facts(order: Order) -> list[tuple[str, str]]:
    version = order.plan.version
    acceptance = getattr(order, "acceptance", None)
    facts = [
        ("Service", version.name),
        *_chosen(order),
        ("Cost center", str(order.cost_center)),
        ("Purpose", order.get_purpose_display()),
        ("Data", order.get_data_classification_display()),
        ("Ordered by", str(order.requester)),
        ("Ordered", _moment(order.created_at)),
    ]
    if order.beneficiary_id != order.requester_id:
        facts.append(("For", str(order.beneficiary)))
    if acceptance:
        facts.append(("Terms accepted", _moment(acceptance.accepted_at)))
    return [*facts, ("Number", str(order.number))]


def _chosen(order: Order) -> list[tuple[str, str]]:
    """Say what was chosen; of a change also what was before, of a service that was changed what was ordered first."""
    if order.action == Order.Action.MODIFY:
        service = order.decision.facts["service"]
        return _compared(order, (order.plan.slug, order.parameters), (service["plan"], service["parameters"]), "before")
    ordered = (order.plan.slug, order.parameters)
    if order.action == Order.Action.ADD and order.instance:
        return _compared(order, (order.instance.plan.slug, order.instance.parameters), ordered, "ordered")
    return _compared(order, ordered, ordered, "")


def _compared(
    order: Order, now: tuple[str, dict[str, Any]], then: tuple[str, dict[str, Any]], word: str
) -> list[tuple[str, str]]:
    """Say what is chosen `now`, and after `word` what was chosen `then` where that was something else."""
    form = order.plan.version.promised["form"]
    plans = {entry["slug"]: entry["name"] for entry in order.plan.version.promised["plans"]}

    def told(plan: str, values: dict[str, Any]) -> list[tuple[str, str]]:
        return [("Plan", plans.get(plan, plan)), *parameters.described(form, values)]

    former = dict(told(*then))
    return [
        (label, text if former.get(label, "none") == text else f"{text} ({word}: {former.get(label, 'none')})")
        for label, text in told(*now)
    ]


def _moment(at: datetime) -> str:
    return f"{timezone.localtime(at):%b %-d, %Y, %H:%M}"


def _pace(order: Order, steps: list[Step], now: datetime) -> int:
    """Give the seconds between two polls: long waits are asked after less often."""
    began = max([order.created_at, *(step.run.created_at for step in steps)])
    age = (now - began).total_seconds()
    return next((every for limit, every in PACE if age <= limit), SLOW)


def _seen(progress: Progress, context: dict[str, Any]) -> str:
    """Give a mark of what the page shows: of its meaning, a dot, and of every detail."""
    deeds = ("can_cancel", "can_rotate", "can_reveal", "can_change", "can_remove", "can_retry")
    shown = {name: context.get(name) for name in ("poll_every", "revealed_at", *deeds)}
    return f"{_digest(progress.sentence)}.{_digest((progress, shown))}"


def _digest(value: object) -> str:
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]
