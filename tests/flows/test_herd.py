"""Many steps at once, and a back end that is down for everybody: the others' orders do not wait for it."""

import pytest
from django.db.models import Max
from django.db.models.functions import Now

from benchmarks import herd
from provisioning.models import Breaker, Step, StepAttempt
from tests.factories import published_offering
from tests.flows.outcomes import states, wait_for
from tests.provisioning.engine import place

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
HERD = 1500
WAIT_SECONDS = 2.0


def p95(orders):
    """The wait for a worker, in seconds, that 95 of 100 orders do not exceed."""
    return herd.percentile(herd.waits_of(orders), 0.95)


def test_fifteen_hundred_due_steps_do_not_stand_before_who_orders_now(ordered, processes, far_side):
    first = ordered(("Making it", "bare", {}))
    processes.worker(places=2, ready=False)
    processes.worker(places=2, ready=False)
    wait_for(lambda: states(first) == ["completed"])
    herd.make_due(first, HERD)
    later = []
    for _ in range(20):
        later.append(place(first.plan.version.offering, first.requester))
        wait_for(lambda: StepAttempt.objects.filter(step__run__order_ref=later[-1].pk).exists())
    wait_for(lambda: states(*later) == ["completed"] * 20)
    assert Step.objects.filter(state="ready").exists(), "the herd was through before anybody could be in its way"
    assert p95(later) < WAIT_SECONDS


def test_a_back_end_that_is_down_costs_no_order_and_delays_no_other(org, far_side, processes, rest):
    down, step = rest
    down.mood, down.share = "busy", 1.0
    silent = published_offering(org, "silent", steps=[step])
    lively = published_offering(org, "lively", steps=[{"name": "Making it", "connector": "bare"}])
    processes.worker(places=2, ready=False)
    usual = [place(lively, org.business) for _ in range(15)]
    wait_for(lambda: states(*usual) == ["completed"] * 15)
    stuck = [place(silent, org.business) for _ in range(15)]
    wait_for(Breaker.objects.filter(state="open").exists)
    meanwhile = [place(lively, org.business) for _ in range(15)]
    wait_for(lambda: states(*meanwhile) == ["completed"] * 15)
    assert set(states(*stuck)) == {"fulfilling"}
    assert p95(meanwhile) < max(2 * p95(usual), 1.0)
    calls_while_open = down.counts["PUT calls"]
    down.mood = ""
    Breaker.objects.update(probe_at=Now())
    Step.objects.filter(state="retry").update(next_run_at=Now())
    wait_for(lambda: states(*stuck) == ["completed"] * 15, 40)
    assert not Breaker.objects.filter(state="open").exists()
    assert len(down.live()) == 15
    assert down.duplicates == []
    assert calls_while_open < 15 + 10, "it was hammered although its breaker was open"
    assert Step.objects.aggregate(most=Max("attempt"))["most"] <= 5
