"""Ordering a new service. It is decided in the request, and its delivery starts in the same commit."""

import re
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from django.db import IntegrityError
from django.db.models import Exists, OuterRef
from django.db.models.functions import Lower

import approvals.services as approvals
import catalog.services as catalog
import provisioning.services as provisioning
from accounts.models import CostCenter
from approvals.models import Decision
from catalog.models import Offering, Plan
from core import events, parameters
from core.permissions import require
from core.problems import Invalid
from core.states import move
from core.transactions import UNIQUE_VIOLATION, constraint, sqlstate
from orders.models import Order, TermsAcceptance
from orders.services.idempotency import NO_KEY, Once, Placed, place_once
from provisioning.models import ServiceInstance

NAME_FORMAT = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]{0,58}[A-Za-z0-9]")
NAME_RULE = (
    "Name must be 2 to 60 letters, digits, spaces, dots, hyphens or underscores, with a letter or digit at both ends."
)
MAX_SHOWN = 80  # characters of what was typed that a sentence repeats
NAME_CONSTRAINTS = {"open_name_in_cost_center", "live_name_in_cost_center"}


@dataclass(frozen=True)
class Wanted:
    """What a person asks for, as typed: nothing in it is checked yet."""

    plan: str
    name: str = ""
    cost_center: str = ""
    parameters: Any = field(default_factory=dict)
    terms_hash: str = ""
    purpose: str = ""
    data_classification: str = ""


@dataclass(frozen=True)
class Considered:
    """What was found for a wanted order: the rows, the cleaned parameters, the facts and the rules' answers."""

    plan: Plan | None
    cost_center: CostCenter | None
    values: dict[str, Any]
    facts: dict[str, Any]
    evaluation: approvals.Evaluation | None
    errors: dict[str, str]


def place(wanted: Wanted, *, actor: Any, once: Once = NO_KEY) -> Placed:
    """Place an order: validate, price, accept the terms, decide and start the delivery, in one commit.

    Raises Invalid with a JSON pointer for each field that is wrong (nothing is stored then),
    PermissionDenied, Conflict or KeyReused for the key of `once`, Busy where the database is overloaded.
    """
    require(actor, "orders.place_order")
    try:
        return place_once(lambda order_id: _place(wanted, actor, order_id), once, person=actor)
    except IntegrityError as error:
        if is_name_in_use(error):
            raise Invalid({"/name": _name_in_use(wanted)}) from error
        raise


def is_name_in_use(error: IntegrityError) -> bool:
    """Tell whether `error` says that another open order or live service has the name."""
    return sqlstate(error) == UNIQUE_VIOLATION and constraint(error) in NAME_CONSTRAINTS


def _place(wanted: Wanted, actor: Any, order_id: UUID) -> Order:
    found = consider(wanted, actor)
    if found.errors or not (found.plan and found.cost_center and found.evaluation):
        raise Invalid(found.errors)
    plan, cost_center = found.plan, found.cost_center
    quote = catalog.quote(plan, found.values)
    decision = approvals.record(found.evaluation, {**found.facts, "price": quote.as_json()}, order_id)
    order = Order.objects.create(
        id=order_id,
        name=wanted.name,
        plan=plan,
        content_hash=plan.version.content_hash,
        parameters=found.values,
        purpose=wanted.purpose,
        data_classification=wanted.data_classification,
        requester=actor,
        beneficiary=actor,
        cost_center=cost_center,
        one_off=quote.one_off,
        monthly=quote.monthly,
        currency=quote.currency,
        quote=quote.as_json(),
        decision=decision,
    )
    TermsAcceptance.objects.create(order=order, person=actor, terms_hash=wanted.terms_hash)
    submitted = events.event(
        "order.submitted",
        order,
        actor=actor,
        plan=f"{plan.version.offering.slug}/{plan.slug}",
        content_hash=order.content_hash,
        terms_hash=wanted.terms_hash,
        decision=str(decision.pk),
    )
    if decision.outcome == Decision.Outcome.ALLOWED:
        _fulfill(order, actor, submitted)
    else:
        events.record_all([(submitted, order)])
        move(order, Order.State.DENIED, actor=actor)
    return order


def _fulfill(order: Order, actor: Any, submitted: Any) -> None:
    """Start the delivery in the transaction that accepted the order."""
    begun = provisioning.begin(
        name=order.name,
        plan=order.plan,
        cost_center=order.cost_center,
        owner=order.beneficiary,
        order_ref=order.pk,
        parameters=order.parameters,
        actor=actor,
        context=facts_for_steps(order),
    )
    events.record_all([(submitted, order), *begun.events])
    move(order, Order.State.FULFILLING, actor=actor, values={"instance": begun.instance}, run=str(begun.run.pk))


def facts_for_steps(order: Order) -> dict[str, Any]:
    """Give what the steps of a delivery may read of its order."""
    person, cost_center = order.requester, order.cost_center
    return {
        "order": str(order.pk),
        "order_number": order.number,
        "offering": order.plan.version.offering.slug,
        "plan": order.plan.slug,
        "requester": person.username,
        "requester_name": person.name,
        "requester_email": person.email,
        "cost_center": cost_center.code,
        "cost_center_name": cost_center.name,
        "unit": cost_center.unit.slug,
        "purpose": order.purpose,
        "data_classification": order.data_classification,
    }


def consider(wanted: Wanted, actor: Any) -> Considered:
    """Look up what is wanted, clean it and ask the rules: three queries, no side effect."""
    plan = _find_plan(wanted.plan, actor)
    if plan is None:
        return Considered(
            None, None, {}, {}, None, {"/plan": f"There is no plan “{wanted.plan[:MAX_SHOWN]}” that you may order."}
        )
    cost_center = _find_cost_center(wanted, actor)
    facts = _facts(wanted, plan, cost_center, actor)
    values, wrong = parameters.clean(plan.version.promised["form"], wanted.parameters)
    facts["parameters"] = values if not wrong else None
    evaluation = approvals.evaluate(facts)
    errors = dict(evaluation.refusals)
    if "/plan" in errors:
        # Who may not order it learns nothing about it.
        return Considered(None, None, {}, {}, None, {"/plan": errors["/plan"]})
    errors |= {f"/parameters{pointer}": sentence for pointer, sentence in wrong.items()}
    if not NAME_FORMAT.fullmatch(wanted.name):
        errors["/name"] = NAME_RULE if wanted.name else "Enter a name."
    elif cost_center is not None and cost_center.name_is_taken:  # type: ignore[attr-defined]
        errors["/name"] = _name_in_use(wanted)
    return Considered(plan, cost_center, values, facts, evaluation, errors)


def _name_in_use(wanted: Wanted) -> str:
    return f"“{wanted.name}” is in use on cost center {wanted.cost_center}. Choose another name."


def _find_plan(asked_for: str, actor: Any) -> Plan | None:
    """Find a plan by id, or by `offering-slug/plan-slug` in the published version."""
    plans = Plan.objects.select_related("version__offering__category").filter(version__document__isnull=False)
    offering_slug, slash, plan_slug = asked_for.partition("/")
    if slash:
        plans = plans.filter(slug=plan_slug, version__offering__slug=offering_slug, version__current_of__isnull=False)
    else:
        try:
            plans = plans.filter(pk=UUID(asked_for))
        except ValueError:
            return None
    entitled = Offering.objects.entitled(actor).filter(pk=OuterRef("version__offering"))
    return plans.annotate(is_entitled=Exists(entitled)).first()


def _find_cost_center(wanted: Wanted, actor: Any) -> CostCenter | None:
    name = wanted.name.lower()
    taken_by_order = Order.objects.annotate(lowered=Lower("name")).filter(
        cost_center=OuterRef("pk"), lowered=name, state__in=Order.OPEN, action=Order.Action.ADD
    )
    taken_by_instance = (
        ServiceInstance.objects.annotate(lowered=Lower("name"))
        .filter(cost_center=OuterRef("pk"), lowered=name)
        .exclude(state__in=ServiceInstance.ENDED)
    )
    return (
        CostCenter.objects.usable_by(actor)
        .filter(code=wanted.cost_center)
        .annotate(name_is_taken=Exists(taken_by_order) | Exists(taken_by_instance))
        .select_related("unit")
        .first()
    )


def _facts(wanted: Wanted, plan: Plan, cost_center: CostCenter | None, actor: Any) -> dict[str, Any]:
    version, offering = plan.version, plan.version.offering
    is_current = offering.current_version_id == version.pk
    is_open = not (plan.retired_at or offering.retired_at or offering.paused_reason)
    return {
        "action": Order.Action.ADD.value,
        "requester": facts_of(actor),
        "plan": {
            "asked_for": wanted.plan[:MAX_SHOWN],
            "offering": offering.slug,
            "slug": plan.slug,
            "is_entitled": plan.is_entitled,  # type: ignore[attr-defined]
            "is_current_version": is_current,
            "is_orderable": bool(is_current and is_open),
            "paused_reason": offering.paused_reason,
        },
        "content_hash": version.content_hash,
        "cost_center": {"code": wanted.cost_center, "is_usable": cost_center is not None},
        "terms": {
            "accepted": wanted.terms_hash,
            "current": version.terms_hash,
            "purposes": version.promised["terms"]["purposes"],
            "data_classes": version.promised["terms"]["data_classes"],
        },
        "purpose": wanted.purpose,
        "data_classification": wanted.data_classification,
    }


def facts_of(person: Any) -> dict[str, Any]:
    """Give what the rules may know of who orders."""
    return {
        "username": person.username,
        "is_active": person.is_active,
        "roles": sorted(person.roles),
        "unit": str(person.unit_id) if person.unit_id else None,
    }


@dataclass(frozen=True)
class Preview:
    """What an order would cost and whether it would be allowed, before it is placed."""

    quote: catalog.Quote
    outcome: str
    reasons: list[dict[str, Any]]
    errors: dict[str, str]


def preview(wanted: Wanted, *, actor: Any) -> Preview:
    """Price and decide an order that is not placed; no side effect. What is not typed yet is no error.

    Raises Invalid where the plan is unknown, PermissionDenied for who may not order.
    """
    require(actor, "orders.place_order")
    found = consider(wanted, actor)
    if found.plan is None or found.evaluation is None:
        raise Invalid(found.errors)
    values = (
        found.values
        if found.facts["parameters"] is not None
        else parameters.defaults(found.plan.version.promised["form"])
    )
    return Preview(catalog.quote(found.plan, values), found.evaluation.outcome, found.evaluation.reasons, found.errors)
