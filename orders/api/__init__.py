"""The orders' routes of the API: ask what it costs, order, follow, cancel."""

from orders.api.orders import OrderViewSet
from orders.api.quotes import QuoteViewSet

__all__ = ["OrderViewSet", "QuoteViewSet"]
