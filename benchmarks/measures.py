"""The measures: orders by a real worker, one after the other; and many steps that do nothing, all at once."""

import statistics
import time
from itertools import count
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Max, Min

import orders.services as orders
from accounts.models import Person
from catalog.models import Offering
from config.embedded.process import wait_until
from core.models import Pulse
from orders.models import Order
from provisioning.models import ServiceInstance, Step
from tests.factories import organization, published_offering, wanted_body
from tests.processes import Processes

OFFERINGS = {"postgresql-database": "postgresql", "redis-namespace": "redis_acl", "git-repository": "git_repository"}
STEPS_AN_ORDER = 10
GIVE_UP_SECONDS = 300
COMMITS = 500
_numbers = count(1)


def run(folder: Path, *, orders: int, steps: int) -> None:
    """Measure all and print it."""
    people = organization()
    commits = commits_a_second()
    say(f"The database alone: {commits:.0f} commits a second, one after the other.")
    processes = Processes(folder, settings="benchmarks.settings")
    try:
        worker = processes.worker(places=2)
        for slug, connector in OFFERINGS.items():
            offering = published_offering(people, slug, steps=[{"name": "Making it", "connector": connector}])
            print_latencies(slug, measure_orders(offering, people.business, orders), commits)
        worker.terminate()
        offering = published_offering(
            people,
            "nothing",
            steps=[{"name": f"Step {number}", "connector": "nothing"} for number in range(STEPS_AN_ORDER)],
        )
        a_second = measure_steps(offering, people.business, steps, processes)
        say(
            f"Steps that do nothing: {a_second:.0f} a second by one worker with two places "
            f"({a_second / commits:.2f} of the database's commits; each step takes two)."
        )
    finally:
        processes.end()


def say(line: str) -> None:
    """Print one line at once."""
    print(line, flush=True)  # noqa: T201 (a benchmark speaks to its terminal)


def commits_a_second() -> float:
    """Give how many one-row changes a second this database commits for one caller."""
    Pulse.objects.create(role="benchmark")
    started = time.perf_counter()
    for _ in range(COMMITS):
        with transaction.atomic(), connection.cursor() as cursor:
            cursor.execute("UPDATE core_pulse SET at = clock_timestamp() WHERE role = 'benchmark'")
    return COMMITS / (time.perf_counter() - started)


def place(offering: Offering, person: Person) -> Order:
    """Order `offering` once, as the API does."""
    body = wanted_body(offering, name=f"bench {next(_numbers)}")
    del body["action"]
    return orders.place(orders.Wanted(**body), actor=person).order


def measure_orders(offering: Offering, person: Person, how_many: int) -> list[tuple[float, float]]:
    """Place orders one after the other; give what `place_and_wait` says of each."""
    place_and_wait(offering, person)  # the first one opens connections
    return [place_and_wait(offering, person) for _ in range(how_many)]


def place_and_wait(offering: Offering, person: Person) -> tuple[float, float]:
    """Place one order; give the seconds to its acceptance and from there until it is usable."""
    started = time.perf_counter()
    order = place(offering, person)
    accepted = time.perf_counter()
    active = ServiceInstance.objects.filter(order_ref=order.pk, state=ServiceInstance.State.ACTIVE)
    if not wait_until(active.exists, GIVE_UP_SECONDS):
        raise RuntimeError(f"{order} was not delivered within {GIVE_UP_SECONDS} seconds.")
    return accepted - started, time.perf_counter() - accepted


def print_latencies(slug: str, measured: list[tuple[float, float]], commits: float) -> None:
    """Print medians and worst cases, in milliseconds and in commits of this database."""
    accepted, active = (sorted(values) for values in zip(*measured, strict=True))
    say(
        f"{slug}: accepted in {1000 * statistics.median(accepted):.0f} ms "
        f"({statistics.median(accepted) * commits:.0f} commits' time); usable "
        f"{1000 * statistics.median(active):.0f} ms later (median of {len(active)}, slowest {1000 * active[-1]:.0f})."
    )


def measure_steps(offering: Offering, person: Person, how_many: int, processes: Processes) -> float:
    """Make `how_many` steps due, start a worker and give how many steps a second it does."""
    placed = [place(offering, person) for _ in range(-(-how_many // STEPS_AN_ORDER))]
    steps = Step.objects.filter(run__instance__order_ref__in=[order.pk for order in placed])
    processes.worker(places=2)
    unfinished = steps.exclude(state=Step.State.SUCCEEDED)
    if not wait_until(lambda: not unfinished.exists(), GIVE_UP_SECONDS):
        raise RuntimeError(f"{unfinished.count()} steps were not done within {GIVE_UP_SECONDS} seconds.")
    times = steps.aggregate(first=Min("started_at"), last=Max("finished_at"))
    return float(steps.count() / (times["last"] - times["first"]).total_seconds())
