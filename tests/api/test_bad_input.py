"""What is wrong with an order is said at its field; nothing is stored and nothing breaks."""

import json
from uuid import uuid4

import pytest
from django.test.client import encode_multipart
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import catalog.services as catalog
from catalog.models import Offering, Plan, Price
from orders.models import IdempotencyKey, Order
from provisioning.models import ServiceInstance
from tests.factories import published_offering, wanted_body

ADDRESS = "/api/v1/orders/"
FIELDS = ["action", "plan", "name", "cost_center", "parameters", "terms_hash", "purpose", "data_classification"]


def send(client, raw, key=None, content_type="application/json"):
    """Post a body as it is, byte for byte."""
    raw = raw if isinstance(raw, bytes) else raw.encode()
    return client.generic("POST", ADDRESS, raw, content_type, headers={"Idempotency-Key": key or str(uuid4())})


def stored():
    return Order.objects.count(), ServiceInstance.objects.count(), IdempotencyKey.objects.count()


def refused(answer, *pointers):
    """Check that an answer is a problem that names `pointers` and that nothing came of it."""
    body = answer.json()
    assert answer.status_code == 400, body
    assert answer["Content-Type"] == "application/problem+json"
    assert {"type", "title", "status", "detail"} <= set(body)
    assert {error["pointer"] for error in body["errors"]} == set(pointers)
    assert all(error["detail"] for error in body["errors"])
    assert stored() == (0, 0, 0)
    return body


@pytest.fixture
def client(api, offering):
    return api("business")


FAULTS = [
    ({"plan": "database/huge"}, ["/plan"]),
    ({"plan": "nowhere/small"}, ["/plan"]),
    ({"plan": str(uuid4())}, ["/plan"]),
    ({"plan": "database"}, ["/plan"]),
    ({"plan": ""}, ["/plan"]),
    ({"plan": "a/b/c"}, ["/plan"]),
    ({"cost_center": "9999"}, ["/cost_center"]),
    ({"cost_center": "5200"}, ["/cost_center"]),
    ({"cost_center": ""}, ["/cost_center"]),
    ({"parameters": {"storage": 5}}, ["/parameters/storage"]),
    ({"parameters": {"storage": 10.5}}, ["/parameters/storage"]),
    ({"parameters": {"storage": "10"}}, ["/parameters/storage"]),
    ({"parameters": {"storage": True}}, ["/parameters/storage"]),
    ({"parameters": {"backup": "yes"}}, ["/parameters/backup"]),
    ({"parameters": {"a/b~c": 1}}, ["/parameters/a~1b~0c"]),
    ({"parameters": {"storage": 10**39}}, ["/parameters/storage"]),
    ({"terms_hash": "0" * 64}, ["/terms_hash"]),
    ({"terms_hash": ""}, ["/terms_hash"]),
    ({"purpose": "office"}, ["/purpose"]),
    ({"purpose": "fun"}, ["/purpose"]),
    ({"data_classification": "restricted"}, ["/data_classification"]),
    ({"name": ""}, ["/name"]),
    ({"name": "-"}, ["/name"]),
    ({"name": "x" * 61}, ["/name"]),
    ({"name": "a\nb"}, ["/name"]),
    ({"name": "robert'); drop table--"}, ["/name"]),
    ({"name": "x" * 301}, ["/name"]),
    ({"action": "renew"}, ["/action"]),
    ({"action": ""}, ["/action"]),
    ({"on_behalf_of": "colleague"}, ["/on_behalf_of"]),
    ({"colour": "red"}, ["/colour"]),
    ({"a/b": 1, "c~d": 2}, ["/a~1b", "/c~0d"]),
    ({"service_instance": str(uuid4())}, ["/service_instance"]),
    (
        {"plan": 1, "name": None, "cost_center": [], "parameters": "x", "terms_hash": {}, "purpose": True,
         "data_classification": 0.5, "action": 7},
        [f"/{field}" for field in FIELDS],
    ),
    (
        {"name": 5, "cost_center": "5200", "parameters": {"storage": 1}, "colour": 1},
        ["/name", "/cost_center", "/parameters/storage", "/colour"],
    ),
    ({"name": "", "cost_center": "", "purpose": "", "terms_hash": "x"},
     ["/name", "/cost_center", "/purpose", "/terms_hash"]),
]  # fmt: skip


def test_each_fault_is_told_at_its_field(client, offering):
    for changes, pointers in FAULTS:
        refused(send(client, json.dumps(wanted_body(offering) | changes)), *pointers)


@pytest.mark.parametrize("field", FIELDS)
def test_a_field_with_a_value_of_the_wrong_kind_is_told_there(client, offering, field):
    for value in [None, 7, 0.5, True, [], ["x"], {"x": 1}, "", "x" * 5000, "\U0001f600", "\u202e"]:
        answer = send(client, json.dumps(wanted_body(offering) | {field: value}))
        body = answer.json()
        assert answer.status_code == 400, value
        assert all(error["pointer"].startswith(f"/{field}") for error in body["errors"])
        assert len(answer.content) < 2000, "what was sent is not sent back"
    assert stored() == (0, 0, 0)


def test_a_missing_field_is_told_there(client, offering):
    for field in FIELDS:
        body = {name: value for name, value in wanted_body(offering).items() if name != field}
        if field not in {"action", "parameters"}:
            refused(send(client, json.dumps(body)), f"/{field}")


def test_action_and_parameters_may_be_left_out(client, offering):
    body = {name: value for name, value in wanted_body(offering).items() if name not in {"action", "parameters"}}
    answer = send(client, json.dumps(body))
    assert (answer.status_code, answer.json()["action"]) == (201, "add")


def test_an_empty_order_names_every_field(client):
    refused(send(client, "{}"), *(f"/{name}" for name in FIELDS if name not in {"action", "parameters"}))
    refused(send(client, ""), *(f"/{name}" for name in FIELDS if name not in {"action", "parameters"}))


def test_a_retired_plan_is_told_at_the_plan(client, offering, org):
    plan = Plan.objects.get(version=offering.current_version, slug="small")
    catalog.retire_plan(plan, actor=org.curator)
    for name in ("database/small", str(plan.pk)):
        refused(send(client, json.dumps(wanted_body(offering, plan=name))), "/plan")


def test_a_plan_of_an_older_version_is_told_at_the_plan(client, offering, org):
    plan = Plan.objects.get(version=offering.current_version, slug="small")
    draft = catalog.new_draft(offering, actor=org.curator)
    catalog.publish(draft, actor=org.curator2)
    body = refused(send(client, json.dumps(wanted_body(offering, plan=str(plan.pk)))), "/plan")
    assert "older version" in body["detail"]


def test_a_paused_or_retired_offering_is_told_at_the_plan(client, offering, org):
    catalog.pause(offering, "Moving to a new data center.", actor=org.curator)
    body = refused(send(client, json.dumps(wanted_body(offering))), "/plan")
    assert "new data center" in body["detail"]
    catalog.retire(Offering.objects.get(), actor=org.curator)
    refused(send(client, json.dumps(wanted_body(offering))), "/plan")


def test_a_plan_of_others_answers_as_one_that_is_not_there(client, org, offering):
    secret = "secret-" + "x" * 40
    hidden = published_offering(org, secret, units=("research",))
    draft = catalog.new_draft(hidden, actor=org.curator)
    catalog.save_part(Plan(version=draft, slug="y" * 40, name="Long"), actor=org.curator)
    catalog.save_part(Price(plan=draft.plans.get(name="Long"), kind="monthly", amount=1), actor=org.curator)
    catalog.publish(draft, actor=org.curator2)
    for plan in ("small", "y" * 40):
        answers = {
            send(client, json.dumps(wanted_body(hidden, plan=f"{slug}/{plan}", name="-", cost_center="x"))).content
            for slug in (secret, secret.replace("secret", "absent"))
        }
        assert len({answer.replace(b"absent", b"secret") for answer in answers}) == 1


def test_a_name_in_use_is_told_at_the_name(client, offering):
    assert send(client, json.dumps(wanted_body(offering))).status_code == 201
    answer = send(client, json.dumps(wanted_body(offering, name="CAMPAIGN-db")))
    assert [error["pointer"] for error in answer.json()["errors"]] == ["/name"]
    assert Order.objects.count() == 1


DISHONEST = [
    (b"", "/plan"),
    (b"null", ""),
    (b"1", ""),
    (b'"text"', ""),
    (b"[]", ""),
    (b"[1, 2]", ""),
    (b"{", ""),
    (b"{'a': 1}", ""),
    (b'{"name": "a", "name": "b"}', ""),
    (b'{"parameters": {"storage": 10, "storage": 20}}', ""),
    (b'{"name": NaN}', ""),
    (b'{"name": Infinity}', ""),
    (b'{"name": -Infinity}', ""),
    (b'{"parameters": {"storage": 1e400}}', ""),
    (b'{"parameters": {"storage": ' + b"9" * 401 + b"}}", ""),
    (b'{"name": ' + b"9" * 5000 + b"}", ""),
    (b'{"name": "a\\u0000b"}', "/name"),
    (b'{"name": "a\\ud800b"}', "/name"),
    (b'{"parameters": {"a~b": ["x", "\\udfff"]}}', "/parameters/a~0b/1"),
    (b'{"a\\u0000b": 1}', ""),
    (b'{"name": "a\x00b"}', ""),
    (b'{"name": "\xed\xa0\x80"}', ""),
    (b'{"name": "\xff\xfe"}', ""),
    ('{"name": "caf\u00e9"}'.encode("utf-16"), ""),
    (b"+AHsAIgBuACIAOgAxAH0-", ""),
    (b"\xef\xbb\xbf{}", ""),
    (b'{"parameters": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
    (b"[" * 200_000, ""),
    (b'{"parameters":' * 500 + b"1" + b"}" * 500, None),
]  # fmt: skip


def test_what_is_no_honest_json_is_refused(client):
    for raw, pointer in DISHONEST:
        answer = send(client, raw)
        pointers = [error["pointer"] for error in answer.json()["errors"]]
        assert (answer.status_code, answer["Content-Type"]) == (400, "application/problem+json"), raw[:80]
        assert pointers[0].count("/") > 15 if pointer is None else pointer in pointers, raw[:80]
    assert stored() == (0, 0, 0)


@pytest.mark.parametrize("size", [300_000, 1_000_000, 3_000_000])
def test_a_body_that_no_order_needs_is_too_large(client, offering, size):
    answer = send(client, json.dumps(wanted_body(offering, name="x" * size)))
    assert (answer.status_code, answer["Content-Type"]) == (413, "application/problem+json")
    assert stored() == (0, 0, 0)


def test_large_parameters_are_refused_at_the_parameters(client, offering):
    refused(send(client, json.dumps(wanted_body(offering, parameters={"storage": "x" * 100_000}))), "/parameters")


@pytest.mark.parametrize(
    "content_type", ["text/plain", "application/x-www-form-urlencoded", "application/xml", "text/json"]
)
def test_a_body_that_says_it_is_no_json_is_refused(client, offering, content_type):
    answer = send(client, json.dumps(wanted_body(offering)), content_type=content_type)
    assert (answer.status_code, answer["Content-Type"]) == (415, "application/problem+json")
    assert stored() == (0, 0, 0)


def test_a_form_is_no_order(client, offering):
    form = encode_multipart("x", wanted_body(offering) | {"parameters": ""})
    answer = send(client, form, content_type="multipart/form-data; boundary=x")
    assert (answer.status_code, answer["Content-Type"]) == (415, "application/problem+json")


@pytest.mark.parametrize("charset", ["utf-8", "UTF-8", "latin-1", "utf-7", "zlib", "rot13", "idna", "nonsense", ""])
def test_json_is_utf8_whatever_its_charset_says(client, offering, charset):
    answer = send(client, json.dumps(wanted_body(offering)), content_type=f"application/json; charset={charset}")
    assert answer.status_code in {201, 400, 415}


texts = st.text(max_size=40)
values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=8,
)
quickly = settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


def refused_or_ordered(answer):
    """An answer below 500; where it is not 201, nothing was stored."""
    assert answer.status_code in {201, 400, 413}, answer.content
    if answer.status_code == 201:
        IdempotencyKey.objects.all().delete()
        Order.objects.filter(state="fulfilling").update(name=str(uuid4()), state="completed")
        ServiceInstance.objects.filter(name="campaign-db").update(name=str(uuid4()))
        return
    assert answer["Content-Type"] == "application/problem+json"
    assert answer.status_code == 413 or answer.json()["errors"]
    assert not IdempotencyKey.objects.exists()


@quickly
@given(value=values)
def test_no_body_breaks_the_api(client, value):
    before = Order.objects.count()
    answer = send(client, json.dumps(value))
    refused_or_ordered(answer)
    assert Order.objects.count() == before


@quickly
@given(field=st.sampled_from([*FIELDS, "extra"]), value=values)
def test_no_value_of_a_field_breaks_the_api(client, offering, field, value):
    before = Order.objects.count()
    answer = send(client, json.dumps(wanted_body(offering) | {field: value}))
    refused_or_ordered(answer)
    assert Order.objects.count() == before + (answer.status_code == 201)


@quickly
@given(raw=st.binary(max_size=200))
def test_no_bytes_break_the_api(client, raw):
    refused_or_ordered(send(client, raw))
    assert not Order.objects.exists()


@quickly
@given(parameters=st.dictionaries(st.sampled_from(["storage", "backup"]) | texts, values, max_size=3))
def test_no_parameters_break_the_api(client, offering, parameters):
    before = Order.objects.count()
    answer = send(client, json.dumps(wanted_body(offering, parameters=parameters)))
    refused_or_ordered(answer)
    assert Order.objects.count() == before + (answer.status_code == 201)
