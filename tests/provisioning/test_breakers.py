"""A silent back end costs no attempts, a slow one holds up nobody else, a backlog stands before no one."""

import pytest
from django.db import connection
from django.db.models import F

from core.models import Event
from provisioning.models import Breaker, Step
from provisioning.services import breakers, claims, execution
from provisioning.services.runs import ClockTimestamp
from provisioning.sweeper import oldest_due_seconds, sign_on
from tests.provisioning.engine import fresh, make_due, place, step_of
from tests.threads import together


def attempt_all():
    """Do what is due, each step once."""
    make_due()
    done = 0
    while step := claims.claim():
        execution.execute(step)
        done += 1
    return done


def let_probe():
    """Let the time of the next probe come."""
    Breaker.objects.filter(state="open").update(probe_at=ClockTimestamp())


def more(order, times):
    """Order the same again."""
    return [order, *(place(order.plan.version.offering, order.requester) for _ in range(times - 1))]


def test_after_five_failures_in_a_row_nothing_more_is_sent_there_and_others_go_on(ordered, far_side):
    silent = more(ordered(("Making it", "bare", {"fails": 100})), 8)
    attempt_all()
    assert len(far_side.calls("start")) == 5
    breaker = Breaker.objects.get()
    assert (breaker.back_end, breaker.state, breaker.failures) == ("bare", "open", 5)
    assert breaker.last_error.startswith("The far side does not want it yet")
    working = ordered(("Making it", "fake", {}))
    attempt_all()
    assert fresh(working).state == "completed"
    assert {fresh(order).state for order in silent} == {"fulfilling"}
    assert Event.objects.filter(name="breaker.open").count() == 1


def test_one_probe_at_a_time_is_sent_and_costs_no_attempt(ordered, far_side):
    orders = more(ordered(("Making it", "bare", {"fails": 100})), 8)
    attempt_all()
    before = {order.pk: step_of(order).attempt for order in orders}
    for number in range(1, 8):
        let_probe()
        make_due()
        probe = claims.claim()
        assert probe.is_probe
        assert claims.claim() is None
        execution.execute(probe)
        assert len(far_side.calls("start")) == 5 + number
    assert {order.pk: step_of(order).attempt for order in orders} == before
    assert Breaker.objects.get().probe_at is not None


def test_what_answers_again_gets_everything_again(ordered, far_side):
    orders = more(ordered(("Making it", "bare", {"fails": 1})), 6)
    attempt_all()
    assert Breaker.objects.get().state == "open"
    for _ in range(2):  # the first probe is the sixth order, which its back end has not refused yet
        let_probe()
        attempt_all()
    breaker = Breaker.objects.get()
    assert (breaker.state, breaker.failures, breaker.probe_at) == ("closed", 0, None)
    while attempt_all():
        pass
    assert {fresh(order).state for order in orders} == {"completed"}
    assert Event.objects.filter(name="breaker.closed").count() == 1


def test_a_refusal_is_an_answer(ordered, far_side):
    more(ordered(("Making it", "bare", {"refuses": True})), 8)
    while attempt_all():
        pass
    assert not Breaker.objects.exists()


def test_behind_a_silent_back_end_a_step_still_ends_at_its_deadline(ordered, far_side):
    orders = more(ordered(("Making it", "bare", {"fails": 100})), 6)
    attempt_all()
    Step.objects.update(deadline_at=ClockTimestamp())
    make_due()
    claims.claim()
    assert {fresh(step_of(order)).state for order in orders} == {"failed"}
    assert len(far_side.calls("start")) == 5


def test_what_waits_behind_an_open_breaker_does_not_count_as_late(ordered, far_side):
    more(ordered(("Making it", "bare", {"fails": 100})), 6)
    attempt_all()
    long_ago = F("next_run_at") - ClockTimestamp() + ClockTimestamp()
    Step.objects.filter(state__in=["retry", "ready"]).update(next_run_at=long_ago)
    assert oldest_due_seconds() == 0


@pytest.mark.django_db(transaction=True)
def test_a_limit_holds_however_many_workers_claim_at_once(ordered, far_side):
    more(ordered(("Making it", "narrow", {})), 10)
    claimed = [step for step in together(claims.claim, times=10) if step is not None]
    assert len(claimed) == 2
    execution.execute(claimed[0])
    assert claims.claim() is not None
    assert claims.claim() is None


def test_one_place_of_many_stays_free_for_other_back_ends(ordered, far_side):
    sign_on("one", 4)
    more(ordered(("Making it", "bare", {})), 6)
    assert [claims.claim().back_end for _ in range(3)] == ["bare"] * 3
    assert claims.claim() is None
    other = ordered(("Making it", "fake", {}))
    assert claims.claim().pk == step_of(other).pk


def test_a_back_end_that_was_slow_gets_half_of_the_places(ordered, far_side):
    sign_on("one", 4)
    breakers.note_slow("bare")
    more(ordered(("Making it", "bare", {})), 6)
    assert [claims.claim().back_end for _ in range(2)] == ["bare"] * 2
    assert claims.claim() is None


@pytest.mark.django_db(transaction=True)
def test_a_call_that_takes_long_makes_its_back_end_a_slow_one(ordered, far_side):
    order = ordered(("Making it", "bare", {"seconds": breakers.SLOW_SECONDS + 0.2}))
    attempt_all()
    assert fresh(order).state == "completed"
    assert Breaker.objects.get(back_end="bare").slow_at is not None


def test_the_back_end_with_the_fewest_calls_goes_first(ordered, far_side):
    more(ordered(("Making it", "bare", {})), 4)
    ordered(("Making it", "fake", {}))
    assert [claims.claim().back_end for _ in range(3)] == ["bare", "fake", "bare"]


def test_who_orders_now_does_not_wait_for_a_backlog_of_the_same_back_end(ordered, far_side):
    old = more(ordered(("Making it", "bare", {})), 40)
    age("60 seconds")
    new = place(old[0].plan.version.offering, old[0].requester)
    taken = [claims.claim().run.instance.order_ref for _ in range(20)]
    assert new.pk in taken
    assert taken[-1] in {order.pk for order in old}


def test_what_is_to_be_undone_does_not_starve_behind_a_backlog(ordered, far_side):
    undone = ordered(("Making it", "bare", {"refuses": True}))
    execution.execute(claims.claim())
    more(ordered(("Making it", "bare", {})), 60)
    age("60 seconds")
    assert step_of(undone, kind="compensate").pk in {claims.claim().pk for _ in range(50)}


def age(interval):
    """Let all that is due have been due for so long."""
    with connection.cursor() as cursor:
        cursor.execute("UPDATE provisioning_step SET next_run_at = next_run_at - %s::interval", [interval])
