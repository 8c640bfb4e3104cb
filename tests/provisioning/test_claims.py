"""Claims, leases and results: one worker acts, a late one writes nothing."""

import random
import threading
from uuid import uuid4

import pytest
from django.db import connection
from hypothesis import given
from hypothesis import strategies as st

from provisioning.connectors.base import Done, LeaseLost
from provisioning.models import Step, StepAttempt
from provisioning.services import claims, execution, results
from provisioning.services.runs import ClockTimestamp
from provisioning.tasks import advance
from tests.provisioning.engine import drive, fresh, lose, make_due, place, run_of, step_of
from tests.threads import together


@pytest.mark.django_db(transaction=True)
def test_of_many_workers_each_due_step_goes_to_one(org, ordered):
    first = ordered()
    for _ in range(5):
        place(first.plan.version.offering, org.business)
    claimed = [step for step in together(claims.claim, times=12) if step is not None]
    assert len({step.pk for step in claimed}) == len(claimed) == 6
    assert len({step.lease_token for step in claimed}) == 6
    assert set(StepAttempt.objects.values_list("number", flat=True)) == {1}


def test_a_claim_is_stored_with_its_attempt_before_any_call(ordered, far_side):
    step = claims.claim(step_of(ordered()).pk)
    assert (step.state, step.attempt) == ("running", 1)
    assert step.attempts.get().outcome == "running"
    assert far_side.calls() == []
    assert claims.claim(step.pk) is None


def test_a_step_whose_lease_ran_out_is_taken_over_and_the_attempt_before_is_lost(ordered, far_side):
    order = ordered()
    lost = claims.claim()
    lose(lost)
    taken = claims.claim()
    assert (taken.pk, taken.attempt) == (lost.pk, 2)
    assert taken.lease_token > lost.lease_token
    assert list(taken.attempts.values_list("number", "outcome")) == [(1, "lost"), (2, "running")]
    execution.execute(taken)
    assert fresh(order).state == "completed"


def test_a_step_that_never_beat_is_found_too(ordered):
    ordered()
    step = claims.claim()
    assert step.heartbeat_at is None
    lose(step)
    assert claims.claim().pk == step.pk


@pytest.mark.parametrize(
    "write",
    [
        lambda step: results.finish(step, Done(outputs={"late": "yes"}), ["late"]),
        lambda step: results.give_up(step, "late", ["late"]),
        lambda step: results.try_later(step, "late", None, ["late"]),
    ],
)
def test_a_late_writer_writes_nothing(ordered, write):
    order = ordered()
    late = claims.claim()
    lose(late)
    current = claims.claim()
    with pytest.raises(LeaseLost):
        write(late)
    row = fresh(late)
    assert (row.state, row.lease_token, row.outputs) == ("running", current.lease_token, {})
    assert not row.lines.exists()
    assert not claims.renew(late.pk, late.lease_token)
    execution.execute(current)
    assert fresh(order).state == "completed"
    with pytest.raises(LeaseLost):
        write(late)
    assert fresh(order.instance).state == "active"


def test_who_writes_after_his_lease_ran_out_writes_nothing_even_where_nobody_took_over(ordered):
    ordered()
    late = claims.claim()
    lose(late)
    with pytest.raises(LeaseLost):
        results.finish(late, Done(), [])
    assert fresh(late).state == "running"


def test_a_renewed_lease_lasts_and_is_noted(ordered):
    ordered()
    step = claims.claim()
    Step.objects.filter(pk=step.pk).update(heartbeat_at=None)
    assert claims.renew(step.pk, step.lease_token)
    assert fresh(step).heartbeat_at is not None


def test_attempts_end_at_their_maximum(ordered, far_side):
    order = ordered(("Making it", "fake", {"fails": 99}, {"max_attempts": 3}))
    drive()
    step = step_of(order)
    assert (step.state, step.attempt) == ("failed", 3)
    assert "attempt 3 of 3" in step.error
    assert len(far_side.calls("start")) == 3
    assert [number for (number,) in step.attempts.values_list("number")] == [1, 2, 3]
    assert fresh(order).state == "failed"


def test_a_step_whose_workers_always_die_ends_at_its_maximum_too(ordered, far_side):
    order = ordered(("Making it", "fake", {}, {"max_attempts": 3}))
    for _ in range(3):
        lose(claims.claim())
    assert claims.claim() is not None  # what undoes it
    step = step_of(order)
    assert (step.state, step.error) == ("failed", "No result after 3 attempts.")
    assert set(step.attempts.values_list("outcome", flat=True)) == {"lost"}
    assert far_side.calls("start") == []


def test_a_step_past_its_deadline_is_given_up_without_a_call(ordered, far_side):
    order = ordered(("Making it", "fake", {"fails": 1}, {"timeout_seconds": 60}))
    execution.execute(claims.claim())
    Step.objects.update(deadline_at=ClockTimestamp())
    drive()
    assert step_of(order).error == "Not done within 60 seconds."
    assert len(far_side.calls("start")) == 1
    assert fresh(order).state == "failed"


def test_a_fault_in_a_connector_is_a_failed_attempt_that_tells_no_secret(ordered, far_side, caplog):
    order = ordered(("Making it", "fake", {"breaks": True}, {"max_attempts": 2}))
    drive()
    step = step_of(order)
    assert step.state == "failed"
    assert step.error.startswith("RuntimeError: The far side broke over ********.")
    assert "********" in step.attempts.first().error


def test_a_secret_that_no_key_opens_is_a_failed_attempt_and_no_dead_worker(ordered, settings):
    order = ordered(("Making it", "fake", {}, {"max_attempts": 2}))
    settings.ENCRYPTION_KEYS = ["MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY="]
    make_due()
    execution.execute(claims.claim())
    step = step_of(order)
    assert (step.state, step.attempt) == ("retry", 1)
    assert "ENCRYPTION_KEYS" in step.error


def test_every_attempt_of_a_step_has_the_same_key_and_the_same_password(ordered, far_side):
    order = ordered(("Making it", "fake", {"fails": 2}))
    drive()
    starts = far_side.calls("start")
    assert len(starts) == 3
    assert {key for *_, key in starts} == {str(step_of(order).idempotency_key)}
    secret = order.instance.secrets.get()
    assert secret.in_force_at


def test_a_retry_waits_for_as_long_as_the_back_end_said(ordered):
    order = ordered(("Making it", "fake", {"fails": 1, "after": 120}))
    execution.execute(claims.claim())
    step = step_of(order)
    assert step.state == "retry"
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM %s - clock_timestamp())", [step.next_run_at])
        assert 110 < cursor.fetchone()[0] <= 120
    assert claims.claim() is None


@given(st.integers(1, 10_000), st.randoms(use_true_random=False))
def test_the_pause_doubles_up_to_five_minutes_with_half_of_it_by_chance(attempt, chance):
    random.seed(chance.random())
    full = min(300.0, 2.0 ** min(attempt - 1, 20))
    assert 0.5 * full <= results.backoff(attempt) <= 1.5 * full


def test_a_long_operation_is_asked_how_far_it_got_and_that_is_one_attempt(ordered, far_side):
    order = ordered(("Making it", "fake", {"polls": 4, "poll_fails": 2}))
    execution.execute(claims.claim())
    step = step_of(order)
    assert (step.state, step.external_ref, step.detail) == ("polling", "poll-1", "Half done.")
    for _ in range(2):
        make_due()
        execution.execute(claims.claim())
    step = fresh(step)
    assert (step.state, step.attempt, step.error) == ("polling", 1, "No answer this time.")
    assert len(far_side.calls("start")) == 1
    Step.objects.filter(pk=step.pk).update(external_ref="poll-3")
    drive()
    assert fresh(order).state == "completed"
    assert (len(far_side.calls("start")), fresh(step).attempt) == (1, 1)


def test_a_worker_lost_over_a_question_counts_as_an_attempt(ordered, far_side):
    order = ordered(("Making it", "fake", {"polls": 2}, {"max_attempts": 2}))
    execution.execute(claims.claim())
    for _ in range(3):
        make_due()
        lose(claims.claim())
    drive()
    step = step_of(order)
    assert (step.state, step.attempt) == ("failed", 3)
    assert len(far_side.calls("start")) == 1


def test_where_a_back_end_cannot_tell_a_person_looks_and_nobody_calls_twice(ordered, far_side):
    order = ordered(("Making it", "forgetful", {}))
    lose(claims.claim())
    drive()
    assert step_of(order).state == "outcome_unknown"
    assert far_side.calls() == []
    assert run_of(order).state == "running"


@pytest.mark.parametrize(
    "message", ["", "not-an-id", "00000000-0000-4000-8000-000000000000", "'; DROP TABLE users", "\x00", None, 7]
)
def test_a_forged_message_does_nothing(ordered, far_side, message):
    order = ordered()
    drive()
    before = len(far_side.calls())
    advance(message)
    advance(str(step_of(order).pk))
    assert len(far_side.calls()) == before
    assert fresh(order).state == "completed"


def test_a_message_for_another_step_wakes_the_worker_for_what_is_due(ordered):
    order = ordered()
    advance(str(uuid4()))
    assert fresh(order).state == "completed"


@pytest.mark.django_db(transaction=True)
def test_the_heartbeat_keeps_a_step_alive_for_longer_than_its_lease(ordered, far_side, settings):
    settings.LEASE_SECONDS = 1
    order = ordered(("Making it", "fake", {"seconds": 3}))
    execution.work()
    step = step_of(order)
    assert (step.state, step.attempt) == ("succeeded", 1)
    assert step.heartbeat_at > step.claimed_at


@pytest.mark.django_db(transaction=True)
def test_who_cannot_renew_stops_by_himself_and_writes_nothing(ordered, far_side, settings):
    settings.LEASE_SECONDS = 1
    order = ordered(("Making it", "fake", {"hold": "never"}))
    worker = threading.Thread(target=execute_and_close, args=(claims.claim(),))
    worker.start()
    with connection.cursor() as cursor:
        cursor.execute("UPDATE provisioning_step SET lease_token = nextval('provisioning_lease')")
    worker.join(timeout=5)
    assert not worker.is_alive()
    step = step_of(order)
    assert (step.state, step.error, far_side.live()) == ("running", "", [])


def execute_and_close(step):
    execution.execute(step)
    connection.close()
