"""The life of a service after its delivery: it is changed, removed, made again; with a far side that fails as told."""

import pytest

import catalog.services as catalog
import orders.services as orders
from catalog.models import OfferingVersion, WorkflowStep
from core.models import Event
from core.problems import Conflict
from core.states import IllegalMove
from orders.models import Order
from provisioning.models import Step
from provisioning.services import abandon_run, claims, execution, retry_run
from tests.factories import published_offering, wanted_body
from tests.provisioning.engine import drive, fresh, place, run_of
from tests.threads import together

FORM = {
    "type": "object",
    "properties": {
        "size": {"type": "string", "title": "Size", "default": "10"},
        "note": {"type": "string", "title": "Note", "maxLength": 40},
    },
}
TWO = [
    {"name": "Making it", "connector": "bare", "inputs": {"value": "${parameters.size}"}},
    {"name": "Naming it", "connector": "bare"},
]


@pytest.fixture
def offering(org, far_side):
    """What is made in two steps; the first can be changed in size."""
    return published_offering(org, "space", steps=TWO, form=FORM)


@pytest.fixture
def service(org, offering):
    """One that was delivered."""
    order = place(offering, org.business)
    drive()
    return fresh(order).instance


def change(service, actor=None, **wanted):
    """Order a change of a service."""
    asked = orders.WantedChange("modify", str(service.pk), **wanted)
    return orders.place_change(asked, actor=actor or service.owner).order


def remove(service, actor=None):
    """Order the removal of a service."""
    return orders.place_change(orders.WantedChange("delete", str(service.pk)), actor=actor or service.owner).order


def value_of(far_side, service):
    """What the far side says that the service is like."""
    return (far_side.folder / f"value-{service.pk}").read_text()


def test_a_change_brings_the_far_side_and_then_the_service_in_line(service, far_side):
    order = change(service, plan="space/medium", parameters={"size": "20"})
    assert (order.state, fresh(service).state) == ("fulfilling", "updating")
    assert fresh(service).parameters == {"size": "10"}, "in force is what was, until the change is done"
    drive()
    changed = fresh(service)
    assert (fresh(order).state, changed.state) == ("completed", "active")
    assert (changed.plan.slug, changed.parameters) == ("medium", {"size": "20"})
    assert {"Making_it", "Naming_it"} <= set(changed.outputs), "what was known stays known"
    assert changed.outputs["value"] == "20"
    assert value_of(far_side, service) == "20"
    assert fresh(order).completed_at > fresh(order).created_at
    assert [call[2] for call in far_side.calls("update")] == ["Making it", "Naming it"]
    assert len(far_side.live(service.pk)) == 2


def test_a_change_costs_what_there_is_afterwards_and_nothing_once(service):
    order = change(service, plan="space/medium")
    assert (order.monthly, order.one_off, order.name) == (76, 0, service.name)
    assert (order.cost_center, order.beneficiary) == (service.cost_center, service.owner)
    first = Order.objects.get(pk=service.order_ref)
    assert (order.purpose, order.data_classification) == (first.purpose, first.data_classification)


def test_a_second_change_begins_where_the_first_ended(service, far_side):
    change(service, parameters={"size": "20"})
    drive()
    order = change(service, parameters={"note": "mine"})
    assert order.parameters == {"size": "20", "note": "mine"}
    drive()
    without = change(service, parameters={"note": None})
    assert without.parameters == {"size": "20"}
    drive()
    assert fresh(service).parameters == {"size": "20"}


def test_a_change_that_the_far_side_refuses_is_changed_back(service, far_side):
    change(service, parameters={"size": "20"})
    drive()
    order = change(service, plan="space/medium", parameters={"size": "too much"})
    drive()
    assert (fresh(order).state, run_of(order).state, run_of(order).kind) == ("failed", "compensated", "update")
    kept = fresh(service)
    assert (kept.state, kept.plan.slug, kept.parameters) == ("active", "small", {"size": "20"})
    assert value_of(far_side, service) == "20"
    assert far_side.calls("undo") == [], "a failed change never deletes"


def test_a_change_can_be_canceled_while_it_is_under_way(service, far_side):
    order = change(service, parameters={"size": "20"})
    execution.execute(claims.claim())
    assert value_of(far_side, service) == "20"
    orders.cancel(order, actor=service.owner)
    assert fresh(order).cancel_requested_at
    drive()
    assert (fresh(order).state, fresh(service).state) == ("canceled", "active")
    assert value_of(far_side, service) == "10"
    assert fresh(service).parameters == {"size": "10"}


def test_a_removal_takes_everything_away_last_first_and_frees_the_name(org, offering, service, far_side):
    order = remove(service)
    assert (order.state, fresh(service).state, order.monthly) == ("fulfilling", "retiring", 0)
    drive()
    assert (fresh(order).state, fresh(service).state, run_of(order).state) == ("completed", "retired", "succeeded")
    assert [call[2] for call in far_side.calls("undo")] == ["Naming it", "Making it"]
    assert far_side.live() == []
    body = wanted_body(offering, name=service.name)
    body.pop("action")
    assert orders.place(orders.Wanted(**body), actor=org.business).order.state == "fulfilling"


def test_a_removal_cannot_be_canceled(service):
    order = remove(service)
    with pytest.raises(Conflict, match="cannot be canceled"):
        orders.cancel(order, actor=service.owner)
    drive()
    assert fresh(order).state == "completed"


def test_of_what_left_nothing_anywhere_nothing_is_removed(org, far_side):
    steps = [{"name": "Making it", "connector": "bare", "when": "parameters.backup"}]
    service = place(published_offering(org, "rare", steps=steps), org.business).instance
    drive()
    assert fresh(service).state == "active"
    order = remove(service)
    assert (order.state, fresh(service).state) == ("completed", "retired")
    assert far_side.calls() == []
    with pytest.raises(Conflict):
        change(service, plan="rare/medium")


def test_what_cannot_be_removed_is_an_operators_affair_and_goes_on_when_he_says_so(org, far_side):
    offering = published_offering(
        org, "stuck", steps=[{"name": "Making it", "connector": "bare", "inputs": {"undo_refuses": True}}]
    )
    service = place(offering, org.business).instance
    drive()
    order = remove(service)
    drive()
    assert (fresh(order).state, fresh(service).state) == ("failed", "retiring")
    assert far_side.live(service.pk)
    far_side.open("undo")
    assert orders.try_again(order, actor=org.curator).state == "fulfilling"
    drive()
    assert (fresh(order).state, fresh(service).state) == ("completed", "retired")
    assert far_side.live() == []


def test_a_removal_that_was_given_up_is_a_failed_order(org, service, far_side):
    order = remove(service)
    abandon_run(run_of(order), "Cleared by hand.", actor=org.curator)
    assert (fresh(order).state, fresh(service).state) == ("failed", "failed")
    with pytest.raises(Conflict):
        orders.try_again(order, actor=org.curator)


@pytest.mark.django_db(transaction=True)
def test_of_ten_removals_and_a_change_at_once_one_wins_and_one_is_removed(service, far_side):
    outcomes = together(
        *[lambda: remove(service) for _ in range(10)], lambda: change(service, parameters={"size": "20"})
    )
    won = [one for one in outcomes if isinstance(one, Order)]
    lost = [one for one in outcomes if isinstance(one, Conflict)]
    assert (len(won), len(lost)) == (1, 10), outcomes
    assert {(one.code, one.retry_after is not None) for one in lost} == {("change-running", True)}
    drive()
    if won[0].action == "modify":
        assert fresh(service).state == "active"
        remove(service)
        drive()
    assert fresh(service).state == "retired"
    assert len(far_side.calls("undo")) == 2, "each of the two steps was undone once"
    assert Order.objects.filter(action="delete").count() == 1
    assert Event.objects.filter(name="serviceinstance.retired").count() == 1


@pytest.mark.django_db(transaction=True)
def test_changed_and_canceled_at_the_same_moment_one_of_both_comes_out(org, far_side):
    offering = published_offering(org, "one", steps=TWO[:1], form=FORM)
    service = place(offering, org.business).instance
    drive()
    was = "10"
    for number in range(50):
        wanted = str(100 + number)
        order = change(service, parameters={"size": wanted})
        step = claims.claim(Step.objects.get(run__order_ref=order.pk).pk)
        canceled, _ = together(
            lambda order=order: orders.cancel(order, actor=service.owner), lambda step=step: execution.execute(step)
        )
        drive()
        came_too_late = isinstance(canceled, IllegalMove)
        assert fresh(order).state == ("completed" if came_too_late else "canceled"), canceled
        was = wanted if came_too_late else was
        now = fresh(service)
        assert (now.state, now.parameters["size"], value_of(far_side, service)) == ("active", was, was)
    assert not Step.objects.filter(state__in=Step.WORKABLE).exists()


@pytest.fixture
def failed(org, far_side):
    """An order whose delivery failed and was undone."""
    steps = [
        {"name": "Making it", "connector": "bare"},
        {"name": "Moody", "connector": "fitful_bare", "max_attempts": 1},
    ]
    order = place(published_offering(org, "moody", steps=steps), org.business)
    execution.execute(claims.claim())
    far_side.set_mood("refuse")
    drive()
    order = fresh(order)
    assert (order.state, order.instance.state) == ("failed", "failed")
    return order


def test_a_failed_order_is_decided_again_and_delivered(org, failed, far_side):
    before = failed.decision_id
    assert orders.try_again(failed, actor=org.curator).state == "fulfilling"
    drive()
    order = fresh(failed)
    assert (order.state, order.instance.state) == ("completed", "active")
    assert order.decision_id != before
    assert len(far_side.live(order.instance_id)) == 2
    assert [run.state for run in order.instance.runs.order_by("created_at")] == ["compensated", "succeeded"]
    remove(order.instance)
    drive()
    assert far_side.live() == []


def test_from_the_operators_page_it_is_the_same(org, failed):
    assert retry_run(run_of(failed), actor=org.curator).state == "running"
    assert fresh(failed).state == "fulfilling"


def test_what_would_not_be_accepted_today_stays_failed_and_says_why(org, failed):
    catalog.pause(failed.plan.version.offering, "Out of order.", actor=org.curator)
    with pytest.raises(Conflict, match=r"Out of order\.") as refusal:
        orders.try_again(failed, actor=org.curator)
    assert refusal.value.code == "denied"
    assert (fresh(failed).state, fresh(failed.instance).state) == ("failed", "failed")


def test_a_name_that_was_given_away_meanwhile_stays_given_away(org, failed):
    body = wanted_body(failed.plan.version.offering, name=failed.name)
    body.pop("action")
    orders.place(orders.Wanted(**body), actor=org.business)
    with pytest.raises(Conflict, match="in use"):
        orders.try_again(failed, actor=org.curator)
    assert fresh(failed).state == "failed"


def test_what_was_canceled_is_not_tried_again(org, offering):
    order = place(offering, org.business)
    orders.cancel(order, actor=org.business)
    with pytest.raises(Conflict):
        orders.try_again(order, actor=org.curator)


def test_an_order_goes_on_as_its_version_says_though_a_new_one_is_published(org, offering, far_side):
    old = place(offering, org.business)
    execution.execute(claims.claim())
    draft = catalog.new_draft(offering, actor=org.curator)
    for step in WorkflowStep.objects.filter(version=draft):
        catalog.remove_part(step, actor=org.curator)
    catalog.save_part(WorkflowStep(version=draft, position=0, name="All in one", connector="bare"), actor=org.curator)
    catalog.publish(OfferingVersion.objects.get(pk=draft.pk), actor=org.curator2)
    offering.refresh_from_db()
    new = place(type(offering).objects.select_related("current_version").get(pk=offering.pk), org.business)
    drive()
    assert [fresh(order).state for order in (old, new)] == ["completed", "completed"]
    assert len(far_side.live(old.instance_id)) == 2
    assert far_side.live(new.instance_id) == [f"thing-{new.instance_id}-All_in_one"]
    assert fresh(old).content_hash != fresh(new).content_hash
    change(fresh(old).instance, plan="space/medium")
    drive()
    assert fresh(old.instance).plan.version_id == old.plan.version_id, "a change stays within the version"
    remove(fresh(old).instance)
    drive()
    assert far_side.live(old.instance_id) == []
