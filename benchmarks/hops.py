"""How long it takes from a commit until a worker begins, beside the same hop of Celery alone."""

import sys
import time
from collections.abc import Callable
from pathlib import Path
from uuid import uuid4

from django.db import transaction

from benchmarks.raw import app, note
from config.embedded.process import wait_until
from orders.models import Order
from provisioning.models import Step
from tests.processes import Process, Processes

GIVE_UP_SECONDS = 30


def raw_worker(processes: Processes, number: int) -> Process:
    """Start one worker with one place for the raw tasks."""
    arguments = ["celery", "-A", "benchmarks.raw", "worker", "-Q", "raw", "-l", "INFO", "-n", f"raw-{number}@%h"]
    arguments += ["--concurrency", "1", "--without-gossip", "--without-mingle"]
    log = processes.folder / f"raw-{number}.log"
    worker = Process(f"raw-{number}", arguments, processes.environment, log)
    processes.started.append(worker)
    return worker


def measure(place: Callable[[], Order], folder: Path, how_many: int) -> tuple[list[float], list[float], list[float]]:
    """Take both hops in turn; give the seconds to our step's claim, to its connector's call, and of the raw hop."""
    claimed, called, raw = [], [], []
    with app.connection_for_write() as connection:
        for _ in range(how_many):
            hop = _our_hop(place, folder)
            claimed.append(hop[0])
            called.append(hop[1])
            raw.append(_raw_hop(folder, connection))
    return claimed, called, raw


def _our_hop(place: Callable[[], Order], folder: Path) -> tuple[float, float]:
    committed = []
    with transaction.atomic():
        # Registered first, so it is called first: right after the commit, before the bell.
        transaction.on_commit(lambda: committed.append(time.time()))
        order = place()
    called = _begun(folder / "ours" / str(order.instance_id)) - committed[0]
    # By the database's clock, which is this machine's.
    started_at = Step.objects.get(run__instance=order.instance_id, seq=1).started_at
    if started_at is None:
        sys.exit("A step was called without being claimed.")
    return started_at.timestamp() - committed[0], called


def _raw_hop(folder: Path, connection: object) -> float:
    name = uuid4().hex
    sent = time.time()
    note.apply_async([name], connection=connection)
    return _begun(folder / "raw" / name) - sent


def _begun(path: Path) -> float:
    if not wait_until(path.exists, GIVE_UP_SECONDS):
        sys.exit(f"Nobody began {path.name} within {GIVE_UP_SECONDS} seconds.")
    return float(path.read_text())
