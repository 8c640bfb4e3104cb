"""The measures: orders one after the other, many steps that do nothing, the way to a worker, and a herd."""

import statistics
import time
from itertools import count
from pathlib import Path

from django.db import connection, transaction
from django.db.models import Max, Min

import orders.services as orders
from accounts.models import Person
from benchmarks import herd, hops
from catalog.models import Offering
from config.embedded.process import wait_until
from core.models import Pulse
from orders.models import Order
from provisioning.models import ServiceInstance, Step
from tests.factories import Organization, organization, published_offering, wanted_body
from tests.processes import Processes

OFFERINGS = {"postgresql-database": "postgresql", "redis-namespace": "redis_acl", "git-repository": "git_repository"}
STEPS_AN_ORDER = 10
WORKERS = 2
ORDERS_MEANWHILE = 40
GIVE_UP_SECONDS = 300
COMMITS = 500
_numbers = count(1)


def run(folder: Path, *, orders: int, steps: int, ways: int, due: int) -> None:
    """Measure all and print it."""
    people = organization()
    commits = commits_a_second()
    say(f"The database alone: {commits:.0f} commits a second, one after the other.")
    processes = Processes(folder, settings="benchmarks.settings")
    try:
        print_orders(people, processes, orders, commits)
        print_steps(people, processes, steps, commits)
        print_hops(people, processes, ways)
        print_herd(people, processes, due)
    finally:
        processes.end()


def print_orders(people: Organization, processes: Processes, how_many: int, commits: float) -> None:
    """Order what is delivered for real, one after the other."""
    worker = processes.worker(places=2)
    for slug, connector in OFFERINGS.items():
        offering = published_offering(people, slug, steps=[{"name": "Making it", "connector": connector}])
        print_latencies(slug, measure_orders(offering, people.business, how_many), commits)
    worker.terminate()


def print_steps(people: Organization, processes: Processes, how_many: int, commits: float) -> None:
    """Make many steps due and count how many a second two workers do."""
    each = [{"name": f"Step {number}", "connector": "nothing"} for number in range(STEPS_AN_ORDER)]
    offering = published_offering(people, "nothing", steps=each)
    a_second = measure_steps(offering, people.business, how_many, processes)
    say(
        f"Steps that do nothing: {a_second:.0f} a second by {WORKERS} workers with one place each (goal 100; "
        f"{a_second / commits:.2f} of the database's commits; each step takes two)."
    )


def print_hops(people: Organization, processes: Processes, how_many: int) -> None:
    """Compare the way from a commit to a worker's start with that of Celery alone."""
    offering = published_offering(people, "noted", steps=[{"name": "Noted", "connector": "noted"}])
    workers = [processes.worker(ready=False) for _ in range(WORKERS)]
    workers += [hops.raw_worker(processes, number) for number in range(WORKERS)]
    for worker in workers:
        worker.wait_for_line(" ready.")
    claimed, called, raw = hops.measure(lambda: place(offering, people.business), processes.folder, how_many)
    for name, share, goal in (("p50", 0.5, 2), ("p99", 0.99, 5)):
        mine, further, theirs = (herd.percentile(seconds, share) for seconds in (claimed, called, raw))
        say(
            f"From commit to start (the step is claimed), {name} of {how_many}: {1000 * mine:.1f} ms; Celery alone "
            f"{1000 * theirs:.1f} ms: {mine / theirs:.2f} times (goal at most {goal}). To the connector's call: "
            f"{1000 * further:.1f} ms, {further / theirs:.2f} times."
        )
    for worker in workers:
        processes.bury(worker)


def print_herd(people: Organization, processes: Processes, how_many: int) -> None:
    """Make very many steps due at once and see how long who orders meanwhile waits."""
    offering = published_offering(people, "herd", steps=[{"name": "Herd", "connector": "nothing"}])
    first = place(offering, people.business)
    workers = [processes.worker(ready=False) for _ in range(WORKERS)]
    for worker in workers:
        worker.wait_for_line(" ready.")
    herd.make_due(first, how_many)
    waits = herd.order_meanwhile(lambda: place(offering, people.business), ORDERS_MEANWHILE)
    left = Step.objects.filter(state=Step.State.READY).count()
    say(
        f"{how_many} steps due at once: who orders meanwhile waits {1000 * herd.percentile(waits, 0.5):.0f} ms (median "
        f"of {len(waits)}), p95 {herd.percentile(waits, 0.95):.2f} s (goal 2), slowest {waits[-1]:.2f} s; "
        f"{how_many - left} steps were done meanwhile."
    )
    for worker in workers:
        processes.bury(worker)


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
    """Make `how_many` steps due, start the workers and give how many steps a second they do."""
    placed = [place(offering, person) for _ in range(-(-how_many // STEPS_AN_ORDER))]
    steps = Step.objects.filter(run__instance__order_ref__in=[order.pk for order in placed])
    workers = [processes.worker(ready=False) for _ in range(WORKERS)]
    unfinished = steps.exclude(state=Step.State.SUCCEEDED)
    if not wait_until(lambda: not unfinished.exists(), GIVE_UP_SECONDS):
        raise RuntimeError(f"{unfinished.count()} steps were not done within {GIVE_UP_SECONDS} seconds.")
    for worker in workers:
        worker.terminate()
    times = steps.aggregate(first=Min("started_at"), last=Max("finished_at"))
    return float(steps.count() / (times["last"] - times["first"]).total_seconds())
