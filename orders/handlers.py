"""What orders do when a run has news. Called in the transaction that brought the news."""

from django.utils import timezone

from core.models import Event
from core.states import move
from orders.models import Order
from provisioning.models import Run


def _order_of(run: Run) -> Order | None:
    if run.kind != Run.Kind.PROVISION:
        return None
    return Order.objects.filter(pk=run.instance.order_ref, state=Order.State.FULFILLING).first()


def on_run_succeeded(run: Run, event: Event) -> None:
    """What was ordered is there."""
    order = _order_of(run)
    if order:
        move(order, Order.State.COMPLETED, values={"completed_at": timezone.now()}, run=str(run.pk))


def on_run_compensated(run: Run, event: Event) -> None:
    """What had been done is undone: canceled where a person wanted it so, failed otherwise."""
    order = _order_of(run)
    if order:
        ended = Order.State.CANCELED if order.cancel_requested_at else Order.State.FAILED
        move(order, ended, values={"completed_at": timezone.now()}, reason=run.reason)


def on_run_compensation_failed(run: Run, event: Event) -> None:
    """Something is left at a back end; an operator has to look."""
    order = _order_of(run)
    if order:
        move(order, Order.State.FAILED, values={"completed_at": timezone.now()}, reason=run.reason)
