"""Placing, reading and canceling orders through the API."""

import re
from uuid import uuid4

import pytest
from rest_framework.test import APIClient

from accounts.models import Role
from core import secrets
from core.models import Event
from core.transactions import run
from orders.models import IdempotencyKey, Order
from provisioning.models import ManualTask, Run, ServiceInstance, Step
from provisioning.services.runs import after_failure, after_success
from tests.factories import published_offering, wanted_body
from tests.threads import together

ORDERS = "/api/v1/orders/"
UTC_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z")


def post(client, body, key=None):
    return client.post(ORDERS, body, format="json", headers={"Idempotency-Key": key or str(uuid4())})


@pytest.fixture
def order(api, offering):
    answer = post(api("business"), wanted_body(offering))
    assert answer.status_code == 201, answer.json()
    return answer.json()


def test_an_order_answers_with_all_that_the_contract_names(api, offering):
    answer = post(api("business"), wanted_body(offering, parameters={"storage": 20}))
    body = answer.json()
    assert (answer.status_code, body["state"], body["action"]) == (201, "fulfilling", "add")
    assert body["price"] == {"one_off": "0.00", "monthly": "48.00", "currency": "USD"}
    assert body["plan"]["slug"] == "small"
    assert (body["offering"], body["cost_center"], body["requester"]) == ("database", "4100", "business")
    assert body["parameters"] == {"storage": 20, "backup": False}
    assert (body["purpose"], body["data_classification"]) == ("test", "internal")
    assert body["decision"]["outcome"] == "allowed"
    assert body["decision"]["alternatives"] == []
    assert all(set(reason) == {"rule", "version", "effect", "message"} for reason in body["decision"]["reasons"])
    assert body["service_instance"] == str(ServiceInstance.objects.get().pk)
    assert UTC_TIME.fullmatch(body["created_at"])
    assert (body["completed_at"], body["cancel_requested_at"]) == (None, None)
    assert answer["Location"].endswith(f"{ORDERS}{body['id']}/")
    assert answer["Cache-Control"] == "no-store"


def test_times_are_in_utc_whatever_zone_the_books_are_kept_in(api, order, settings):
    settings.TIME_ZONE = "Asia/Tokyo"
    assert api("business").get(f"{ORDERS}{order['id']}/").json()["created_at"] == order["created_at"]


def test_an_order_shows_the_steps_of_its_delivery(api, order):
    steps = api("business").get(f"{ORDERS}{order['id']}/").json()["steps"]
    assert [(step["seq"], step["kind"], step["name"], step["state"]) for step in steps] == [
        (1, "do", "Making it", "ready")
    ]
    assert set(steps[0]) == {"seq", "kind", "name", "state", "attempt", "started_at", "finished_at", "next_run_at"}


def test_the_list_holds_ones_own_orders_newest_first_in_pages(api, offering):
    client = api("business")
    names = [f"db-{number}" for number in range(5)]
    for name in names:
        assert post(client, wanted_body(offering, name=name)).status_code == 201
    seen, address = [], f"{ORDERS}?page_size=2"
    while address:
        page = client.get(address).json()
        seen.append([row["name"] for row in page["results"]])
        address = page["next"]
    assert seen == [["db-4", "db-3"], ["db-2", "db-1"], ["db-0"]]
    back = client.get(page["previous"]).json()
    assert [row["name"] for row in back["results"]] == ["db-2", "db-1"]
    first = client.get(back["previous"]).json()
    assert [row["name"] for row in first["results"]] == ["db-4", "db-3"]
    assert first["previous"] is None
    assert client.get(first["next"]).json()["results"] == back["results"]


def test_the_list_can_be_narrowed_by_state(api, order):
    client = api("business")
    assert len(client.get(f"{ORDERS}?state=fulfilling").json()["results"]) == 1
    assert client.get(f"{ORDERS}?state=completed").json()["results"] == []
    assert client.get(f"{ORDERS}?state=lost").status_code == 400


def test_a_person_elsewhere_sees_nothing_of_an_order(api, order):
    client = api("business2")
    assert client.get(ORDERS).json()["results"] == []
    for address in (f"{ORDERS}{order['id']}/", f"{ORDERS}{order['id']}/events/"):
        assert client.get(address).status_code == 404
    assert client.post(f"{ORDERS}{order['id']}/cancel/").status_code == 404
    assert client.get(f"{ORDERS}{uuid4()}/").json() == client.get(f"{ORDERS}{order['id']}/").json()


def test_events_tell_what_happened_oldest_first_and_page(api, order):
    client = api("business")
    happened = client.get(f"{ORDERS}{order['id']}/events/").json()["results"]
    assert [event["name"] for event in happened] == [
        "order.submitted", "serviceinstance.provisioning", "run.running", "step.ready", "order.fulfilling",
    ]  # fmt: skip
    assert {event["actor"] for event in happened} == {"Maria Keller"}
    assert all(set(event) == {"id", "at", "actor", "name", "facts"} for event in happened)
    assert UTC_TIME.fullmatch(happened[0]["at"])
    page = client.get(f"{ORDERS}{order['id']}/events/?page_size=2").json()
    assert [event["name"] for event in client.get(page["next"]).json()["results"]] == ["run.running", "step.ready"]


def test_events_keep_what_is_for_operators_to_themselves(api, order):
    Event.objects.create(
        name="step.retry", subject_type="step", subject_id=order["service_instance"],
        facts={"attempt": 2, "error": "psql: no route to host 10.0.0.8", "lease_token": 7},
    )  # fmt: skip
    last = api("business").get(f"{ORDERS}{order['id']}/events/").json()["results"][-1]
    assert last["facts"] == {"attempt": 2}


def test_a_failure_that_names_a_password_is_told_without_it(api, order):
    secrets.remember("correct-horse-battery")
    Step.objects.update(state=Step.State.FAILED, attempt=1)
    run(lambda: after_failure(Run.objects.get(), Step.objects.get(), "login with correct-horse-battery refused"))
    assert "correct-horse" not in Run.objects.get().reason
    told = api("business").get(f"{ORDERS}{order['id']}/events/").content.decode()
    assert "run.compensating" in told
    assert "correct-horse" not in told


def test_an_order_can_be_canceled_once(api, order):
    client = api("business")
    answer = client.post(f"{ORDERS}{order['id']}/cancel/")
    assert (answer.status_code, answer.json()["state"]) == (200, "canceled")
    assert UTC_TIME.fullmatch(answer.json()["cancel_requested_at"])
    again = client.post(f"{ORDERS}{order['id']}/cancel/")
    assert (again.status_code, again["Content-Type"]) == (409, "application/problem+json")


def test_who_only_looks_cannot_cancel(api, order, org):
    assert api("auditor").get(f"{ORDERS}{order['id']}/").status_code == 200
    assert api("auditor").post(f"{ORDERS}{order['id']}/cancel/").status_code == 403
    assert api("owner").post(f"{ORDERS}{order['id']}/cancel/").status_code == 200


def test_who_is_no_business_user_cannot_order(api, offering):
    assert post(api("finance"), wanted_body(offering)).status_code == 403
    assert not Order.objects.exists()


def test_a_quote_says_price_and_decision_and_stores_nothing(api, offering):
    client = api("business")
    events = Event.objects.count()
    answer = client.post("/api/v1/quotes/", wanted_body(offering, parameters={"storage": 20}), format="json").json()
    assert answer["price"]["monthly"] == "48.00"
    assert answer["price"]["lines"] == [
        {"label": "Database, Small", "amount": "38.00"}, {"label": "Storage: 20 GiB", "amount": "10.00"},
    ]  # fmt: skip
    assert answer["decision"]["outcome"] == "allowed"
    assert (answer["approvers"], answer["missing"]) == ([], [])
    assert (Order.objects.count(), IdempotencyKey.objects.count(), Event.objects.count()) == (0, 0, events)


def test_a_quote_needs_only_the_plan_and_says_what_an_order_needs_besides(api, offering):
    answer = api("business").post("/api/v1/quotes/", {"plan": "database/medium"}, format="json")
    body = answer.json()
    assert (answer.status_code, body["price"]["monthly"]) == (200, "81.00")
    assert body["decision"]["outcome"] == "allowed"
    assert body["missing"] == ["/cost_center", "/data_classification", "/name", "/purpose", "/terms_hash"]


def test_a_quote_refuses_what_is_given_and_wrong(api, offering):
    answer = api("business").post(
        "/api/v1/quotes/",
        {"plan": "database/small", "cost_center": "5200", "parameters": {"storage": 5}, "purpose": 3},
        format="json",
    )
    assert answer.status_code == 400
    assert {error["pointer"] for error in answer.json()["errors"]} >= {
        "/cost_center",
        "/parameters/storage",
        "/purpose",
    }


@pytest.fixture
def task(api, order, offering):
    """The task of a manual step, as a worker opens it."""
    step = Step.objects.get()
    Step.objects.filter(pk=step.pk).update(state=Step.State.WAITING_FOR_PERSON)
    return ManualTask.objects.create(
        step=step, title="Hand over the laptop", role=Role.IT_ADMIN,
        output_fields=[{"name": "serial", "title": "Serial number"}],
    )  # fmt: skip


def test_a_task_is_listed_read_and_completed(api, order, task):
    client = api("curator")
    assert [row["title"] for row in client.get("/api/v1/tasks/?state=open").json()["results"]] == [task.title]
    assert client.get(f"/api/v1/tasks/{task.pk}/").json()["order"] == order["id"]
    wrong = client.post(f"/api/v1/tasks/{task.pk}/complete/", {"outputs": {"colour": "red"}}, format="json")
    assert wrong.status_code == 400
    assert {error["pointer"] for error in wrong.json()["errors"]} == {"/outputs/colour", "/outputs/serial"}
    answer = client.post(f"/api/v1/tasks/{task.pk}/complete/", {"outputs": {"serial": "X1"}}, format="json")
    assert (answer.status_code, answer.json()["state"], answer.json()["done_by"]) == (200, "done", "curator")
    assert api("business").get(f"{ORDERS}{order['id']}/").json()["state"] == "completed"
    again = client.post(f"/api/v1/tasks/{task.pk}/complete/", {"outputs": {"serial": "X1"}}, format="json")
    assert again.status_code == 409


def test_who_ordered_does_not_see_the_task_and_who_looks_does_not_complete_it(api, task):
    assert api("business").get("/api/v1/tasks/").json()["results"] == []
    assert api("business").get(f"/api/v1/tasks/{task.pk}/").status_code == 404
    body = {"outputs": {"serial": "X1"}}
    assert api("auditor").post(f"/api/v1/tasks/{task.pk}/complete/", body, format="json").status_code == 403
    needs_admin = api("curator", "read", "order")
    answer = needs_admin.post(f"/api/v1/tasks/{task.pk}/complete/", body, format="json")
    assert (answer.status_code, "admin" in answer.json()["detail"]) == (403, True)


@pytest.fixture
def database(api, org):
    """A delivered service with a password, as a worker leaves it."""
    offering = published_offering(org, "postgres", connector="postgresql")
    order = post(api("business"), wanted_body(offering)).json()
    step = Step.objects.get()
    Step.objects.filter(pk=step.pk).update(
        state=Step.State.SUCCEEDED, outputs={"host": "127.0.0.1", "port": 5432}, attempt=1
    )
    run(lambda: after_success(Run.objects.get(), Step.objects.get()))
    return order["service_instance"]


def test_a_service_shows_its_outputs_and_its_password_once(api, database, org):
    client = api("business")
    row = client.get("/api/v1/service-instances/").json()["results"][0]
    assert (row["id"], row["state"], row["offering"], row["expires_at"]) == (database, "active", "postgres", None)
    assert row["outputs"] == {"host": "127.0.0.1", "port": 5432}
    assert client.get(f"/api/v1/service-instances/{database}/").json() == row
    shown = client.post(f"/api/v1/service-instances/{database}/credentials/")
    assert (shown.status_code, shown["Cache-Control"]) == (200, "no-store")
    password = shown.json()["credentials"]["password"]
    again = client.post(f"/api/v1/service-instances/{database}/credentials/")
    assert (again.status_code, again["Cache-Control"]) == (409, "no-store")
    assert again.json()["type"].endswith("already-revealed")
    order = client.get(ORDERS).json()["results"][0]
    everywhere = [ORDERS, f"{ORDERS}{order['id']}/", f"{ORDERS}{order['id']}/events/", "/api/v1/service-instances/"]
    assert not [address for address in everywhere if password in client.get(address).content.decode()]


@pytest.mark.django_db(transaction=True)
def test_of_ten_who_ask_at_once_one_is_shown_the_password(api, database):
    token = api("business")._credentials

    def ask():
        client = APIClient()
        client._credentials = token
        return client.post(f"/api/v1/service-instances/{database}/credentials/")

    answers = together(ask, times=10)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert Event.objects.filter(name="secret.revealed").count() == 1


@pytest.mark.django_db(transaction=True)
def test_of_ten_who_cancel_at_once_one_does(api, order):
    token = api("business")._credentials

    def cancel():
        client = APIClient()
        client._credentials = token
        return client.post(f"{ORDERS}{order['id']}/cancel/")

    answers = together(cancel, times=10)
    assert sorted(answer.status_code for answer in answers) == [200] + [409] * 9
    assert Event.objects.filter(name="order.canceled").count() == 1


def test_nobody_else_reads_a_password(api, database):
    for username, status in [("business2", 404), ("colleague", 404), ("owner", 403), ("curator", 403), ("admin", 403)]:
        answer = api(username).post(f"/api/v1/service-instances/{database}/credentials/")
        assert (username, answer.status_code) == (username, status)
        assert api(username).post(f"/api/v1/service-instances/{database}/rotate/").status_code == status
    assert api("business").post(f"/api/v1/service-instances/{database}/credentials/").status_code == 200


def test_a_password_can_be_set_anew_once_at_a_time(api, database):
    client = api("business")
    answer = client.post(f"/api/v1/service-instances/{database}/rotate/")
    assert (answer.status_code, answer.json()["state"]) == (202, "running")
    assert (answer.json()["service_instance"], len(answer.json()["run"])) == (database, 36)
    again = client.post(f"/api/v1/service-instances/{database}/rotate/")
    assert (again.status_code, again["Retry-After"]) == (409, "2")


@pytest.mark.parametrize("route", ["credentials", "rotate"])
def test_looking_is_not_enough_for_passwords(api, database, route):
    assert api("business", "read").post(f"/api/v1/service-instances/{database}/{route}/").status_code == 403
