"""The life of an order, top to bottom."""

from orders.services.idempotency import checked_key, fingerprint_of, forget_old_keys
from orders.services.orders import Placed, Wanted, cancel, place, preview

__all__ = [
    "Placed",
    "Wanted",
    "cancel",
    "checked_key",
    "fingerprint_of",
    "forget_old_keys",
    "place",
    "preview",
]
