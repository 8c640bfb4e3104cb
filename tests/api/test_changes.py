"""Changing, removing and retrying through the API."""

from uuid import uuid4

import pytest

from orders.models import IdempotencyKey, Order
from provisioning.models import ServiceInstance
from provisioning.services import claims, execution
from tests.factories import published_offering, wanted_body
from tests.provisioning.conftest import far_side  # noqa: F401 (a fixture)
from tests.provisioning.engine import drive

ORDERS = "/api/v1/orders/"


def post(client, body, key=None):
    return client.post(ORDERS, body, format="json", headers={"Idempotency-Key": key or str(uuid4())})


@pytest.fixture
def client(api):
    return api("business")


@pytest.fixture
def service(org, client, far_side):  # noqa: F811 (the fixture)
    """The id of a service that was delivered."""
    order = post(client, wanted_body(published_offering(org, connector="bare"))).json()
    drive()
    return order["service_instance"]


def modify(service, **changes):
    return {"action": "modify", "service_instance": service} | changes


def delete(service):
    return {"action": "delete", "service_instance": service}


def read(client, service):
    return client.get(f"/api/v1/service-instances/{service}/").json()


def test_a_change_answers_as_an_order_does(client, service):
    answer = post(client, modify(service, plan="database/medium", parameters={"storage": 20}))
    body = answer.json()
    assert (answer.status_code, body["state"], body["action"]) == (201, "fulfilling", "modify")
    assert body["price"] == {"one_off": "0.00", "monthly": "86.00", "currency": "USD"}
    assert body["service_instance"] == service
    assert body["decision"]["outcome"] == "allowed"
    assert body["parameters"] == {"storage": 20, "backup": False}
    steps = client.get(f"{ORDERS}{body['id']}/").json()["steps"]
    assert [step["name"] for step in steps] == ["Changing: Making it"]
    assert read(client, service)["state"] == "updating"
    drive()
    assert client.get(f"{ORDERS}{body['id']}/").json()["state"] == "completed"
    changed = read(client, service)
    assert (changed["state"], changed["plan"]["slug"], changed["parameters"]["storage"]) == ("active", "medium", 20)


def test_each_order_shows_its_own_steps_and_events(client, service):
    changed = post(client, modify(service, plan="database/medium")).json()["id"]
    drive()
    first = read(client, service)["order"]
    assert [step["name"] for step in client.get(f"{ORDERS}{first}/").json()["steps"]] == ["Making it"]
    names = [event["name"] for event in client.get(f"{ORDERS}{changed}/events/").json()["results"]]
    assert names.count("order.submitted") == names.count("order.completed") == 1
    assert names.count("step.succeeded") == 1
    assert "serviceinstance.updating" in names


def test_a_removal_is_an_order_too(client, service, far_side):  # noqa: F811 (the fixture)
    answer = post(client, delete(service))
    body = answer.json()
    assert (answer.status_code, body["state"], body["price"]["monthly"]) == (201, "fulfilling", "0.00")
    again = post(client, delete(service))
    assert (again.status_code, again.json()["type"].rsplit("/", 1)[-1].rsplit(":", 1)[-1]) == (409, "change-running")
    assert again["Retry-After"] == "5"
    assert client.post(f"{ORDERS}{body['id']}/cancel/").status_code == 409
    drive()
    assert (read(client, service)["state"], far_side.live()) == ("retired", [])


def test_the_same_key_is_the_same_change(client, service):
    first = post(client, modify(service, plan="database/medium"), key="one")
    replay = post(client, modify(service, plan="database/medium"), key="one")
    assert (replay.status_code, replay["Idempotent-Replayed"], replay.content) == (201, "true", first.content)
    assert post(client, modify(service, plan="database/small"), key="one").status_code == 422
    assert post(client, delete(service), key="one").status_code == 422
    assert Order.objects.filter(action="modify").count() == 1


def test_what_is_refused_burns_no_key(client, service):
    assert post(client, modify(service, plan="database/huge"), key="one").status_code == 400
    assert not IdempotencyKey.objects.filter(key="one").exists()
    assert post(client, modify(service, plan="database/medium"), key="one").status_code == 201


@pytest.mark.parametrize(
    ("body", "pointers"),
    [
        ({"action": "modify"}, {"/service_instance"}),
        ({"action": "delete"}, {"/service_instance"}),
        ({"action": "delete", "service_instance": 7}, {"/service_instance"}),
        ({"action": "delete", "service_instance": None}, {"/service_instance"}),
        ({"action": "delete", "service_instance": "x"}, {"/service_instance"}),
        ({"action": "delete", "service_instance": "x", "plan": "a/b"}, {"/plan"}),
        ({"action": "modify", "service_instance": "x", "parameters": []}, {"/parameters"}),
        ({"action": "modify", "service_instance": "x", "plan": ""}, {"/plan"}),
        ({"action": "modify", "service_instance": "x", "name": "new"}, {"/name"}),
        ({"action": "modify", "service_instance": "x", "plan": 1, "terms_hash": 2}, {"/plan", "/terms_hash"}),
    ],
)
def test_each_fault_is_told_at_its_field(client, body, pointers):
    for address in (ORDERS, "/api/v1/quotes/"):
        answer = client.post(address, body, format="json", headers={"Idempotency-Key": str(uuid4())})
        assert answer.status_code == 400, answer.content
        assert {error["pointer"] for error in answer.json()["errors"]} == pointers


def test_a_quote_prices_a_change(client, service):
    answer = client.post("/api/v1/quotes/", modify(service, plan="database/medium"), format="json")
    assert (answer.status_code, answer.json()["price"]["monthly"]) == (200, "81.00")
    assert answer.json()["missing"] == []
    assert Order.objects.count() == 1
    wrong = client.post("/api/v1/quotes/", modify(service, parameters={"storage": 1}), format="json")
    assert wrong.status_code == 400


def test_others_change_nothing(api, service):
    assert post(api("colleague"), modify(service, plan="database/medium")).status_code == 400
    assert post(api("curator"), modify(service, plan="database/medium")).status_code == 403
    assert post(api("business", "read"), delete(service)).status_code == 403
    assert post(api("owner"), delete(service)).status_code == 201


def test_what_is_missing_says_what_that_means(client, service):
    assert read(client, service)["detail"] == ""
    ServiceInstance.objects.filter(pk=service).update(state="missing")
    assert "not at its back end any more" in read(client, service)["detail"]
    assert len(client.get("/api/v1/service-instances/?state=missing").json()["results"]) == 1


def test_operators_try_a_failed_order_again(api, org, client, far_side):  # noqa: F811 (the fixture)
    steps = [
        {"name": "Making it", "connector": "bare"},
        {"name": "Moody", "connector": "fitful_bare", "max_attempts": 1},
    ]
    order = post(client, wanted_body(published_offering(org, steps=steps))).json()["id"]
    execution.execute(claims.claim())
    far_side.set_mood("refuse")
    drive()
    assert client.get(f"{ORDERS}{order}/").json()["state"] == "failed"
    address = f"{ORDERS}{order}/retry/"
    assert client.post(address).status_code == 403
    assert api("curator", "read", "order").post(address).status_code == 403, "it needs the scope admin"
    answer = api("curator").post(address)
    assert (answer.status_code, answer.json()["state"]) == (200, "fulfilling")
    assert api("curator").post(address).status_code == 409
    drive()
    body = client.get(f"{ORDERS}{order}/").json()
    assert body["state"] == "completed"
    assert [step["state"] for step in body["steps"]][-2:] == ["succeeded", "succeeded"]


def test_no_nonsense_breaks_a_change(client, service):
    deep = current = {}
    for _ in range(900):
        current["a"] = current = {}
    for parameters in (deep, {"storage": deep}, {"storage": "\x00"}, {"\x00": None}, {"storage": {"a": None}}):
        answer = post(client, modify(service, parameters=parameters))
        assert answer.status_code == 400, answer.content
    for plan in ("\x00", "/", "database/", "/small", "a" * 300):
        assert post(client, modify(service, plan=plan)).status_code == 400
