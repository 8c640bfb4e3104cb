"""What operators may do with runs, at every point of a run's life; and in which words they learn why it waits."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.db import connection
from django.utils import timezone

import orders.services as orders
import provisioning.services as provisioning
from core.models import Event
from core.problems import Conflict, Invalid
from core.states import IllegalMove
from provisioning.models import Breaker, ManualTask, Run, Step, StepAttempt
from provisioning.services import breakers, claims, execution
from provisioning.services.watching import TABS, Wanted, matching, standings, steps_in_hand
from provisioning.services.why import next_try, why
from tests.provisioning.engine import drive, fresh, lose, run_of, step_of

WAITS = {"on_failure": "wait"}
HELD = [("one", "bare", {}), ("two", "bare", {"refuses": True}, WAITS), ("three", "bare", {})]
STUCK = [("one", "bare", {"undo_refuses": True}), ("two", "bare", {"refuses": True})]
BLIND = [("one", "bare", {}), ("two", "forgetful", {}), ("three", "bare", {})]


def agree(step, **inputs):
    """Let the far side do from now on what `inputs` say."""
    Step.objects.filter(pk=step.pk).update(inputs=inputs)


def ended(order):
    order = fresh(order)
    return order.state, run_of(order).state, fresh(order.instance).state


def said(order):
    """The sentence that an operator reads about the run of `order`."""
    run = run_of(order)
    step = steps_in_hand([run]).get(run.pk)
    return why(run, step, standings().get(step.back_end) if step else None, timezone.now())


def tab_of(order):
    return [name for name in TABS if matching(Run.objects.filter(pk=run_of(order).pk), Wanted(tab=name)).exists()]


@pytest.fixture
def held(ordered, far_side):
    """An order whose second step has failed and waits for an operator; what the first made is kept."""
    order = ordered(*HELD)
    drive()
    assert step_of(order, "two").state == "failed"
    return order


@pytest.fixture
def stuck(ordered, far_side):
    """An order whose undoing has failed."""
    order = ordered(*STUCK)
    drive()
    assert run_of(order).state == "compensation_failed"
    return order


@pytest.fixture
def blind(ordered, far_side):
    """An order of which nobody knows whether its second step happened."""
    order = ordered(*BLIND)
    execution.execute(claims.claim())
    lose(claims.claim())
    drive()
    assert step_of(order, "two").state == "outcome_unknown"
    return order


class TestRetry:
    def test_a_held_run_goes_on_from_the_failed_step_with_all_its_attempts(self, org, held, far_side):
        agree(step_of(held, "two"))
        provisioning.retry_run(run_of(held), actor=org.curator)
        again = step_of(held, "two")
        assert (again.state, again.attempt, again.deadline_at) == ("ready", 0, None)
        drive()
        assert ended(held) == ("completed", "succeeded", "active")
        assert [call[2] for call in far_side.calls("start")] == ["one", "two", "two", "three"]

    def test_what_is_tried_again_and_undone_before_its_attempt_is_undone_with_the_rest(self, org, held, far_side):
        provisioning.retry_run(run_of(held), actor=org.curator)
        provisioning.undo_run(run_of(held), "No longer wanted.", actor=org.curator)
        drive()
        assert [call[2] for call in far_side.calls("undo")] == ["two", "one"]
        assert far_side.live() == []

    def test_a_step_that_waits_for_its_next_attempt_is_due_now(self, org, ordered, far_side):
        order = ordered(("one", "bare", {"fails": 1, "after": 3000}))
        execution.execute(claims.claim())
        assert claims.claim() is None
        provisioning.retry_run(run_of(order), actor=org.curator)
        execution.execute(claims.claim())
        assert ended(order)[0] == "completed"

    def test_a_step_that_waits_for_a_silent_back_end_is_its_probe(self, org, ordered, far_side):
        order = ordered(("one", "bare", {}))
        silence("bare")
        assert claims.claim() is None
        provisioning.retry_run(run_of(order), actor=org.curator)
        execution.execute(claims.claim())
        assert ended(order)[0] == "completed"
        assert not Breaker.objects.filter(state="open").exists()

    def test_what_could_not_be_undone_is_undone_once_the_far_side_lets_go(self, org, stuck, far_side):
        far_side.open("undo")
        provisioning.retry_run(run_of(stuck), actor=org.curator)
        assert tab_of(stuck) == ["undoing"]
        drive()
        assert ended(stuck) == ("failed", "compensated", "failed")
        assert far_side.live() == []

    def test_pressed_twice_it_is_tried_once(self, org, stuck, far_side):
        far_side.open("undo")
        tried = len(far_side.calls("undo"))
        provisioning.retry_run(run_of(stuck), actor=org.curator)
        with pytest.raises(Conflict):
            provisioning.retry_run(run_of(stuck), actor=org.curator)
        drive()
        assert len(far_side.calls("undo")) == tried + 1

    def test_what_needs_a_decision_or_is_under_way_is_not_tried_again(self, org, blind, ordered):
        with pytest.raises(Conflict, match="say so first"):
            provisioning.retry_run(run_of(blind), actor=org.curator)
        fresh_one = ordered(("one", "bare", {}))
        with pytest.raises(Conflict, match="waits for a worker"):
            provisioning.retry_run(run_of(fresh_one), actor=org.curator)
        claims.claim()
        with pytest.raises(Conflict, match="right now"):
            provisioning.retry_run(run_of(fresh_one), actor=org.curator)

    def test_what_has_ended_well_or_was_canceled_is_not_tried_again(self, org, ordered):
        done, canceled = ordered(("one", "bare", {})), ordered(("one", "bare", {}))
        orders.cancel(canceled, actor=canceled.requester)
        drive()
        for order in (done, canceled):
            with pytest.raises(Conflict, match="nothing to try again"):
                provisioning.retry_run(run_of(order), actor=org.curator)


class TestSkip:
    def test_the_run_goes_on_without_the_failed_step(self, org, held, far_side):
        provisioning.skip_step(step_of(held, "two"), "Done by hand.", actor=org.curator)
        drive()
        assert ended(held) == ("completed", "succeeded", "active")
        assert step_of(held, "two").state == "skipped"
        event = Event.objects.get(name="step.skipped")
        assert (event.actor, event.facts["reason"]) == ("Tom Lund", "Done by hand.")

    def test_what_a_skipped_step_may_have_left_is_undone_with_the_rest(self, org, held, far_side):
        agree(step_of(held, "three"), refuses=True)
        provisioning.skip_step(step_of(held, "two"), "Not needed.", actor=org.curator)
        drive()
        assert ended(held)[1] == "compensated"
        assert [call[2] for call in far_side.calls("undo")] == ["three", "two", "one"]

    def test_the_last_step_left_out_is_the_end(self, org, ordered, far_side):
        order = ordered(("one", "bare", {"fails": 9}))
        execution.execute(claims.claim())
        provisioning.skip_step(step_of(order, "one"), "It is there already.", actor=org.curator)
        assert ended(order) == ("completed", "succeeded", "active")

    def test_an_undoing_that_failed_can_be_left_out(self, org, stuck, far_side):
        provisioning.skip_step(step_of(stuck, "one", "compensate"), "Removed by hand.", actor=org.curator)
        assert ended(stuck) == ("failed", "compensated", "failed")
        assert not Step.objects.orphans().exists()

    def test_a_task_that_is_left_out_is_nobodys_any_more(self, org, ordered):
        order = ordered(("by hand", "manual", {}), ("two", "bare", {}))
        drive()
        provisioning.skip_step(step_of(order, "by hand"), "Was done before.", actor=org.curator)
        assert ManualTask.objects.get().state == "canceled"
        with pytest.raises(IllegalMove):
            provisioning.complete(ManualTask.objects.get(), {}, actor=org.curator)
        drive()
        assert ended(order)[0] == "completed"

    def test_never_while_a_worker_holds_it(self, org, ordered):
        order = ordered(("one", "bare", {}))
        step = claims.claim()
        with pytest.raises(Conflict, match="in progress"):
            provisioning.skip_step(step, "Impatience.", actor=org.curator)
        execution.execute(step)
        assert ended(order)[0] == "completed"

    def test_what_failed_before_the_undoing_began_stays_failed(self, org, stuck):
        with pytest.raises(Conflict):
            provisioning.skip_step(step_of(stuck, "two"), "No.", actor=org.curator)

    @pytest.mark.parametrize("reason", ["", "  ", "x" * 501])
    def test_a_reason_is_needed(self, org, held, reason):
        with pytest.raises(Invalid):
            provisioning.skip_step(step_of(held, "two"), reason, actor=org.curator)

    def test_nobody_leaves_out_a_step_of_his_own_service(self, org, far_side, held):
        held.instance.owner = org.curator
        held.instance.save(update_fields=["owner"])
        with pytest.raises(PermissionDenied):
            provisioning.skip_step(step_of(held, "two"), "I want it now.", actor=org.curator)
        provisioning.skip_step(step_of(held, "two"), "Looked at it.", actor=org.curator2)


class TestAbandon:
    def test_an_open_run_is_given_up_and_its_tasks_are_gone(self, org, ordered, far_side):
        order = ordered(("one", "bare", {}), ("by hand", "manual", {}), ("three", "bare", {}))
        drive()
        provisioning.abandon_run(run_of(order), "The supplier is bankrupt.", actor=org.curator)
        assert (run_of(order).state, fresh(order.instance).state) == ("abandoned", "failed")
        assert ManualTask.objects.get().state == "canceled"
        assert set(run_of(order).steps.values_list("state", flat=True)) == {"succeeded", "canceled"}
        assert drive() == 0
        event = Event.objects.get(name="run.abandoned")
        assert event.facts["reason"] == "The supplier is bankrupt."

    def test_what_cannot_be_undone_leaves_the_orphans(self, org, stuck):
        assert Step.objects.orphans().exists()
        provisioning.abandon_run(run_of(stuck), "Removed by hand.", actor=org.curator)
        assert not Step.objects.orphans().exists()
        assert ended(stuck) == ("failed", "abandoned", "failed")

    def test_not_while_a_worker_is_at_it_but_after_it_was_lost(self, org, ordered, far_side):
        order = ordered(("one", "bare", {}))
        step = claims.claim()
        with pytest.raises(Conflict, match="right now"):
            provisioning.abandon_run(run_of(order), "Enough.", actor=org.curator)
        lose(step)
        provisioning.abandon_run(run_of(order), "Enough.", actor=org.curator)
        assert StepAttempt.objects.get().outcome == "lost"
        execution.execute(step)  # the worker lives after all, and learns that it has lost the step
        assert step_of(order, "one").state == "canceled"

    def test_what_is_over_cannot_be_abandoned(self, org, ordered):
        order = ordered(("one", "bare", {}))
        drive()
        with pytest.raises(Conflict, match="nothing to abandon"):
            provisioning.abandon_run(run_of(order), "Too late.", actor=org.curator)

    def test_a_change_that_is_given_up_leaves_the_service_in_use(self, org, ordered, far_side):
        order = ordered(("one", "fake", {}))
        drive()
        provisioning.rotate(fresh(order.instance), actor=org.business)
        provisioning.abandon_run(run_of(order), "Keep the old one.", actor=org.curator)
        assert (run_of(order).state, fresh(order.instance).state) == ("abandoned", "active")


class TestUndo:
    def test_a_held_run_is_undone_and_says_why(self, org, held, far_side):
        provisioning.undo_run(run_of(held), "It will never work.", actor=org.curator)
        drive()
        assert ended(held) == ("failed", "compensated", "failed")
        assert run_of(held).reason == "It will never work."
        assert [call[2] for call in far_side.calls("undo")] == ["two", "one"]
        assert far_side.live() == []

    def test_a_step_that_a_worker_is_at_ends_first(self, org, ordered, far_side):
        order = ordered(("one", "bare", {}), ("two", "bare", {}))
        step = claims.claim()
        provisioning.undo_run(run_of(order), "Wrong plan.", actor=org.curator)
        assert drive() == 0
        execution.execute(step)
        drive()
        assert ended(order)[1] == "compensated"
        assert far_side.live() == []

    def test_what_is_being_undone_is_not_undone_again(self, org, stuck):
        with pytest.raises(Conflict):
            provisioning.undo_run(run_of(stuck), "Again.", actor=org.curator)


class TestUnknown:
    def test_it_happened_and_the_run_goes_on_with_what_it_gave(self, org, blind, far_side):
        step = step_of(blind, "two")
        provisioning.resolve_unknown(
            step, "happened", outputs={"address": "10.0.0.7"}, reason="I saw it.", actor=org.curator
        )
        drive()
        assert ended(blind) == ("completed", "succeeded", "active")
        assert fresh(blind.instance).outputs["address"] == "10.0.0.7"
        assert "two" not in [call[2] for call in far_side.calls("start")]

    def test_it_did_not_and_is_tried_once_more_even_if_all_attempts_are_used_up(self, org, blind, far_side):
        Step.objects.filter(pk=step_of(blind, "two").pk).update(attempt=5, max_attempts=5)
        provisioning.resolve_unknown(step_of(blind, "two"), "did_not", reason="It is not there.", actor=org.curator)
        drive()
        assert ended(blind)[0] == "completed"
        assert [call[2] for call in far_side.calls("start")].count("two") == 1

    def test_look_again_asks_the_back_end_and_makes_nothing(self, org, blind, far_side):
        (far_side.folder / f"thing-{blind.instance_id}-two").touch()
        provisioning.resolve_unknown(step_of(blind, "two"), "look_again", reason="Let us see.", actor=org.curator)
        drive()
        assert ended(blind)[0] == "completed"
        assert [call[2] for call in far_side.calls("describe")] == ["two"]
        assert "two" not in [call[2] for call in far_side.calls("start")]

    def test_looked_at_in_vain_it_stays_with_the_operator(self, org, blind, far_side):
        provisioning.resolve_unknown(step_of(blind, "two"), "look_again", reason="Let us see.", actor=org.curator)
        drive()
        assert step_of(blind, "two").state == "outcome_unknown"
        assert said(blind) == "Nobody can say whether it happened: Looked again: It is not there."

    def test_who_was_slower_is_told(self, org, blind):
        step = step_of(blind, "two")
        provisioning.resolve_unknown(step, "did_not", reason="No.", actor=org.curator)
        with pytest.raises(Conflict, match="nobody asks"):
            provisioning.resolve_unknown(step, "happened", reason="Yes.", actor=org.curator2)

    @pytest.mark.parametrize(
        "outputs",
        [{"a b": "x"}, {"x" * 61: "x"}, {"x": ["list"]}, {"x": "y" * 501}, {f"n{number}": 1 for number in range(41)}],
    )
    def test_outputs_are_short_values_by_name(self, org, blind, outputs):
        with pytest.raises(Invalid):
            provisioning.resolve_unknown(
                step_of(blind, "two"), "happened", outputs=outputs, reason="x", actor=org.curator
            )

    def test_only_three_answers_are_known(self, org, blind):
        with pytest.raises(Invalid, match="one of"):
            provisioning.resolve_unknown(step_of(blind, "two"), "perhaps", reason="x", actor=org.curator)


class TestMany:
    def test_all_that_match_are_tried_again_and_the_rest_is_named(self, org, ordered, far_side):
        stuck = [ordered(*STUCK) for _ in range(3)]
        blind = ordered(*BLIND)
        drive_blind(blind)
        far_side.open("undo")
        done = provisioning.retry_many(Wanted(tab="operator"), actor=org.curator)
        assert done.retried == 3
        assert [pk for pk, _ in done.refused] == [run_of(blind).pk]
        drive()
        assert {run_of(order).state for order in stuck} == {"compensated"}

    def test_filters_narrow_by_back_end_state_offering_and_error(self, org, held, stuck, far_side):
        runs = Run.objects.visible_to(org.curator)
        offering = held.plan.version.offering.slug
        for wanted, found in [
            (Wanted(back_end="bare"), {held, stuck}),
            (Wanted(back_end="elsewhere"), set()),
            (Wanted(connector="bare", state="running"), {held}),
            (Wanted(offering=offering), {held}),
            (Wanted(text="does not let it go"), {stuck}),
            (Wanted(text=str(stuck.number)), {stuck}),
            (Wanted(text=stuck.name.upper()), {stuck}),
            (Wanted(since=timezone.now() + timedelta(hours=1)), set()),
        ]:
            assert set(matching(runs, wanted)) == {run_of(order) for order in found}, wanted

    def test_there_is_a_limit(self, org, ordered, far_side):
        for _ in range(3):
            ordered(*STUCK)
        drive()
        assert provisioning.retry_many(Wanted(tab="operator"), actor=org.curator, limit=2).retried == 2


def drive_blind(order):
    """Let the worker be lost over the second step, and all else be done."""
    execution.execute(claims.claim(step_of(order, "one").pk))
    lose(claims.claim(step_of(order, "two").pk))
    drive()


@pytest.mark.parametrize("username", ["business", "service_owner", "auditor", "finance"])
def test_only_operators_operate(org, held, username):
    person, run, step = org.people[username], run_of(held), step_of(held, "two")
    for act in (
        lambda: provisioning.retry_run(run, actor=person),
        lambda: provisioning.skip_step(step, "x", actor=person),
        lambda: provisioning.abandon_run(run, "x", actor=person),
        lambda: provisioning.undo_run(run, "x", actor=person),
        lambda: provisioning.resolve_unknown(step, "did_not", reason="x", actor=person),
        lambda: provisioning.retry_many(Wanted(), actor=person),
        lambda: provisioning.try_now("bare", actor=person),
    ):
        with pytest.raises(PermissionDenied):
            act()


def silence(back_end, seconds=600):
    """Let `back_end` be one that does not answer, tried again in `seconds`."""
    for _ in range(breakers.FAILURES):
        breakers.note_failure(back_end, "Connection refused.")
    Breaker.objects.filter(back_end=back_end).update(probe_at=timezone.now() + timedelta(seconds=seconds))


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
    assert connection.in_atomic_block
