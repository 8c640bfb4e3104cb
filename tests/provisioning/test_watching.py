"""In which words operators learn why a run waits, and how back ends stand."""

from datetime import timedelta

import pytest
from django.utils import timezone

import orders.services as orders
import provisioning.services as provisioning
from core.problems import Conflict
from provisioning.models import Breaker, Run, Step
from provisioning.services import claims, execution
from provisioning.services.watching import TABS, Wanted, matching, standings, steps_in_hand
from provisioning.services.why import next_try, why
from tests.provisioning.engine import drive, lose, run_of, silence, step_of


def said(order):
    """The sentence that an operator reads about the run of `order`."""
    run = run_of(order)
    step = steps_in_hand([run]).get(run.pk)
    return why(run, step, standings().get(step.back_end) if step else None, timezone.now())


def tab_of(order):
    return [name for name in TABS if matching(Run.objects.filter(pk=run_of(order).pk), Wanted(tab=name)).exists()]


class TestBackEnds:
    def test_a_silent_back_end_is_tried_at_once_by_who_waits_longest(self, org, ordered, far_side):
        orders_of = [ordered(("one", "bare", {})) for _ in range(2)]
        waits_longest = step_of(orders_of[1], "one")
        Step.objects.filter(pk=waits_longest.pk).update(next_run_at=timezone.now() - timedelta(minutes=5))
        silence("bare")
        provisioning.try_now("bare", actor=org.curator)
        first = claims.claim(waits_longest.pk)
        assert first is not None
        assert claims.claim() is None
        execution.execute(first)
        assert drive() == 1

    def test_one_that_answers_need_not_be_tried(self, org, db):
        with pytest.raises(Conflict, match="as usual"):
            provisioning.try_now("bare", actor=org.curator)

    def test_how_it_stands_is_told_in_numbers(self, org, ordered, far_side):
        for _ in range(3):
            ordered(("one", "bare", {}))
        claims.claim()
        standing = standings()["bare"]
        assert (standing.calls, standing.waiting, standing.is_open) == (1, 2, False)
        drive()
        assert standings(with_usual=True)["bare"].usual_seconds >= 0
        silence("bare")
        standing = standings()["bare"]
        assert (standing.is_open, standing.failures, standing.last_error) == (True, 5, "Connection refused.")


class TestWhy:
    def test_a_worker_that_is_awaited_and_one_at_work(self, ordered):
        order = ordered(("one", "bare", {}))
        assert said(order).startswith("Waits for a worker since ")
        step = claims.claim()
        assert said(order).startswith("In progress since ")
        lose(step)
        assert said(order) == "Its worker was lost; another one takes it over."
        assert tab_of(order) == ["running"]

    def test_the_next_attempt_with_its_time_and_error(self, ordered):
        order = ordered(("one", "bare", {"fails": 9, "after": 120}))
        execution.execute(claims.claim())
        step = step_of(order, "one")
        at = timezone.localtime(step.next_run_at)
        assert (
            said(order)
            == f"Will be tried again at {at:%H:%M:%S} (attempt 2 of 5): The far side does not want it yet (1)."
        )
        assert next_try(step, None) == step.next_run_at

    def test_a_back_end_that_does_not_answer_or_takes_no_more(self, ordered, settings):
        order, other = ordered(("one", "bare", {})), ordered(("one", "bare", {}))
        settings.CONNECTORS = settings.CONNECTORS | {"bare": settings.CONNECTORS["bare"] | {"limit": 1}}
        step = claims.claim()
        waiting = other if step.run.instance_id == order.instance_id else order
        assert said(waiting) == "Waits for a place at bare, which takes 1 calls at a time."
        silence("bare")
        probe_at = timezone.localtime(Breaker.objects.get().probe_at)
        assert said(waiting) == f"Waits for bare, which does not answer; next try at {probe_at:%H:%M:%S}."
        assert next_try(step_of(waiting, "one"), standings()["bare"]) == Breaker.objects.get().probe_at

    def test_what_the_back_end_does_by_itself(self, ordered):
        order = ordered(("one", "bare", {"polls": 9}))
        execution.execute(claims.claim())
        assert said(order).startswith("bare works on it since ")

    def test_people_who_are_waited_for(self, ordered, held, stuck, blind):
        order = ordered(("by hand", "manual", {"due_hours": 2}))
        drive()
        assert said(order).startswith("Waits for a person: task “by hand”, due ")
        assert said(held) == "Failed; waits for an operator: The far side refuses it."
        assert said(stuck) == "Undoing failed; waits for an operator: The far side does not let it go."
        assert said(blind).startswith("Nobody can say whether it happened: The worker was lost")
        assert [tab_of(one) for one in (order, held, stuck, blind)] == [["running"], *[["operator"]] * 3]

    def test_how_it_ended(self, org, ordered, far_side):
        done, failed, canceled = ordered(("a", "bare", {})), ordered(("a", "bare", {"refuses": True})), ordered()
        orders.cancel(canceled, actor=canceled.requester)
        drive()
        assert said(done).startswith("Done after ")
        assert said(failed).endswith(": The far side refuses it.")
        assert [tab_of(one) for one in (done, failed, canceled)] == [["done"], ["failed"], ["done"]]


def test_the_step_at_which_each_run_stands_is_one_question(django_assert_num_queries, held, stuck, blind):
    runs = list(Run.objects.all())
    with django_assert_num_queries(1):
        found = steps_in_hand(runs)
    assert {step.state for step in found.values()} == {"failed", "compensation_failed", "outcome_unknown"}
