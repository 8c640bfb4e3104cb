"""Orders and calendar jobs with no beat, with two beats, and with a worker whose clock is wrong."""

import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from django.conf import settings

from core.models import JobSlot
from orders.models import Order
from provisioning.models import StepAttempt
from tests.flows.calendar_settings import JOB
from tests.flows.outcomes import attempts, states, wait_for
from tests.provisioning.engine import fresh, step_of

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
FAKE_TIME = next(iter(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1")), None)

LATE = {
    "LD_PRELOAD": str(FAKE_TIME),
    "FAKETIME": "-2h",
    "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    "PYTHONPATH": str(Path(__file__).with_name("late_clock")),
}


def clock_of(process):
    """What a process took for the time when it last wrote a line."""
    written = re.findall(r'"timestamp": "([^"]+)"', process.log.read_text())
    return datetime.fromisoformat(written[-1])


def slots():
    """How many slots of the counted job were taken."""
    return JobSlot.objects.filter(job=JOB).count()


def test_without_beat_orders_and_calendar_go_on_and_with_two_beats_each_slot_runs_once(ordered, processes, far_side):
    processes.environment["DJANGO_SETTINGS_MODULE"] = "tests.flows.calendar_settings"
    workers = [processes.worker(ready=False), processes.worker(ready=False)]
    order = ordered(("Making it", "bare", {}))
    wait_for(lambda: states(order) == ["completed"])
    wait_for(lambda: slots() >= 2)
    beats = [processes.beat(), processes.beat()]
    for beat in beats:
        beat.wait_for_line("Sending due task")
    rung_from = slots()
    wait_for(lambda: slots() >= rung_from + 3)
    for one in [*beats, *workers]:
        one.kill()
    lines = (far_side.folder / "counted").read_text().splitlines()
    # A worker may be killed between its line and its commit, never the other way round.
    assert slots() <= len(lines) <= slots() + 1


@pytest.mark.skipif(FAKE_TIME is None, reason="libfaketime is not installed")
def test_a_worker_whose_clock_is_two_hours_late_keeps_its_leases_and_takes_no_foreign_ones(
    ordered, processes, far_side
):
    long = 2 * settings.LEASE_SECONDS
    orders = [ordered(("Making it", "bare", {"seconds": long})) for _ in range(2)]
    processes.worker(ready=False)
    late = processes.worker(ready=False, **LATE)
    wait_for(lambda: states(*orders) == ["completed"] * 2, 60)
    assert timedelta(hours=1.9) < datetime.now(UTC) - clock_of(late) < timedelta(hours=2.1)
    assert [attempts(order) for order in orders] == [[(1, "succeeded")]] * 2
    assert len({attempt.worker for attempt in StepAttempt.objects.all()}) == 2
    for order in Order.objects.all():
        step = step_of(order)
        assert order.created_at <= step.started_at <= step.finished_at
        assert order.created_at <= fresh(order).completed_at
        assert fresh(order.instance).active_at >= order.created_at
