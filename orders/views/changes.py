"""Pages that change or remove what was delivered, and the press that tries a failed order again."""

from collections.abc import Callable
from dataclasses import asdict, replace
from typing import Any
from uuid import uuid4

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse, HttpResponseNotAllowed
from django.shortcuts import get_object_or_404, render
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

import catalog.services as catalog
import orders.services as orders
import provisioning.services as provisioning
from accounts.models import SignedInRequest
from catalog.models import Plan
from catalog.views import PREFIX, Entered, entered, pick, plan_choice
from core import parameters
from core.parameters import Field
from core.permissions import require
from core.problems import Conflict, Invalid, KeyReused
from core.views import post_only, see_other
from orders.models import Order
from orders.services.idempotency import KEY_FORMAT
from provisioning.models import ServiceInstance

INVALID = 422
NO_KEY = "The form came without its number. Look at it once more, and press the button again."
REUSED = "This form was sent before, and it has changed since. Look at it once more, and press the button again."


def _service_of(person: Any, pk: str, permission: str) -> ServiceInstance:
    """Give the service of order `pk`. Raises Http404, PermissionDenied, Conflict where it was not delivered."""
    rows = Order.objects.visible_to(person).select_related(
        "instance__plan__version__offering__category", "instance__cost_center", "instance__owner"
    )
    order = get_object_or_404(rows, pk=pk)
    if order.instance is None:
        raise Conflict("not-ready", f"{order.name} was not delivered.")
    require(person, permission, order.instance)
    return order.instance


@login_required
@never_cache
def order_change(request: SignedInRequest, pk: str) -> HttpResponse:
    """Show the form that changes a service, filled with what is in force; sent, order the change."""
    instance = _service_of(request.user, pk, "provisioning.modify_serviceinstance")
    if request.method in {"GET", "HEAD"}:
        return _change_page(request, instance, _in_force(instance))
    if request.method != "POST":
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    form = entered(instance.plan.version, request.POST)
    wanted = _wanted(instance, form)
    return _order(request, wanted, form, lambda again, status: _change_page(request, instance, again, status=status))


@login_required
@require_safe
@never_cache
def order_change_quote(request: SignedInRequest, pk: str) -> HttpResponse:
    """Show what the change would cost; changes nothing."""
    instance = _service_of(request.user, pk, "provisioning.modify_serviceinstance")
    wanted = _wanted(instance, entered(instance.plan.version, request.GET))
    try:
        quote = orders.preview_change(wanted, actor=request.user).quote
    except Invalid:
        return HttpResponse(status=204)
    return render(request, "orders/order_change.html#quote", _priced(instance, quote))


@login_required
@never_cache
def order_remove(request: SignedInRequest, pk: str) -> HttpResponse:
    """Say what a removal takes away; sent, order it."""
    instance = _service_of(request.user, pk, "provisioning.remove_serviceinstance")
    form = Entered(idempotency_key=str(uuid4()))
    if request.method in {"GET", "HEAD"}:
        return _removal_page(request, instance, form)
    if request.method != "POST":
        return HttpResponseNotAllowed(["GET", "HEAD", "POST"])
    form = replace(form, idempotency_key=request.POST.get("idempotency_key", ""))
    wanted = orders.WantedChange(Order.Action.DELETE.value, str(instance.pk))
    return _order(request, wanted, form, lambda again, status: _removal_page(request, instance, again, status=status))


@login_required
@post_only("orders:order_detail", "pk")
def order_retry(request: SignedInRequest, pk: str) -> HttpResponse:
    """Try a failed order again."""
    order = get_object_or_404(Order.objects.visible_to(request.user), pk=pk)
    orders.try_again(order, actor=request.user)
    return see_other("orders:order_detail", pk=pk)


def _order(
    request: SignedInRequest, wanted: orders.WantedChange, form: Entered, page: Callable[[Entered, int], HttpResponse]
) -> HttpResponse:
    """Order what is wanted and lead to that order; show the page again where the form is not right."""
    if not KEY_FORMAT.fullmatch(form.idempotency_key):
        return page(_again(form, NO_KEY), INVALID)
    once = orders.Once(form.idempotency_key, orders.fingerprint_of(asdict(wanted)))
    try:
        placed = orders.place_change(wanted, actor=request.user, once=once)
    except Invalid as refusal:
        return page(replace(form, errors=refusal.errors), INVALID)
    except KeyReused:
        return page(_again(form, REUSED), INVALID)
    return see_other("orders:order_detail", pk=placed.order.pk)


def _again(form: Entered, sentence: str) -> Entered:
    return replace(form, idempotency_key=str(uuid4()), errors={"": sentence})


def _in_force(instance: ServiceInstance) -> Entered:
    return Entered(parameters=instance.parameters, plan=str(instance.plan_id), idempotency_key=str(uuid4()))


def _wanted(instance: ServiceInstance, form: Entered) -> orders.WantedChange:
    schema = instance.plan.version.promised["form"]
    return orders.WantedChange(
        Order.Action.MODIFY.value,
        str(instance.pk),
        plan=form.plan,
        parameters=_whole(schema, form.parameters or {}),
    )


def _whole(schema: dict[str, Any], sent: dict[str, Any]) -> dict[str, Any]:
    """Say of every field what it is to be: a form that comes without one means that it is to be empty."""
    fields = schema.get("properties", {})
    whole = {name: sent.get(name) for name in fields} | sent
    for name, spec in fields.items():
        if spec.get("type") == "object" and isinstance(whole[name], dict):
            whole[name] = _whole(spec, whole[name])
    return whole


def _change_page(
    request: SignedInRequest, instance: ServiceInstance, form: Entered, *, status: int = 200
) -> HttpResponse:
    """Show the form as it was filled in, and what is wrong with it."""
    closed = _why_closed(instance, provisioning.CHANGEABLE)
    shown = [] if closed else _fields(instance, form)
    context = {
        "instance": instance,
        "order_id": instance.order_ref,
        "version": instance.plan.version,
        "closed": closed,
        "idempotency_key": form.idempotency_key,
        "form_fields": shown,
        "errors": parameters.problems(shown, form.errors),
        **_priced(instance, _chosen_quote(instance, form)),
    }
    return render(request, "orders/order_change.html", context, status=status)


def _why_closed(instance: ServiceInstance, states: frozenset[str]) -> str:
    """Say why this cannot be done with the service now; nothing where it can."""
    if instance.state in states:
        return ""
    return f"{instance.name} is {instance.get_state_display().lower()}."


def _plans(instance: ServiceInstance) -> list[Plan]:
    """Give the plans that the service may have: those of its own version that are offered, and the one it has."""
    plans = list(instance.plan.version.plans.order_by("position"))
    for plan in plans:
        plan.version = instance.plan.version
    return [plan for plan in plans if plan.retired_at is None or plan.pk == instance.plan_id]


def _fields(instance: ServiceInstance, form: Entered) -> list[Field]:
    """Give the fields of the form: the plan, where there is a choice, and the offering's own."""
    schema = instance.plan.version.promised["form"]
    own = {
        pointer.removeprefix("/parameters"): text for pointer, text in form.errors.items() if "/parameters" in pointer
    }
    currency = catalog.quote(instance.plan, instance.parameters).currency
    plans = [plan_choice(plan) for plan in _plans(instance)]
    chosen = pick("plan", "Plan", plans, form.plan or str(instance.plan_id), form.errors, kind="radios")
    return [chosen, *parameters.fields(schema, form.parameters, own, PREFIX, currency)]


def _chosen_quote(instance: ServiceInstance, form: Entered) -> catalog.Quote:
    """Price what is chosen so far; what is wrong counts as it is in force."""
    plan = next((plan for plan in _plans(instance) if str(plan.pk) == form.plan), instance.plan)
    cleaned, wrong = parameters.clean(plan.version.promised["form"], form.parameters or {})
    return catalog.quote(plan, instance.parameters if wrong else cleaned)


def _priced(instance: ServiceInstance, quote: catalog.Quote) -> dict[str, Any]:
    """Compare what it will cost a month with what it costs now."""
    now = catalog.quote(instance.plan, instance.parameters).monthly
    return {"quote": quote, "now": now, "difference": quote.monthly - now, "less": now - quote.monthly}


def _removal_page(
    request: SignedInRequest, instance: ServiceInstance, form: Entered, *, status: int = 200
) -> HttpResponse:
    """Say what goes, and ask."""
    context = {
        "instance": instance,
        "order_id": instance.order_ref,
        "version": instance.plan.version,
        "closed": _why_closed(instance, provisioning.REMOVABLE),
        "idempotency_key": form.idempotency_key,
        "errors": [("", text) for text in form.errors.values()],
        "goes": [step.name for step in reversed(provisioning.steps_in_force(instance))],
        "outputs": [(name.replace("_", " ").capitalize(), str(value)) for name, value in instance.outputs.items()],
        "is_mine": instance.owner_id == request.user.pk,
        "monthly": catalog.quote(instance.plan, instance.parameters),
    }
    return render(request, "orders/order_remove.html", context, status=status)
