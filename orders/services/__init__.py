"""The life of an order, top to bottom."""

from orders.services.changes import WantedChange, place_change, preview_change
from orders.services.idempotency import NO_KEY, Once, Placed, checked_key, fingerprint_of, forget_old_keys
from orders.services.interventions import can_retry, cancel, decide_again, last_run, try_again
from orders.services.orders import Preview, Wanted, place, preview
from orders.services.prices import priced_now

__all__ = [
    "NO_KEY",
    "Once",
    "Placed",
    "Preview",
    "Wanted",
    "WantedChange",
    "can_retry",
    "cancel",
    "checked_key",
    "decide_again",
    "fingerprint_of",
    "forget_old_keys",
    "last_run",
    "place",
    "place_change",
    "preview",
    "preview_change",
    "priced_now",
    "try_again",
]
