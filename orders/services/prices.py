"""What is paid for services now, which a change may have made another price than that of the first order."""

from django.db.models import F, OuterRef, Subquery
from django.db.models.functions import Coalesce

from orders.models import Order, OrderQuerySet


def priced_now(orders: OrderQuerySet) -> OrderQuerySet:
    """Annotate `orders` with `monthly_now`: of one that made a service, what its last change came to; else its own."""
    # Only the order that made the service follows its changes.
    changes = Order.objects.filter(
        instance=OuterRef("instance"),
        instance__order_ref=OuterRef("pk"),
        action=Order.Action.MODIFY,
        state=Order.State.COMPLETED,
    )
    last = changes.order_by("-created_at").values("monthly")[:1]
    return orders.annotate(monthly_now=Coalesce(Subquery(last), F("monthly")))
