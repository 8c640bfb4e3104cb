"""What operators may do with runs, at every point of a run's life."""

from datetime import timedelta

import pytest
from django.core.exceptions import PermissionDenied
from django.utils import timezone

import orders.services as orders
import provisioning.services as provisioning
from core.models import Event
from core.problems import Conflict, Invalid
from core.states import IllegalMove
from orders.models import Order
from provisioning.models import Breaker, ManualTask, Run, Step, StepAttempt
from provisioning.services import claims, execution
from provisioning.services.watching import Wanted, matching
from tests.provisioning.engine import BLIND, STUCK, drive, fresh, lose, run_of, silence, step_of


def agree(step, **inputs):
    """Let the far side do from now on what `inputs` say."""
    Step.objects.filter(pk=step.pk).update(inputs=inputs)


def ended(order):
    """The states in which order, run and service have ended."""
    order = fresh(order)
    return order.state, run_of(order).state, fresh(order.instance).state


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
        assert run_of(stuck).state == "compensating"
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

    def test_a_failed_order_is_decided_again_and_begun_anew(self, org, ordered, far_side):
        order = ordered(("one", "bare", {"refuses": True}))
        drive()
        failed = run_of(order)
        assert ended(order) == ("failed", "compensated", "failed")
        again = provisioning.retry_run(failed, actor=org.curator)
        assert again.pk != failed.pk
        assert (again.state, fresh(order).state) == ("running", "fulfilling")
        agree(again.steps.get())
        drive()
        assert ended(order) == ("completed", "succeeded", "active")
        with pytest.raises(Conflict, match="nothing to try again"):
            provisioning.retry_run(failed, actor=org.curator)

    def test_an_order_whose_name_was_given_away_is_not_begun_anew(self, org, ordered):
        order = ordered(("one", "bare", {"refuses": True}))
        drive()
        other = ordered(("one", "manual", {}))
        Order.objects.filter(pk=other.pk).update(name=order.name)
        other.instance.name = order.name
        other.instance.save(update_fields=["name"])
        with pytest.raises(Conflict):
            provisioning.retry_run(run_of(order), actor=org.curator)
        assert ended(order) == ("failed", "compensated", "failed")


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
        assert step_of(blind, "two").error == "Looked again: It is not there."

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
