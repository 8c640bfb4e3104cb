"""What people do with an order that was placed: stop it, try it again."""

from typing import Any

from django.db import IntegrityError
from django.db.models.functions import Now

import approvals.services as approvals
import catalog.services as catalog
import provisioning.services as provisioning
from approvals.models import Decision
from core import events
from core.permissions import require
from core.problems import Conflict
from core.states import IllegalMove, move
from core.transactions import run as in_transaction
from orders.models import Order
from orders.services.orders import Wanted, consider, facts_for_steps, is_name_in_use
from provisioning.models import Run


def cancel(order: Order, *, actor: Any) -> Order:
    """Stop an order and undo what was done for it. Raises IllegalMove once it has ended or is being undone.

    While its steps are undone the order stays `fulfilling` with `cancel_requested_at`. A change is changed back; a
    removal cannot be stopped: Conflict `not-cancelable`.
    """
    require(actor, "orders.cancel_order", order)
    if order.action == Order.Action.DELETE:
        raise Conflict("not-cancelable", "A removal cannot be canceled: order the service again if you need it.")

    def change() -> Order:
        # The run is locked before the order, as the workers do.
        run = Run.objects.select_for_update().filter(order_ref=order.pk, state__in=Run.OPEN).first()
        row = Order.objects.select_for_update().get(pk=order.pk)
        if row.state != Order.State.FULFILLING:
            move(row, Order.State.CANCELED, actor=actor)
            return row
        if run is None or row.cancel_requested_at:
            raise IllegalMove(
                "This order is being canceled already." if row.cancel_requested_at else "It is too late to cancel."
            )
        Order.objects.filter(pk=row.pk).update(cancel_requested_at=Now())
        events.record("order.cancel_requested", row, actor=actor)
        provisioning.cancel_run(run, actor=actor)
        row.refresh_from_db(fields=["state", "completed_at", "cancel_requested_at"])
        return row

    return in_transaction(change)


def last_run(order: Order) -> Run | None:
    """Give the last run that an order caused."""
    return Run.objects.filter(order_ref=order.pk).order_by("-created_at", "-id").first()


def can_retry(order: Order, run: Run | None) -> bool:
    """Tell whether a failed order, whose last run is `run`, may be tried again as things stand."""
    if order.state != Order.State.FAILED or run is None:
        return False
    if run.state == Run.State.COMPENSATED:
        return order.action == Order.Action.ADD
    return run.state == Run.State.COMPENSATION_FAILED


def try_again(order: Order, *, actor: Any) -> Order:
    """Try a failed order again: what could not be undone or removed is tried again, what was undone begins anew.

    Beginning anew, it is decided again with the facts of now. Raises Conflict `denied` with what the rules refuse,
    `name-in-use`, or `not-failed` where there is nothing to try again.
    """
    require(actor, "orders.retry_order", order)
    order.refresh_from_db(fields=["state"])
    run = last_run(order)
    if run is None or not can_retry(order, run):
        raise Conflict("not-failed", f"Order {order.number} is not one that can be tried again now.")
    provisioning.retry_run(run, actor=actor)
    order.refresh_from_db()
    return order


def decide_again(order: Order, *, actor: Any) -> None:
    """Decide a failed order with the facts of now, and begin its delivery anew, in the caller's transaction.

    Raises Conflict `denied` with what the rules refuse, `name-in-use` where its name was given away meanwhile.
    """
    require(actor, "orders.retry_order", order)
    if order.instance is None:
        raise Conflict("not-failed", f"Nothing was begun for order {order.number}.")
    found = consider(_wanted_again(order), order.requester)
    if found.errors or found.evaluation is None or found.evaluation.outcome != Decision.Outcome.ALLOWED:
        refused = " ".join(found.errors.values()) or "The rules do not allow it."
        raise Conflict("denied", f"It would not be accepted today. {refused}")
    facts = {**found.facts, "price": catalog.quote(order.plan, order.parameters).as_json()}
    decision = approvals.record(found.evaluation, facts, order.pk)
    try:
        begun = provisioning.begin_again(order.instance, facts=facts_for_steps(order), actor=actor)
        events.record_all(begun.events)
        ended = {"decision": decision, "completed_at": None}
        move(order, Order.State.FULFILLING, actor=actor, values=ended, run=str(begun.run.pk))
    except IntegrityError as error:
        if is_name_in_use(error):
            raise Conflict("name-in-use", f"The name “{order.name}” is in use by now.") from error
        raise


def _wanted_again(order: Order) -> Wanted:
    acceptance = getattr(order, "acceptance", None)
    return Wanted(
        plan=str(order.plan_id),
        name=order.name,
        cost_center=order.cost_center.code,
        parameters=order.parameters,
        terms_hash=acceptance.terms_hash if acceptance else "",
        purpose=order.purpose,
        data_classification=order.data_classification,
    )
