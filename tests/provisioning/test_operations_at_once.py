"""Operators and workers who act at the same moment: one of both wins, and nothing is done twice."""

import pytest

import provisioning.services as provisioning
from core.problems import Conflict
from core.states import IllegalMove
from provisioning.models import Step
from provisioning.services import claims, execution
from tests.provisioning.engine import drive, fresh, place, run_of, step_of
from tests.threads import together

pytestmark = pytest.mark.django_db(transaction=True)
ROUNDS = 15
LOST = (Conflict, IllegalMove)


def claimed_and_done(step):
    """Take the step as a worker does, and do it; tell whether it was to be had."""
    claimed = claims.claim(step.pk)
    if claimed:
        execution.execute(claimed)
    return claimed is not None


@pytest.fixture
def again(ordered):
    """Order the same service once more."""
    first = ordered(("one", "bare", {}), ("two", "bare", {}))

    def order():
        return place(first.plan.version.offering, first.requester)

    return order


def test_a_step_is_left_out_or_done_but_not_both(org, again, far_side):
    for _ in range(ROUNDS):
        order = again()
        step = step_of(order, "one")
        skipped, done = together(
            lambda step=step: provisioning.skip_step(step, "Not needed.", actor=org.curator),
            lambda step=step: claimed_and_done(step),
        )
        assert isinstance(skipped, LOST) or not done
        drive()
        assert (fresh(order).state, run_of(order).state) == ("completed", "succeeded")
        made = [call[2] for call in far_side.calls("start", order.instance_id)]
        assert made == (["one", "two"] if done else ["two"])


def test_a_run_is_abandoned_or_goes_on_but_not_both(org, again, far_side):
    for _ in range(ROUNDS):
        order = again()
        step = step_of(order, "one")
        abandoned, _ = together(
            lambda order=order: provisioning.abandon_run(run_of(order), "Enough.", actor=org.curator),
            lambda step=step: claimed_and_done(step),
        )
        drive()
        if isinstance(abandoned, LOST):
            assert run_of(order).state == "succeeded"
        else:
            assert run_of(order).state == "abandoned"
            assert not run_of(order).steps.filter(state__in=Step.WORKABLE).exists()


def test_a_run_is_undone_with_whatever_the_worker_just_made(org, again, far_side):
    for _ in range(ROUNDS):
        order = again()
        step = step_of(order, "one")
        undone, _ = together(
            lambda order=order: provisioning.undo_run(run_of(order), "Wrong.", actor=org.curator),
            lambda step=step: claimed_and_done(step),
        )
        assert not isinstance(undone, Exception)
        drive()
        assert run_of(order).state == "compensated"
        assert far_side.live(order.instance_id) == []


def test_of_two_operators_who_try_again_one_does(org, ordered, far_side):
    for _ in range(ROUNDS // 3):
        order = ordered(("one", "bare", {"refuses": True}, {"on_failure": "wait"}))
        drive()
        tried = together(
            lambda order=order: provisioning.retry_run(run_of(order), actor=org.curator),
            lambda order=order: provisioning.retry_run(run_of(order), actor=org.curator2),
        )
        assert sum(isinstance(one, LOST) for one in tried) == 1
        drive()
        assert len(far_side.calls("start", order.instance_id)) == 2
