"""The connector `http` in the hands of the engine, and what other connectors use of it."""

import json
from functools import partial

import pytest
from django.conf import settings as django_settings

import catalog.services as catalog
from core import secrets
from provisioning.connectors import calling, connector
from provisioning.connectors.base import Failed, Retry
from provisioning.models import ServiceInstance, Step
from tests.factories import published_offering
from tests.far_side.rest import RestBackEnd
from tests.provisioning.engine import drive, fresh, place, run_of, step_of
from tests.provisioning.http_calls import LOOKS, SLOW, THING, first_call

http = connector("http")


@pytest.fixture
def rest(settings):
    """The far side, on loopback."""
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with RestBackEnd() as server:
        yield server


@pytest.fixture
def call(rest):
    """Make a first call of a step with these inputs."""
    return partial(first_call, rest)


@pytest.fixture
def order(org, rest):
    """Order a service of one step with these inputs."""
    catalog.save_back_end(
        None, slug="things", name="Things", connector="http", address=rest.address, config={},
        credentials={"token": "t0ken"}, limit=None, is_active=True, actor=org.admin,
    )  # fmt: skip

    def placed(inputs, slug="thing", form=None):
        step = {"name": "Making it", "connector": "http", "inputs": inputs, "back_end": "things"}
        return place(published_offering(org, slug, steps=[step], form=form), org.business)

    return placed


def test_a_crash_after_the_answer_leaves_one_thing_and_the_same_key(order, rest):
    rest.fault("drop_after")
    placed = order(THING)
    drive()
    assert run_of(placed).state == "succeeded"
    assert [thing["key"] for thing in rest.things.values()] == [str(step_of(placed).idempotency_key)]
    assert {seen["headers"]["Idempotency-Key"] for seen in rest.calls} == {str(step_of(placed).idempotency_key)}
    assert fresh(ServiceInstance.objects.get()).outputs == {"host": "thing-1-0.example"}


def test_a_refused_order_makes_nothing_and_undoes_nothing(order, rest):
    rest.fault("status", status=422, body={"detail": "No."})
    placed = order(THING)
    drive()
    assert run_of(placed).state == "compensated"
    assert rest.made() == [("POST", "/things")]


def test_what_an_order_names_is_data_in_the_path_and_in_the_body(order, rest):
    inputs = {"method": "PUT", "path": "/things/${instance.name}", "body": {"by": "${requester.name}, {external_ref}"}}
    placed = order(inputs | {"undo": {"path": "/things/${instance.name}"}})
    ServiceInstance.objects.update(name="../../admin?x={external_ref}#")
    drive()
    assert run_of(placed).state == "succeeded"
    assert rest.made() == [("PUT", "/things/..%2F..%2Fadmin%3Fx%3D%7Bexternal_ref%7D%23")]
    assert rest.calls[0]["body"]["by"].endswith(", {external_ref}")


def test_a_service_that_is_looked_for_first_is_filled_in_before(order, rest):
    inputs = LOOKS | {"path": "/things/${instance.id}", "describe": {"path": "/things/${instance.id}"}}
    placed = order(inputs)
    drive()
    assert run_of(placed).state == "succeeded"
    assert list(rest.things) == [str(ServiceInstance.objects.get().pk)]


def test_slow_work_is_polled_to_its_end_and_its_password_is_kept_encrypted(order, rest):
    placed = order(SLOW | {"secret_outputs": {"admin": "/admin/password"}})
    drive()
    assert run_of(placed).state == "succeeded"
    secret = ServiceInstance.objects.get().secrets.get()
    assert secret.name == "admin"
    assert secrets.decrypt(secret.ciphertext, bound_to=secret.pk) == "given-thing-1-0"
    assert Step.objects.filter(outputs__icontains="given").count() == 0


def test_an_answer_that_is_no_answer_is_a_failed_attempt_with_a_reason(order, rest):
    rest.fault("huge")
    placed = order({"path": "/things", "undo": {"path": "/things/x"}})
    drive()
    assert step_of(placed).error.startswith("response_too_large")
    assert run_of(placed).state == "compensated"


def test_a_connector_that_expects_a_status_is_told_of_any_other(rest, call):
    first = call()
    assert calling.request(first, "POST", "/things", json={"a": "ü"}, accept=(201,)).json()["a"] == "ü"
    rest.fault("status", status=404)
    with pytest.raises(Failed, match="answered 404"):
        calling.request(first, "GET", "/things", accept=(200,))
    rest.fault("status", status=503)
    with pytest.raises(Retry, match="answered 503"):
        calling.request(first, "GET", "/things", accept=(200,))


def test_the_log_says_where_it_went_and_nothing_of_what_was_sent(call):
    first = call(credentials={"token": "t0ken"})
    calling.request(first, "GET", "/things?token=s3cret", headers={"X-Key": "s3cret"})
    assert first.lines == [f"GET {first.back_end.address} /things: 404"]


def test_the_declaration_names_what_the_connector_reads():
    declared = django_settings.CONNECTORS["http"]
    assert {"path", "poll", "wait_for_callback", "secrets"} <= set(declared["inputs"])
    assert json.dumps(declared)
