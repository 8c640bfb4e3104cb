"""Changing and removing what was delivered: orders, too, decided and begun in the same commit.

A change stays within the version that was ordered, retired or not: its plans, its form, its prices, its terms.
"""

from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from uuid import UUID

import approvals.services as approvals
import catalog.services as catalog
import provisioning.services as provisioning
from approvals.models import Decision
from catalog.models import Plan
from core import events, parameters
from core.permissions import require
from core.problems import Invalid
from core.states import move
from orders.models import Order, TermsAcceptance
from orders.services.idempotency import NO_KEY, Once, Placed, place_once
from orders.services.orders import MAX_SHOWN, Preview, facts_of
from provisioning.models import ServiceInstance

STATES = {Order.Action.MODIFY: provisioning.CHANGEABLE, Order.Action.DELETE: provisioning.REMOVABLE}
PERMISSIONS = {
    Order.Action.MODIFY: "provisioning.modify_serviceinstance",
    Order.Action.DELETE: "provisioning.remove_serviceinstance",
}


@dataclass(frozen=True)
class WantedChange:
    """A change or removal of a delivered service, as typed: nothing in it is checked yet.

    `action` is `modify` or `delete`. Without a `plan` the service keeps its own; `parameters` are merged into those in
    force as RFC 7396 says, where null takes one away. Without a `terms_hash` the first order's acceptance counts.
    """

    action: str
    service_instance: str
    plan: str = ""
    parameters: dict[str, Any] | None = None
    terms_hash: str = ""


@dataclass(frozen=True)
class Considered:
    """What a change would come to: plan and cleaned parameters, price, facts, the rules' answers, what is wrong."""

    first: Order
    plan: Plan
    values: dict[str, Any]
    quote: catalog.Quote
    facts: dict[str, Any]
    evaluation: approvals.Evaluation
    errors: dict[str, str]


def place_change(wanted: WantedChange, *, actor: Any, once: Once = NO_KEY) -> Placed:
    """Order a change or removal: checked, priced, decided and begun in one commit.

    Of several at once for the same service one wins. Raises Invalid with a JSON pointer for each field that is
    wrong, PermissionDenied, Conflict `change-running` while another change is under way, `not-changeable` where the
    service's state does not allow it, Conflict or KeyReused for the key of `once`.
    """
    instance = _service_of(wanted, actor)
    require(actor, PERMISSIONS[Order.Action(wanted.action)], instance)
    return place_once(lambda order_id: _place(wanted, instance, actor, order_id), once, person=actor)


def preview_change(wanted: WantedChange, *, actor: Any) -> Preview:
    """Price and decide a change that is not ordered; no side effect.

    Raises Invalid where there is no such service or plan, PermissionDenied for who may not change it.
    """
    instance = _service_of(wanted, actor)
    require(actor, PERMISSIONS[Order.Action(wanted.action)], instance)
    found = _consider(wanted, instance, actor)
    return Preview(found.quote, found.evaluation.outcome, found.evaluation.reasons, found.errors)


def _service_of(wanted: WantedChange, actor: Any) -> ServiceInstance:
    """Give the service that is named, where `actor` may see it. Raises Invalid."""
    rows = ServiceInstance.objects.visible_to(actor).select_related(
        "plan__version__offering", "cost_center__unit", "owner"
    )
    try:
        found = rows.filter(pk=UUID(wanted.service_instance)).first()
    except ValueError:
        found = None
    if found is None:
        named = wanted.service_instance[:MAX_SHOWN]
        raise Invalid({"/service_instance": f"There is no service “{named}” that you may see."})
    return found


def _place(wanted: WantedChange, instance: ServiceInstance, actor: Any, order_id: UUID) -> Order:
    # Held from here on: what is in force cannot change between the look and the order.
    held = provisioning.hold(instance, STATES[Order.Action(wanted.action)])
    found = _consider(wanted, held, actor)
    if found.errors:
        raise Invalid(found.errors)
    decision = approvals.record(found.evaluation, {**found.facts, "price": found.quote.as_json()}, order_id)
    order = _stored(wanted, held, found, decision, actor)
    if decision.outcome == Decision.Outcome.ALLOWED:
        move(order, Order.State.FULFILLING, actor=actor)
        _begin(order, held, actor)
        order.refresh_from_db(fields=["state", "completed_at"])
    else:
        move(order, Order.State.DENIED, actor=actor)
    return order


def _stored(
    wanted: WantedChange, instance: ServiceInstance, found: Considered, decision: Decision, actor: Any
) -> Order:
    first, plan = found.first, found.plan
    order = Order.objects.create(
        id=decision.order_ref,
        action=wanted.action,
        name=instance.name,
        plan=plan,
        content_hash=plan.version.content_hash,
        parameters=found.values,
        purpose=first.purpose,
        data_classification=first.data_classification,
        requester=actor,
        beneficiary=instance.owner,
        cost_center=instance.cost_center,
        one_off=found.quote.one_off,
        monthly=found.quote.monthly,
        currency=found.quote.currency,
        quote=found.quote.as_json(),
        decision=decision,
        instance=instance,
    )
    if wanted.terms_hash:
        TermsAcceptance.objects.create(order=order, person=actor, terms_hash=wanted.terms_hash)
    events.record(
        "order.submitted",
        order,
        actor=actor,
        action=str(wanted.action),
        service=str(instance.pk),
        plan=f"{plan.version.offering.slug}/{plan.slug}",
        content_hash=order.content_hash,
        terms_hash=wanted.terms_hash,
        decision=str(decision.pk),
    )
    return order


def _begin(order: Order, instance: ServiceInstance, actor: Any) -> None:
    if order.action == Order.Action.MODIFY:
        begun = provisioning.begin_change(
            instance, plan=order.plan, parameters=order.parameters, order_ref=order.pk, actor=actor
        )
    else:
        begun = provisioning.begin_removal(instance, order_ref=order.pk, actor=actor)
    events.record_all(begun.events)


def _consider(wanted: WantedChange, instance: ServiceInstance, actor: Any) -> Considered:
    """Look up what is wanted, clean it and ask the rules; no side effect. Raises Invalid for an unknown plan."""
    first = Order.objects.select_related("acceptance").get(pk=instance.order_ref)
    plan = _plan(wanted, instance)
    values = instance.parameters
    wrong: dict[str, str] = {}
    if wanted.parameters is not None:
        values, wrong = parameters.clean(plan.version.promised["form"], merged(instance.parameters, wanted.parameters))
    quote = _price(wanted, plan, values if not wrong else instance.parameters)
    facts = _facts(wanted, instance, first, plan, actor)
    facts["parameters"] = values if not wrong else None
    evaluation = approvals.evaluate(facts)
    errors = evaluation.refusals | {f"/parameters{pointer}": sentence for pointer, sentence in wrong.items()}
    if wanted.action == Order.Action.MODIFY and not errors and plan == instance.plan and values == instance.parameters:
        errors[""] = "Nothing would change: choose another plan, or change one of the parameters."
    return Considered(first, plan, values, quote, facts, evaluation, errors)


def _plan(wanted: WantedChange, instance: ServiceInstance) -> Plan:
    """Find the wanted plan in the service's own version, by id or by `offering-slug/plan-slug`."""
    if not wanted.plan:
        return instance.plan
    version = instance.plan.version
    offering_slug, _, slug = wanted.plan.partition("/")
    for plan in version.plans.order_by("position"):
        if wanted.plan == str(plan.pk) or (offering_slug, slug) == (version.offering.slug, plan.slug):
            plan.version = version
            return plan
    raise Invalid({"/plan": f"{instance.name} has no plan “{wanted.plan[:MAX_SHOWN]}” that it could change to."})


def merged(target: dict[str, Any], patch: dict[str, Any]) -> dict[str, Any]:
    """Give `target` with `patch` merged into it as RFC 7396 (JSON Merge Patch) says; both stay as they are."""
    result = dict(target)
    for name, value in patch.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, dict):
            inner = result.get(name)
            result[name] = merged(inner if isinstance(inner, dict) else {}, value)
        else:
            result[name] = value
    return result


def _price(wanted: WantedChange, plan: Plan, values: dict[str, Any]) -> catalog.Quote:
    """Price what there will be afterwards: setting up was paid once, and what is removed costs nothing more."""
    quote = catalog.quote(plan, values)
    if wanted.action == Order.Action.DELETE:
        return catalog.Quote(quote.currency, Decimal(0), Decimal(0))
    return catalog.Quote(quote.currency, Decimal(0), quote.monthly, quote.lines, quote.per_use)


def _facts(wanted: WantedChange, instance: ServiceInstance, first: Order, plan: Plan, actor: Any) -> dict[str, Any]:
    version = plan.version
    accepted = getattr(first, "acceptance", None)
    return {
        "action": str(wanted.action),
        "requester": facts_of(actor),
        "service": {
            "id": str(instance.pk),
            "name": instance.name,
            "state": instance.get_state_display().lower(),
            "is_usable": instance.state in STATES[Order.Action(wanted.action)],
            "plan": instance.plan.slug,
            "parameters": instance.parameters,
        },
        "plan": {
            "asked_for": wanted.plan[:MAX_SHOWN],
            "offering": version.offering.slug,
            "slug": plan.slug,
            "is_offered": plan.retired_at is None or plan == instance.plan,
        },
        "content_hash": version.content_hash,
        "cost_center": {"code": instance.cost_center.code},
        "terms": {
            "accepted": wanted.terms_hash or (accepted.terms_hash if accepted else ""),
            "current": version.terms_hash,
        },
        "purpose": first.purpose,
        "data_classification": first.data_classification,
    }
