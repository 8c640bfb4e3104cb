"""The same key twice is the same order once."""

import hashlib
import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any
from uuid import UUID, uuid4

from django.db import DatabaseError, connection
from django.db.models.functions import Now

from core.problems import Conflict, Invalid, KeyReused
from core.transactions import LOCK_TIMEOUT, sqlstate
from core.transactions import run as in_transaction
from orders.models import IdempotencyKey, Order

KEPT_DAYS = 30
ROUTE = "orders"
KEY_FORMAT = re.compile(r"[!#-~]{1,255}")


@dataclass(frozen=True)
class Placed:
    """An order, and whether it is the one that the same key made before, with the answer given then."""

    order: Order
    replayed: bool = False
    answer: dict[str, Any] | None = None


@dataclass(frozen=True)
class Once:
    """What makes a repeated call the same order: the `key`, the hash of what was asked for, how it is answered.

    `answer` renders what the caller answers, kept with the key.
    """

    key: str | None = None
    fingerprint: str = ""
    answer: Callable[[Order], dict[str, Any]] | None = None


NO_KEY = Once()


def place_once(make: Callable[[UUID], Order], once: Once, *, person: Any) -> Placed:
    """Have `make` place an order with the id it is given, in one commit; or give the one that the key made before.

    Raises Conflict or KeyReused for the key, Busy where the database is overloaded, and whatever `make` raises:
    then the key is not used up.
    """

    def change() -> Placed:
        order_id = uuid4()
        if once.key:
            first = take(person, once.key, once.fingerprint, order_id)
            if first and first.order:
                return Placed(first.order, replayed=True, answer=first.answer)
        order = make(order_id)
        body = once.answer(order) if once.answer else None
        if once.key and body is not None:
            keep(person, once.key, body)
        return Placed(order, answer=body)

    return in_transaction(change)


def checked_key(key: str | None, *, required: bool) -> str | None:
    """Give back a usable key, or None where none is needed. Raises Invalid for any other."""
    if key is None:
        if required:
            raise Invalid({"": "Send the header Idempotency-Key, so that a repeated order is not a second one."})
        return None
    if not KEY_FORMAT.fullmatch(key):
        raise Invalid(
            {"": "Idempotency-Key must be 1 to 255 visible ASCII characters without quotation marks or spaces."}
        )
    return key


def fingerprint_of(body: Any) -> str:
    """Hash what was asked for: the order of names and white space do not count."""
    text = json.dumps(body, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()


def take(person: Any, key: str, fingerprint: str, order_id: UUID) -> IdempotencyKey | None:
    """Store the key in the caller's transaction; None where it is new, else its first use.

    `order_id` is of the order that is about to be placed: the database looks for it only at the commit.
    Waits for another order with the same key that is just being placed; raises Conflict where that takes
    more than two seconds, KeyReused where the key was for something else.
    """
    try:
        with connection.cursor() as cursor:
            cursor.execute(
                """INSERT INTO orders_idempotencykey (person_id, route, key, fingerprint, order_id)
                   VALUES (%s, %s, %s, %s, %s) ON CONFLICT DO NOTHING""",
                [person.pk, ROUTE, key, fingerprint, str(order_id)],
            )
            if cursor.rowcount == 1:
                return None
    except DatabaseError as error:
        if sqlstate(error) == LOCK_TIMEOUT:
            raise Conflict("in-progress", "An order with this key is being placed right now.", retry_after=1) from error
        raise
    first = IdempotencyKey.objects.select_related("order").get(person=person, route=ROUTE, key=key)
    if first.fingerprint != fingerprint:
        raise KeyReused("key-reused", "This Idempotency-Key was used before for a different order.")
    return first


def keep(person: Any, key: str, answer: dict[str, Any]) -> None:
    """Keep the first answer with the key, in the transaction of the order."""
    IdempotencyKey.objects.filter(person=person, route=ROUTE, key=key).update(answer=answer)


def forget_old_keys() -> int:
    """Delete keys older than 30 days; give how many."""
    deleted, _ = IdempotencyKey.objects.filter(created_at__lt=Now() - timedelta(days=KEPT_DAYS)).delete()
    return deleted
