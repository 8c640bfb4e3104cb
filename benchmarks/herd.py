"""Very many steps that become due at once, and people who order meanwhile (G06)."""

import math
import time
from collections.abc import Callable

from django.db.models import F
from django.db.models.functions import Now

from config.embedded.process import wait_until
from orders.models import Order
from provisioning.models import Run, ServiceInstance, Step, StepAttempt

BATCH = 2000
PAUSE_SECONDS = 0.3
GIVE_UP_SECONDS = 60


def make_due(order: Order, how_many: int) -> None:
    """Make so many steps due at this moment, as if as many services like that of `order` had been ordered at once."""
    given = {name: getattr(order.instance, name) for name in ("plan", "cost_center", "owner", "order_ref")}
    first = order.instance.runs.get()
    like = first.steps.first()
    instances = [ServiceInstance(name=f"herd {number}", **given) for number in range(how_many)]
    ServiceInstance.objects.bulk_create(instances, batch_size=BATCH)
    runs = [Run(instance=instance, context=first.context) for instance in instances]
    Run.objects.bulk_create(runs, batch_size=BATCH)
    steps = [Step(run=run, seq=1, name=like.name, connector=like.connector, back_end=like.back_end) for run in runs]
    Step.objects.bulk_create(steps, batch_size=BATCH)
    waiting = Step.objects.filter(state=Step.State.PENDING, run__instance__name__startswith="herd ")
    waiting.update(state=Step.State.READY, next_run_at=Now())


def waits_of(orders: list[Order]) -> list[float]:
    """Give how long the first step of each order waited for a worker, in seconds, the shortest first."""
    first = StepAttempt.objects.filter(number=1, step__run__order_ref__in=[order.pk for order in orders])
    pairs = first.annotate(waited=F("started_at") - F("step__created_at")).values_list("waited", flat=True)
    return sorted(waited.total_seconds() for waited in pairs)


def percentile(values: list[float], share: float) -> float:
    """Give the value that this share of `values` does not exceed (nearest rank)."""
    return sorted(values)[math.ceil(share * len(values)) - 1]


def order_meanwhile(place: Callable[[], Order], how_many: int, *, pause: float = PAUSE_SECONDS) -> list[float]:
    """Order so many times, a little apart; give how long each waited for a worker."""
    placed = []
    for _ in range(how_many):
        placed.append(place())
        time.sleep(pause)
    if not wait_until(lambda: len(waits_of(placed)) == how_many, GIVE_UP_SECONDS):
        raise RuntimeError(f"Some of {how_many} orders found no worker within {GIVE_UP_SECONDS} seconds.")
    return waits_of(placed)
