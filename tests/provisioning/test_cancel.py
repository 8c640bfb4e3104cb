"""Stopping an order at every point of its life, and undoing what a failed one had done."""

import pytest

import orders.services as orders
from core.states import IllegalMove
from provisioning.models import ManualTask, Step
from provisioning.services import claims, complete, execution, retry_run
from tests.provisioning.engine import drive, fresh, lose, make_due, place, run_of, step_of
from tests.threads import together

THREE = [("one", "fake", {}), ("two", "bare", {}), ("three", "bare", {})]


def cancel(order):
    return orders.cancel(order, actor=order.requester)


def ended(order):
    """The states in which order, run and service have ended."""
    order = fresh(order)
    return order.state, run_of(order).state, fresh(order.instance).state


CANCELED = ("canceled", "compensated", "retired")
FAILED = ("failed", "compensated", "failed")


def test_canceled_before_any_attempt_it_ends_at_once_and_nothing_is_called(ordered, far_side):
    order = ordered(*THREE)
    cancel(order)
    assert ended(order) == CANCELED
    assert drive() == 0
    assert far_side.calls() == []
    assert set(run_of(order).steps.values_list("state", flat=True)) == {"canceled"}


def test_canceled_between_two_steps_what_was_done_is_undone(ordered, far_side):
    order = ordered(*THREE)
    execution.execute(claims.claim())
    cancel(order)
    assert fresh(order).state == "fulfilling"
    assert fresh(order).cancel_requested_at
    drive()
    assert ended(order) == CANCELED
    assert [call[:3] for call in far_side.calls("undo")] == [["undo", str(order.instance_id), "one"]]
    assert far_side.live() == []


def test_canceled_while_a_worker_is_at_a_step_its_result_is_undone(ordered, far_side):
    order = ordered(*THREE)
    step = claims.claim()
    cancel(order)
    assert drive() == 0
    execution.execute(step)
    assert far_side.live(order.instance_id)
    drive()
    assert ended(order) == CANCELED
    assert far_side.live() == []


def test_canceled_while_an_attempt_fails_that_step_is_undone_too(ordered, far_side):
    order = ordered(("Making it", "fake", {"fails": 9}))
    step = claims.claim()
    cancel(order)
    execution.execute(step)
    assert fresh(step).state == "canceled"
    drive()
    assert ended(order) == CANCELED
    assert (len(far_side.calls("start")), len(far_side.calls("undo"))) == (1, 1)


def test_canceled_while_a_step_waits_for_its_next_attempt(ordered, far_side):
    order = ordered(("Making it", "fake", {"fails": 9}))
    execution.execute(claims.claim())
    cancel(order)
    drive()
    assert ended(order) == CANCELED
    assert len(far_side.calls("start")) == 1


def test_canceled_while_the_back_end_works_by_itself(ordered, far_side):
    order = ordered(("Making it", "fake", {"polls": 9}))
    execution.execute(claims.claim())
    cancel(order)
    drive()
    assert ended(order) == CANCELED
    assert far_side.calls("poll") == []


def test_canceled_while_a_worker_asks_how_far_it_got(ordered, far_side):
    order = ordered(("Making it", "fake", {"polls": 9}))
    execution.execute(claims.claim())
    make_due()
    asking = claims.claim()
    cancel(order)
    execution.execute(asking)
    assert fresh(asking).state == "canceled"
    drive()
    assert ended(order) == CANCELED


def test_canceled_after_its_worker_was_lost(ordered, far_side):
    order = ordered(*THREE)
    step = claims.claim()
    cancel(order)
    lose(step)
    drive()
    assert ended(order) == CANCELED
    assert (len(far_side.calls("start")), len(far_side.calls("undo"))) == (0, 1)


def test_canceled_while_it_waits_for_a_person_his_task_is_gone(org, ordered, far_side):
    order = ordered(("one", "fake", {}), ("by hand", "manual", {}), ("three", "bare", {}))
    drive()
    task = ManualTask.objects.get()
    cancel(order)
    assert fresh(task).state == "canceled"
    with pytest.raises(IllegalMove):
        complete(task, {}, actor=org.curator)
    drive()
    assert ended(order) == CANCELED
    assert far_side.live() == []


def test_canceled_while_a_task_is_about_to_be_given_nobody_gets_it(ordered, far_side):
    order = ordered(("by hand", "manual", {}))
    step = claims.claim()
    cancel(order)
    execution.execute(step)
    assert not ManualTask.objects.filter(state="open").exists()
    drive()
    assert ended(order) == CANCELED


def test_what_a_person_had_done_a_person_takes_back(org, ordered, far_side):
    order = ordered(("by hand", "manual", {}), ("two", "fake", {"fails": 9}))
    drive_to_task(org)
    execution.execute(claims.claim())
    cancel(order)
    drive()
    back = ManualTask.objects.get(state="open")
    assert back.title.startswith("Take back")
    assert fresh(order).state == "fulfilling"
    complete(back, {}, actor=org.curator2)
    assert ended(order) == CANCELED


def drive_to_task(org):
    """Do what is due up to the first task, and that."""
    execution.execute(claims.claim())
    complete(ManualTask.objects.get(), {}, actor=org.curator)


def test_what_is_done_cannot_be_canceled(ordered):
    order = ordered()
    drive()
    with pytest.raises(IllegalMove):
        cancel(order)
    assert ended(order) == ("completed", "succeeded", "active")


def test_what_is_being_canceled_cannot_be_canceled_again(ordered):
    order = ordered(*THREE)
    execution.execute(claims.claim())
    cancel(order)
    with pytest.raises(IllegalMove):
        cancel(order)
    drive()
    assert ended(order) == CANCELED
    with pytest.raises(IllegalMove):
        cancel(order)


def test_a_failed_run_is_undone_last_step_first_and_each_step_once(ordered, far_side):
    steps = [
        ("one", "fake", {}),
        ("two", "bare", {"undo_fails": 2}),
        ("three", "bare", {"refuses": True}),
        ("four", "bare", {}),
    ]
    order = ordered(*steps)
    drive()
    assert ended(order) == FAILED
    assert [call[2] for call in far_side.calls("undo")] == ["three", "two", "two", "two", "one"]
    assert far_side.live() == []
    states = dict(run_of(order).steps.filter(kind="do").values_list("name", "state"))
    assert states == {"one": "compensated", "two": "compensated", "three": "failed", "four": "skipped"}


def test_a_worker_lost_between_two_undone_steps_undoes_nothing_twice(ordered, far_side):
    order = ordered(("one", "fake", {}), ("two", "bare", {}), ("three", "bare", {"refuses": True}))
    for _ in range(4):  # one, two, three, and the undoing of three
        execution.execute(claims.claim())
    lose(claims.claim())
    drive()
    assert ended(order) == FAILED
    assert [call[2] for call in far_side.calls("undo")] == ["three", "two", "one"]


def test_what_cannot_be_undone_is_an_operators_affair_and_can_be_tried_again(org, ordered, far_side):
    order = ordered(("one", "fake", {"undo_refuses": True}), ("two", "bare", {"refuses": True}))
    drive()
    assert (fresh(order).state, run_of(order).state) == ("failed", "compensation_failed")
    assert far_side.live(order.instance_id)
    far_side.open("undo")
    retry_run(run_of(order), actor=org.curator)
    drive()
    assert run_of(order).state == "compensated"
    assert far_side.live() == []


def test_where_an_undoing_has_an_unknown_end_an_operator_looks(org, ordered, far_side):
    order = ordered(("one", "forgetful", {}), ("two", "bare", {"refuses": True}))
    for _ in range(3):
        execution.execute(claims.claim())
    lose(claims.claim())
    drive()
    assert run_of(order).state == "compensation_failed"
    retry_run(run_of(order), actor=org.curator)
    drive()
    assert ended(order)[1] == "compensated"


@pytest.mark.django_db(transaction=True)
def test_canceled_and_done_at_the_same_moment_one_of_both_comes_out(ordered, far_side):
    first = ordered(("one", "bare", {}))
    outcomes = []
    for round_number in range(50):
        order = first if round_number == 0 else place(first.plan.version.offering, first.requester)
        step = claims.claim(step_of(order, "one").pk)
        canceled, _ = together(lambda order=order: cancel(order), lambda step=step: execution.execute(step))
        drive()
        outcome = ended(order)
        assert outcome == (("completed", "succeeded", "active") if isinstance(canceled, IllegalMove) else CANCELED)
        assert bool(far_side.live(order.instance_id)) == (outcome[2] == "active")
        assert len(far_side.calls("undo", order.instance_id)) == (outcome[2] != "active")
        outcomes.append(outcome[0])
    assert not Step.objects.filter(state__in=Step.WORKABLE).exists()
    assert len(outcomes) == 50
