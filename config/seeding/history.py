"""Orders of past months, as the rows that they would have left."""

import hashlib
import json
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.db import connection
from django.utils import timezone

import approvals.services as approvals
import catalog.services as catalog
from accounts.models import CostCenter, Person
from approvals.models import Decision
from catalog.models import Plan
from config.demo_data.history import HISTORY
from config.demo_data.past import Past
from config.seeding import past_work
from config.seeding.organization import People
from config.seeding.rows import Rows, id_of
from core import parameters
from orders.models import Order, TermsAcceptance
from provisioning.models import ServiceInstance

LAST_WEEKDAY = 4  # Friday
# What a rule of a later time would have said: the built-in checks refuse before an order is stored.


@dataclass(frozen=True)
class Told:
    """One past order with the rows that it refers to."""

    past: Past
    at: datetime
    plan: Plan
    cost_center: CostCenter
    requester: Person
    values: dict[str, Any]


def seed_history(people: People) -> int:
    """Insert the past orders that are missing; give how many. Needs an open transaction."""
    ids = {id_of(past.name): past for past in HISTORY}
    there = set(Order.objects.filter(pk__in=ids).values_list("pk", flat=True))
    missing = [past for pk, past in ids.items() if pk not in there]
    stories = sorted(_stories(missing, people), key=lambda told: told.at)
    rows = Rows()
    for number, told in zip(_draw_numbers(len(stories)), stories, strict=True):
        _tell(told, number, people, rows)
    rows.insert()
    return len(stories)


def _stories(missing: list[Past], people: People) -> list[Told]:
    """Look up what the orders refer to; leave out those that today's catalog or names have no room for."""
    if not missing:
        return []
    now = timezone.now()
    plans = {
        f"{plan.version.offering.slug}/{plan.slug}": plan
        for plan in Plan.objects.filter(version__current_of__isnull=False).select_related("version__offering")
    }
    accounts = {account.code: account for account in CostCenter.objects.all()}
    live = ServiceInstance.objects.exclude(state__in=ServiceInstance.ENDED)
    taken = {(account, name.lower()) for account, name in live.values_list("cost_center__code", "name")}
    stories = []
    for past in missing:
        plan = plans.get(past.plan)
        if plan is None or (past.cost_center, past.name.lower()) in taken:
            continue
        values, wrong = parameters.clean(plan.version.promised["form"], past.parameters)
        if not wrong:
            account, who = accounts[past.cost_center], people[past.who]
            stories.append(Told(past, placed_at(past, now), plan, account, who, values))
    return stories


def placed_at(past: Past, now: datetime) -> datetime:
    """Say when a past order was placed: on a weekday at its hour, or so many hours before `now`."""
    if past.hours_ago:
        return now - timedelta(hours=past.hours_ago)
    hour, minute = map(int, past.at.split(":"))
    seconds = int(id_of(past.name).hex[:2], 16) % 60
    at = (now - timedelta(days=past.days_ago)).replace(hour=hour, minute=minute, second=seconds)
    return at - timedelta(days=max(0, at.weekday() - LAST_WEEKDAY))


def _draw_numbers(count: int) -> list[int]:
    with connection.cursor() as cursor:
        cursor.execute("SELECT nextval('orders_number') FROM generate_series(1, %s)", [count])
        return [row[0] for row in cursor.fetchall()]


def _tell(told: Told, number: int, people: People, rows: Rows) -> None:
    """Write down one order from its submission to its end."""
    order = _order(told, number)
    decision = _decision(told)
    order.decision = decision
    rows.decisions.append(decision)
    rows.orders.append(order)
    rows.acceptances.append(
        TermsAcceptance(
            order=order,
            person=told.requester,
            terms_hash=told.plan.version.terms_hash,
            accepted_at=told.at,
        )
    )
    rows.note(
        told.at,
        "order.submitted",
        order,
        told.requester,
        plan=told.past.plan,
        content_hash=order.content_hash,
        terms_hash=told.plan.version.terms_hash,
        decision=str(decision.pk),
    )
    work = past_work.begin(told, order, rows)
    past_work.go_on(told.past, work, [people["curator"], people["curator2"]][number % 2], rows)


def _order(told: Told, number: int) -> Order:
    past, quote = told.past, catalog.quote(told.plan, told.values)
    states = {"open": Order.State.FULFILLING}
    return Order(
        id=id_of(past.name),
        number=number,
        state=states.get(past.ended, past.ended),
        name=past.name,
        plan=told.plan,
        content_hash=told.plan.version.content_hash,
        parameters=told.values,
        purpose=past.purpose,
        data_classification=past.data,
        requester=told.requester,
        beneficiary=told.requester,
        cost_center=told.cost_center,
        one_off=quote.one_off,
        monthly=quote.monthly,
        currency=quote.currency,
        quote=quote.as_json(),
        created_at=told.at,
    )


def _decision(told: Told) -> Decision:
    """Have today's checks decide the order of that day."""
    facts = _facts(told)
    evaluation = approvals.evaluate(facts)
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return Decision(
        id=id_of(told.past.name, "decision"),
        order_ref=id_of(told.past.name),
        outcome=evaluation.outcome,
        reasons=evaluation.reasons,
        facts=facts,
        facts_hash=hashlib.sha256(text.encode()).hexdigest(),
        decided_at=told.at,
    )


def _facts(told: Told) -> dict[str, Any]:
    """The facts that `orders.place` gathers, for a day on which nothing stood in the way."""
    version = told.plan.version
    terms = version.promised["terms"]
    return {
        "requester": {
            "username": told.requester.username,
            "is_active": True,
            "roles": sorted(told.requester.roles),
            "unit": str(told.requester.unit_id),
        },
        "plan": {
            "asked_for": told.past.plan,
            "offering": version.offering.slug,
            "slug": told.plan.slug,
            "is_entitled": True,
            "is_current_version": True,
            "is_orderable": True,
            "paused_reason": "",
        },
        "content_hash": version.content_hash,
        "cost_center": {"code": told.past.cost_center, "is_usable": True},
        "terms": {
            "accepted": version.terms_hash,
            "current": version.terms_hash,
            "purposes": terms["purposes"],
            "data_classes": terms["data_classes"],
        },
        "purpose": told.past.purpose,
        "data_classification": told.past.data,
        "parameters": told.values,
        "price": catalog.quote(told.plan, told.values).as_json(),
    }
