"""Orders at a service broker, through the engine: what is left there in the end, whatever the broker does."""

from datetime import timedelta

import pytest

import catalog.services as catalog
import orders.services as orders
from catalog.models import BackEnd
from orders.models import Order
from provisioning.connectors import base
from provisioning.models import Breaker, Secret, Step, StepLine
from provisioning.services import claims, execution, reveal, rotate
from provisioning.services.runs import ClockTimestamp
from tests.factories import published_offering
from tests.far_side.broker import CREDENTIALS, PASSWORD, SERVICE, SMALL, USERNAME, RealBroker, Say, ScriptedBroker
from tests.provisioning.engine import drive, fresh, lose, make_due, numbers, place, run_of, step_of


@pytest.fixture(autouse=True)
def _loopback(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]


@pytest.fixture
def broker():
    serving = ScriptedBroker()
    yield serving
    serving.close()


@pytest.fixture
def real():
    serving = RealBroker(is_async=True)
    yield serving
    serving.close()


@pytest.fixture
def ordered(org):
    """Order a service of the broker at `address`."""

    def order(address, **inputs) -> Order:
        slug = f"shop-{next(numbers)}"
        save_back_end(org, slug, address)
        step = {
            "name": "Setting up the shop database",
            "connector": "osb",
            "back_end": slug,
            "inputs": {"service_id": SERVICE, "plan_id": SMALL, "bind": True} | inputs,
        }
        return place(published_offering(org, slug, steps=[step]), org.business)

    return order


def save_back_end(org, slug, address):
    return catalog.save_back_end(
        None,
        slug=slug,
        name="Shop broker",
        connector="osb",
        address=address,
        config={"username": USERNAME},
        credentials={"password": PASSWORD},
        limit=None,
        is_active=True,
        actor=org.curator,
    )


def ended(order):
    order = fresh(order)
    return order.state, run_of(order).state, fresh(order.instance).state


DELIVERED = ("completed", "succeeded", "active")
UNDONE = ("failed", "compensated", "failed")


def test_an_order_is_delivered_by_a_real_broker_and_its_credentials_are_shown_once(ordered, real, org):
    order = ordered(real.address)
    drive()
    assert ended(order) == DELIVERED
    assert list(real.database.instances) == [str(order.instance_id)]
    assert fresh(order.instance).outputs["dashboard_url"].endswith(str(order.instance_id))
    shown = reveal(fresh(order.instance), actor=org.business)
    assert (shown["password"], shown["port"]) == (CREDENTIALS["password"], "3306")


def test_credentials_stand_nowhere_in_clear(ordered, broker):
    order = ordered(broker.address)
    drive()
    assert ended(order) == DELIVERED
    texts = [step.external_ref + step.detail + str(step.outputs) for step in Step.objects.all()]
    texts += StepLine.objects.values_list("text", flat=True)
    texts += [bytes(secret.ciphertext).decode() for secret in Secret.objects.all()]
    assert not [text for text in texts if CREDENTIALS["password"] in text or PASSWORD in text]


def test_new_credentials_can_be_had(ordered, broker, org):
    order = ordered(broker.address)
    drive()
    reveal(fresh(order.instance), actor=org.business)
    broker.script["bind"] = [Say(201, {"credentials": CREDENTIALS | {"password": "another-pass-word"}}, acts=True)]
    rotate(fresh(order.instance), actor=org.business)
    drive()
    assert fresh(order.instance).state == "active"
    assert reveal(fresh(order.instance), actor=org.business)["password"] == "another-pass-word"
    assert len(broker.bindings) == 1


def test_an_instance_that_was_made_without_an_answer_is_deleted_until_it_is_gone(ordered, broker, monkeypatch):
    monkeypatch.setattr(base, "CALL_SECONDS", 0.4)
    broker.script["provision"] = [Say(201, acts=True, how="hang")]
    broker.script["deprovision"] = [Say(500), Say(422, {"error": "ConcurrencyError"}), Say(404), Say(how="drop")]
    order = ordered(broker.address)
    execution.execute(claims.claim())
    assert broker.instances
    drive()
    assert ended(order) == UNDONE
    assert broker.instances == {}
    assert broker.operations() == ["provision", *["deprovision"] * 5]
    assert {heard.path for heard in broker.heard} == {f"/v2/service_instances/{order.instance_id}"}


def test_a_rejected_order_is_not_deleted_since_nothing_was_made(ordered, broker):
    broker.script["provision"] = [Say(400, {"description": "No."})]
    order = ordered(broker.address)
    drive()
    assert ended(order) == UNDONE
    assert broker.operations() == ["provision"]


def test_polling_goes_on_through_everything_that_is_no_answer(ordered, broker):
    broker.script["provision"] = [Say(202, {"operation": "task 1/2"}, acts=True)]
    broker.script["poll"] = [
        Say(500),
        Say(200, b"<html>"),
        Say(404),
        Say(410),
        Say(how="drop"),
        Say(200, {"state": "in progress", "description": "Nearly."}, headers={"Retry-After": "40"}),
    ]
    order = ordered(broker.address)
    for _ in range(7):
        make_due()
        execution.execute(claims.claim())
    step = step_of(order, "Setting up the shop database")
    assert (step.state, step.detail) == ("polling", "Nearly.")
    assert (step.next_run_at - fresh(step).claimed_at).total_seconds() > 35
    drive()
    assert ended(order) == DELIVERED
    assert {heard.query["operation"] for heard in broker.heard if heard.operation == "poll"} == {"task 1/2"}


def test_an_operation_of_ten_thousand_characters_is_kept(ordered, broker):
    operation = "ü" * 10_000
    broker.script["provision"] = [Say(202, {"operation": operation}, acts=True)]
    order = ordered(broker.address)
    drive()
    assert ended(order) == DELIVERED
    assert broker.last("poll").query["operation"] == operation


def test_past_the_brokers_maximum_the_order_fails_and_nothing_is_left(ordered, broker):
    broker.script["provision"] = [Say(202, acts=True)]
    broker.always["poll"] = Say(200, {"state": "in progress"})
    order = ordered(broker.address, maximum_polling_duration=300)
    for _ in range(3):
        make_due()
        execution.execute(claims.claim())
    assert step_of(order, "Setting up the shop database").state == "polling"
    backdate(order, minutes=6)
    drive()
    assert ended(order) == UNDONE
    assert "maximum" in run_of(order).reason
    assert broker.instances == {}


def backdate(order, minutes):
    """Let the step have begun earlier."""
    step = step_of(order, "Setting up the shop database")
    Step.objects.filter(pk=step.pk).update(started_at=step.started_at - timedelta(minutes=minutes))


def test_a_deletion_that_does_not_succeed_backs_off_is_shown_as_an_orphan_and_ends_once_the_broker_is_well(
    ordered, broker
):
    broker.script["provision"] = [Say(500, acts=True)]
    broker.always["deprovision"] = Say(500)
    order = ordered(broker.address)
    execution.execute(claims.claim())
    pauses = []
    for _ in range(12):
        make_due()
        Breaker.objects.update(probe_at=ClockTimestamp())
        step = claims.claim()
        execution.execute(step)
        step = fresh(step)
        pauses.append((step.next_run_at - step.claimed_at).total_seconds())
    assert [step.kind for step in Step.objects.orphans()] == ["compensate"]
    assert pauses[0] < 2
    assert max(pauses[5:]) > 10
    assert broker.operations() == ["provision", *["deprovision"] * 12]
    broker.always.clear()
    Breaker.objects.update(probe_at=ClockTimestamp())
    drive()
    assert ended(order) == UNDONE
    assert broker.instances == {}


def test_a_broker_without_room_for_credentials_leaves_nothing(ordered, broker):
    broker.script["bind"] = [Say(500, acts=True)]
    order = ordered(broker.address)
    drive()
    assert ended(order) == UNDONE
    assert broker.instances == broker.bindings == {}
    assert broker.operations() == ["provision", "bind", "unbind", "deprovision"]


def test_a_back_end_that_goes_while_the_broker_works_leaves_an_operators_task_and_no_forgotten_instance(
    ordered, broker
):
    broker.script["provision"] = [Say(202, {"operation": "x"}, acts=True)]
    order = ordered(broker.address)
    execution.execute(claims.claim())
    BackEnd.objects.all().delete()
    drive()
    assert ended(order)[:2] == ("failed", "compensation_failed")
    assert Step.objects.orphans().exists()


def test_canceled_while_the_broker_works_it_is_deleted(ordered, broker):
    broker.script["provision"] = [Say(202, {"operation": "x"}, acts=True)]
    broker.always["poll"] = Say(200, {"state": "in progress"})
    order = ordered(broker.address)
    execution.execute(claims.claim())
    orders.cancel(order, actor=order.requester)
    drive()
    assert ended(order) == ("canceled", "compensated", "retired")
    assert broker.instances == {}


def test_a_worker_lost_over_the_request_has_its_successor_find_the_instance(ordered, broker):
    order = ordered(broker.address)
    step = claims.claim()
    broker.instances[str(order.instance_id)] = "made by the lost worker"
    lose(step)
    drive()
    assert ended(order) == DELIVERED
    assert len(broker.instances) == 1


def test_a_back_end_whose_credentials_are_wrong_fails_in_words(ordered, broker):
    broker.always["provision"] = Say(401)
    order = ordered(broker.address)
    drive()
    assert ended(order) == UNDONE
    assert "refused the credentials" in run_of(order).reason
