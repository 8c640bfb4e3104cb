"""Orders placed and the engine turned by hand, attempt by attempt."""

from datetime import timedelta
from itertools import count

from django.utils import timezone

import orders.services as orders
from orders.models import Order
from provisioning.models import Breaker, Step
from provisioning.services import breakers, claims, execution
from provisioning.services.runs import ClockTimestamp
from tests.factories import wanted_body

numbers = count(1)

# Steps of orders in trouble: one waits for an operator, one cannot be undone, of one nobody knows whether it happened.
HELD = [("one", "bare", {}), ("two", "bare", {"refuses": True}, {"on_failure": "wait"}), ("three", "bare", {})]
STUCK = [("one", "bare", {"undo_refuses": True}), ("two", "bare", {"refuses": True})]
BLIND = [("one", "bare", {}), ("two", "forgetful", {}), ("three", "bare", {})]


def place(offering, person) -> Order:
    """Order `offering` once more."""
    body = wanted_body(offering, name=f"service {next(numbers)}")
    body.pop("action")
    return orders.place(orders.Wanted(**body), actor=person).order


def run_of(order):
    """The last run of what was ordered."""
    return order.instance.runs.order_by("-created_at").first()


def step_of(order, name="Making it", kind="do"):
    """One step of what was ordered."""
    return Step.objects.select_related("run").get(
        run__instance=order.instance, run__kind="provision", kind=kind, name__endswith=name
    )


def drive(most=200) -> int:
    """Do all that is due, now and again at once where it would be due later; give how many attempts it took."""
    for done in range(most):
        make_due()
        step = claims.claim()
        if step is None:
            return done
        execution.execute(step)
    raise AssertionError(f"More than {most} attempts, and still something is due.")


def make_due(steps=None):
    """Let nobody wait for a back-off."""
    waiting = (Step.objects.all() if steps is None else steps).filter(lease_token=None)
    waiting.filter(state__in=["retry", "polling", "ready"]).update(next_run_at=ClockTimestamp())


def lose(step):
    """Let the lease of a claimed step run out, as after the death of its worker."""
    Step.objects.filter(pk=step.pk).update(lease_expires_at=ClockTimestamp())


def fresh(row):
    """The row as the database has it now."""
    return type(row).objects.get(pk=row.pk)


def silence(back_end, seconds=600):
    """Let `back_end` be one that does not answer, tried again in `seconds`."""
    for _ in range(breakers.FAILURES):
        breakers.note_failure(back_end, "Connection refused.")
    Breaker.objects.filter(back_end=back_end).update(probe_at=timezone.now() + timedelta(seconds=seconds))
