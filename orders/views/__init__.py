"""Pages of orders: place one, find it again, watch its delivery, connect, cancel; change and remove what it brought."""

from orders.views.changes import order_change, order_change_quote, order_remove, order_retry
from orders.views.creation import order_create
from orders.views.lists import order_list
from orders.views.single import order_cancel, order_credentials, order_detail, order_live, order_rotate

__all__ = [
    "order_cancel",
    "order_change",
    "order_change_quote",
    "order_create",
    "order_credentials",
    "order_detail",
    "order_list",
    "order_live",
    "order_remove",
    "order_retry",
    "order_rotate",
]
