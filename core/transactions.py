"""One transaction, tried again where the database says that trying again helps."""

import random
import time
from collections.abc import Callable
from typing import TypeVar

from django.db import DatabaseError, InterfaceError, OperationalError, connection, transaction

Answer = TypeVar("Answer")

SERIALIZATION_FAILURE, DEADLOCK, LOCK_TIMEOUT = "40001", "40P01", "55P03"
UNIQUE_VIOLATION = "23505"


class Busy(Exception):  # noqa: N818 (says how things are, not what went wrong)
    """The database could not do it now; the same request may pass in a moment."""

    retry_after = 2


def sqlstate(error: BaseException) -> str:
    """Give the SQLSTATE of a database error, or an empty string."""
    return getattr(error.__cause__, "pgcode", None) or ""


def constraint(error: BaseException) -> str:
    """Give the name of the constraint that a database error broke, or an empty string."""
    diagnosis = getattr(error.__cause__, "diag", None)
    return (diagnosis and diagnosis.constraint_name) or ""


def run(change: Callable[[], Answer], *, tries: int = 3) -> Answer:
    """Run `change` in one transaction; on a deadlock, lock time-out or serialization failure once more.

    Raises Busy after `tries` such failures, or where no connection can be had.
    """
    for attempt in range(1, tries + 1):
        try:
            with transaction.atomic():
                return change()
        except DatabaseError as error:
            if sqlstate(error) not in {SERIALIZATION_FAILURE, DEADLOCK, LOCK_TIMEOUT}:
                raise
            if attempt == tries or connection.in_atomic_block:
                raise Busy("Too many people are changing the same thing right now.") from error
        time.sleep(random.uniform(0.01, 0.05) * attempt)  # noqa: S311 (jitter, no secret)
    raise Busy("Too many people are changing the same thing right now.")


def is_unreachable(error: BaseException) -> bool:
    """Tell whether `error` says that the database cannot be reached or takes no more connections."""
    if isinstance(error, InterfaceError):
        return True
    state = sqlstate(error)
    return isinstance(error, OperationalError) and (not state or state[:2] in {"08", "53", "57"})
