"""The same key twice is the same order once, however it is repeated."""

import json
import socket
import threading
from collections import Counter
from datetime import timedelta
from functools import partial
from uuid import uuid4

import pytest
from django.db import connection
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

import catalog.services as catalog
import orders.services as orders
from accounts.models import ApiToken
from core.models import Event
from orders.models import IdempotencyKey, Order
from provisioning.models import ServiceInstance
from tests.factories import published_offering, wanted_body
from tests.threads import together

ADDRESS = "/api/v1/orders/"


def send(client, body, key="one"):
    raw = body if isinstance(body, str) else json.dumps(body)
    return client.generic("POST", ADDRESS, raw, "application/json", headers={"Idempotency-Key": key})


@pytest.fixture
def client(api, offering):
    return api("business")


def test_the_same_key_gives_the_first_answer_again_to_the_letter(client, offering):
    body = wanted_body(offering, parameters={"backup": True, "storage": 20})
    first, second = send(client, body), send(client, body)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second["Location"] == first["Location"]
    assert "Idempotent-Replayed" not in first
    assert second["Idempotent-Replayed"] == "true"
    assert Order.objects.count() == 1


def test_a_replay_is_the_first_answer_even_when_much_has_changed(client, offering, org):
    body = wanted_body(offering)
    first = send(client, body)
    orders.cancel(Order.objects.get(), actor=org.business)
    catalog.publish(catalog.new_draft(offering, actor=org.curator), actor=org.curator2)
    catalog.pause(offering, "Moving.", actor=org.curator)
    second = send(client, body)
    assert (second.status_code, second.content) == (201, first.content)


def test_order_of_names_and_white_space_do_not_count(client, offering):
    body = wanted_body(offering, parameters={"backup": True, "storage": 20})
    send(client, json.dumps(body))
    turned = dict(reversed(body.items())) | {"parameters": {"storage": 20, "backup": True}}
    assert send(client, json.dumps(turned, indent=4))["Idempotent-Replayed"] == "true"


@pytest.mark.parametrize(
    "changes", [{"name": "campaign-dc"}, {"parameters": {"storage": 11}}, {"purpose": "production"}]
)
def test_the_same_key_for_something_else_is_refused(client, offering, changes):
    send(client, wanted_body(offering))
    answer = send(client, wanted_body(offering) | changes)
    assert (answer.status_code, answer["Content-Type"]) == (422, "application/problem+json")
    assert answer.json()["type"].endswith("key-reused")
    assert Order.objects.count() == 1


def test_a_key_is_one_persons_alone(api, client, offering):
    mine = send(client, wanted_body(offering)).json()
    theirs = send(api("colleague"), wanted_body(offering, name="other-db"))
    assert (theirs.status_code, theirs.json()["requester"]) == (201, "colleague")
    same = send(api("colleague"), wanted_body(offering), key="two")
    assert same.status_code == 400, "the name is in use; whose order has it is not told"
    assert mine["id"] not in theirs.content.decode() + same.content.decode()


def test_all_tokens_of_a_person_share_his_keys(api, client, offering):
    first = send(client, wanted_body(offering))
    assert send(api("business"), wanted_body(offering)).content == first.content


def test_a_key_of_another_form_is_refused(client, offering):
    for key in ["", " ", "a b", '"quoted"', "k" * 256, "k" * 300, "a\tb", "a\x7fb", "schl\xfcssel", "a\x01"]:
        answer = send(client, wanted_body(offering), key=key)
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json"), key
        assert "Idempotency-Key" in answer.json()["detail"]
    assert not Order.objects.exists()


def test_any_visible_text_is_a_key(client, offering):
    for key in ["k", "k" * 255, "8e03978e-40d5-43e8-bc93-6894a57f9324", "!#$%&'()*+,-./:;<=>?@[]^_`{|}~"]:
        assert send(client, wanted_body(offering, name=f"db-{len(key)}"), key=key).status_code == 201


def test_a_token_has_to_send_a_key(client, offering):
    answer = client.post(ADDRESS, wanted_body(offering), format="json")
    assert answer.status_code == 400
    assert "Idempotency-Key" in answer.json()["detail"]


def test_what_fails_burns_no_key(client, api, offering, org):
    body = wanted_body(offering)
    for faulty in ("{", [], body | {"name": ""}, body | {"colour": 1}, body | {"cost_center": "5200"}):
        assert send(client, faulty).status_code == 400
    assert send(client, json.dumps(body | {"name": "x" * 300_000})).status_code == 413
    assert not IdempotencyKey.objects.exists()
    assert send(client, body).status_code == 201


def test_a_name_that_was_taken_meanwhile_burns_no_key(client, api, offering):
    assert send(api("colleague"), wanted_body(offering)).status_code == 201
    assert send(client, wanted_body(offering)).status_code == 400
    assert send(client, wanted_body(offering, name="another")).status_code == 201


def test_a_key_is_forgotten_after_thirty_days(client, offering):
    send(client, wanted_body(offering))
    IdempotencyKey.objects.update(created_at=timezone.now() - timedelta(days=31))
    assert orders.forget_old_keys() == 1
    assert send(client, wanted_body(offering)).status_code == 400, "the name is in use by the first order"
    assert send(client, wanted_body(offering, name="another")).status_code == 201


@pytest.fixture
def clients(api):
    return {name: api(name) for name in ("business", "colleague")}


bodies = st.tuples(st.sampled_from(["a", "b", "c"]), st.sampled_from(["db-1", "db-2", "-", "db-3"]))


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(presses=st.lists(st.tuples(bodies, st.sampled_from(["business", "colleague"])), max_size=12))
def test_any_sequence_of_presses_does_what_a_simple_book_says(clients, offering, presses):
    IdempotencyKey.objects.all().delete()
    Order.objects.filter(state="fulfilling").update(state="completed")
    ServiceInstance.objects.update(name=str(uuid4()), state="retired")
    book, taken, placed = {}, set(), Order.objects.count()
    for (key, name), person in presses:
        answer = send(clients[person], wanted_body(offering, name=name), key=key)
        kept = book.get((person, key))
        if kept:
            expected = 201 if kept[0] == name else 422
            if kept[0] != name and name == "-":
                expected = 422
            assert answer.status_code == expected
            assert expected == 422 or answer.json()["id"] == kept[1]
        elif name == "-" or name in taken:
            assert answer.status_code == 400
        else:
            assert answer.status_code == 201
            book[person, key] = (name, answer.json()["id"])
            taken.add(name)
    assert Order.objects.count() == placed + len(book)


# --- at the same time ------------------------------------------------------------------------------------


@pytest.fixture
def crowd(transactional_db, request):
    """An organization whose rows other connections can see."""
    return request.getfixturevalue("api"), published_offering(request.getfixturevalue("org"))


@pytest.mark.django_db(transaction=True)
def test_thirty_presses_at_once_make_one_order(crowd):
    api, offering = crowd
    token = api("business")._credentials
    body = wanted_body(offering)

    def press():
        client = APIClient()
        client._credentials = token
        return send(client, body)

    answers = together(press, times=30)
    codes = Counter(answer.status_code for answer in answers)
    assert set(codes) <= {201, 409}
    assert codes[201] >= 1
    assert all(answer["Retry-After"] for answer in answers if answer.status_code == 409)
    assert len({answer.json()["id"] for answer in answers if answer.status_code == 201}) == 1
    assert len([answer for answer in answers if answer.status_code == 201 and "Idempotent-Replayed" not in answer]) == 1
    assert (Order.objects.count(), ServiceInstance.objects.count()) == (1, 1)
    assert Event.objects.filter(name="order.submitted").count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_key_for_many_things_at_once_makes_one_order(crowd):
    api, offering = crowd
    token = api("business")._credentials

    def press(index):
        client = APIClient()
        client._credentials = token
        return send(client, wanted_body(offering, name=f"db-{index}"))

    codes = Counter(answer.status_code for answer in together(*(partial(press, index) for index in range(10))))
    assert codes[201] == 1
    assert set(codes) <= {201, 409, 422}
    assert Order.objects.count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_same_name_under_many_keys_at_once_makes_one_order(crowd):
    api, offering = crowd
    tokens = [api(name)._credentials for name in ("business", "colleague")]

    def press(index):
        client = APIClient()
        client._credentials = tokens[index % 2]
        return send(client, wanted_body(offering), key=f"key-{index}")

    answers = together(*(partial(press, index) for index in range(10)))
    codes = Counter(answer.status_code for answer in answers)
    assert codes[201] == 1
    assert set(codes) <= {201, 400, 503}
    assert all(answer.json()["errors"][0]["pointer"] == "/name" for answer in answers if answer.status_code == 400)
    assert (Order.objects.count(), IdempotencyKey.objects.count()) == (1, 1)


@pytest.mark.django_db(transaction=True)
def test_while_the_first_is_being_placed_the_second_is_told_to_wait(crowd):
    api, offering = crowd
    client, held, done = api("business"), threading.Event(), threading.Event()
    person = ApiToken.objects.get().user_id

    def hold():
        """Be the first: insert the key and do not commit for a while."""
        try:
            with connection.cursor() as cursor:
                cursor.execute("BEGIN")
                cursor.execute(
                    "INSERT INTO orders_idempotencykey (person_id, route, key, fingerprint)"
                    " VALUES (%s, 'orders', 'one', '')",
                    [person],
                )
                held.set()
                done.wait(timeout=30)
                cursor.execute("ROLLBACK")
        finally:
            connection.close()

    first = threading.Thread(target=hold)
    first.start()
    try:
        assert held.wait(timeout=30)
        waiting = send(client, wanted_body(offering))
    finally:
        done.set()
        first.join()
    assert (waiting.status_code, waiting["Retry-After"]) == (409, "1")
    assert waiting.json()["type"].endswith("in-progress")
    assert send(client, wanted_body(offering)).status_code == 201, "the first never came to its end"


@pytest.mark.django_db(transaction=True)
def test_who_hangs_up_after_sending_learns_by_the_same_key_what_came_of_it(crowd, live_server):
    api, offering = crowd
    body = json.dumps(wanted_body(offering)).encode()
    token = api("business")._credentials["HTTP_AUTHORIZATION"]
    host, port = live_server.thread.host, live_server.thread.port
    with socket.create_connection((host, port)) as line:
        line.sendall(
            f"POST {ADDRESS} HTTP/1.1\r\nHost: {host}:{port}\r\nAuthorization: {token}\r\nIdempotency-Key: one\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n".encode()
            + body
        )
    client = APIClient()
    client._credentials = {"HTTP_AUTHORIZATION": token}
    answer = send(client, body.decode())
    assert answer.status_code in {201, 409}
    assert Order.objects.count() <= 1
    assert send(client, body.decode()).json().get("id", "") == str(Order.objects.get().pk)
