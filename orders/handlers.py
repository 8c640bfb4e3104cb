"""What orders do when a run has news. Called in the transaction that brought the news.

A run that no order caused (a new password) finds none here.
"""

from typing import Any

from django.db.models.functions import Now

from accounts.models import Person
from core.models import Event
from core.states import move
from orders.models import Order
from orders.services import decide_again
from provisioning.models import Run


def _order_of(run: Run, state: str = Order.State.FULFILLING) -> Order | None:
    if run.order_ref is None:
        return None
    return Order.objects.filter(pk=run.order_ref, state=state).first()


def _end(run: Run, state: str, facts: dict[str, Any]) -> None:
    order = _order_of(run)
    if order:
        move(order, state, values={"completed_at": Now()}, **facts)


def on_run_succeeded(run: Run, event: Event) -> None:
    """What was ordered is there, changed or gone, as it was wanted."""
    _end(run, Order.State.COMPLETED, {"run": str(run.pk)})


def on_run_compensated(run: Run, event: Event) -> None:
    """What had been done is undone: canceled where a person wanted it so, failed otherwise."""
    order = _order_of(run)
    if order:
        ended = Order.State.CANCELED if order.cancel_requested_at else Order.State.FAILED
        move(order, ended, values={"completed_at": Now()}, reason=run.reason)


def on_run_compensation_failed(run: Run, event: Event) -> None:
    """Something is left at a back end; an operator has to look."""
    _end(run, Order.State.FAILED, {"reason": run.reason})


def on_run_abandoned(run: Run, event: Event) -> None:
    """An operator gave the work up."""
    _end(run, Order.State.FAILED, {"reason": run.reason})


def on_run_running(run: Run, event: Event) -> None:
    """A removal that had failed goes on, and its order with it."""
    if run.kind != Run.Kind.RETIRE:
        return
    order = _order_of(run, Order.State.FAILED)
    if order:
        move(order, Order.State.FULFILLING, values={"completed_at": None}, run=str(run.pk))


def on_run_retry_requested(run: Run, event: Event) -> None:
    """Decide a failed order again, which an operator wants delivered after all. Raises Conflict where it may not be."""
    order = _order_of(run, Order.State.FAILED)
    if order:
        decide_again(order, actor=Person.objects.get(pk=event.actor_id))
