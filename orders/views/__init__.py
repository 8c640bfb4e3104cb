"""Pages of orders: place one, find it again, watch its delivery, connect, cancel."""

from orders.views.creation import order_create
from orders.views.lists import order_list
from orders.views.single import order_cancel, order_credentials, order_detail, order_live, order_rotate

__all__ = [
    "order_cancel",
    "order_create",
    "order_credentials",
    "order_detail",
    "order_list",
    "order_live",
    "order_rotate",
]
