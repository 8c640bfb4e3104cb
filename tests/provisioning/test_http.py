"""The connector `http`: what a workflow describes is what the far side sees."""

import base64
import hashlib
import hmac
import json
import re
import time
from functools import partial
from pathlib import Path

import pytest
from django.conf import settings as django_settings

from provisioning.connectors import connector
from provisioning.connectors.base import BackEnd, Done, Failed, Missing, Working
from provisioning.connectors.http_auth import signature
from provisioning.connectors.http_requests import asked_for
from tests.far_side.rest import RestBackEnd
from tests.provisioning.calls import a_call
from tests.provisioning.http_calls import THING, first_call, then

http = connector("http")
ROOT = Path(__file__).resolve().parents[2]


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


def test_what_the_step_describes_is_what_the_far_side_sees(rest, call):
    first = call(THING | {"method": "post", "headers": {"X-Team": "brand", "accept": "text/plain"}})
    answer = http.start(first)
    assert answer == Done({"host": "thing-1-0.example"}, "The back end confirmed it.", "thing-1-0")
    (seen,) = rest.calls
    assert (seen["method"], seen["path"], seen["body"]) == ("POST", "/things", {"name": "campaign"})
    assert seen["headers"]["Idempotency-Key"] == str(first.idempotency_key)
    assert seen["headers"]["X-Greenlane-Fencing-Token"] == str(first.fencing_token)
    assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-01", seen["headers"]["traceparent"])
    assert (seen["headers"]["X-Team"], seen["headers"]["accept"]) == ("brand", "text/plain")
    assert seen["headers"]["Content-Type"] == "application/json"


@pytest.mark.parametrize(
    ("address", "path", "seen"),
    [
        ("", "things", "/things"),
        ("/", "/things", "/things"),
        ("/api/", "/things?a=b", "/api/things?a=b"),
        ("/api", "x/", "/api/x/"),
    ],
)
def test_a_path_is_below_the_back_ends_address(rest, call, address, path, seen):
    rest.fault("status", status=200)
    http.start(call({"path": path}, address=rest.address + address))
    assert rest.made() == [("POST", seen)]


@pytest.mark.parametrize(
    "path", ["https://elsewhere.example/", "//elsewhere.example/", "../admin", "things/../admin", "things/%2e%2E/x",
             "things/./x", "things//x", "things/{id}", "things/ä", "things x", "things#x",
             "things\r\nHost: x", "th\\ings"],
)  # fmt: skip
def test_a_path_that_leads_elsewhere_is_not_called(rest, call, path):
    with pytest.raises(Failed) as failed:
        http.start(call({"path": path}))
    assert failed.value.left_nothing
    assert rest.calls == []


@pytest.mark.parametrize(
    "inputs",
    [
        {}, {"path": 7}, {"path": ""}, {"path": "x", "success": [404]}, {"path": "x", "success": 200},
        {"path": "x", "success": []}, {"path": "x", "success": [True]},
        {"path": "x", "outputs": ["/id"]}, {"path": "x", "outputs": {"id": "id"}},
        {"path": "x", "external_ref": "id"}, {"path": "x", "headers": "X: y"}, {"path": "x", "headers": {"X": None}},
        {"path": "x", "headers": {"Host": "elsewhere"}}, {"path": "x", "headers": {"X": "a\r\nb: c"}},
        {"path": "x", "method": "TRACE"},
        {"path": "x", "poll": 5}, {"path": "x", "poll": {"every": 0}}, {"path": "x", "poll": {"every": "often"}},
        {"path": "x", "poll": {"every": True}}, {"path": "x", "poll": {"done": "yes"}},
        {"path": "x", "poll": {"when": 1}},
        {"path": "x", "poll": {"path": 5}}, {"path": "x", "body": {"a": {"$secret": "unknown"}}},
        {"path": "x", "body": {"a": {"$secret": ["password"]}}}, {"path": "x", "body": {"a": {"$call": "password"}}},
        {"path": "x", "body": [], "headers": {"Content-Type": "application/x-www-form-urlencoded"}},
    ],
)  # fmt: skip
def test_a_step_that_is_described_wrongly_calls_nobody_and_says_what_is_wrong(rest, call, inputs):
    with pytest.raises(Failed) as failed:
        http.start(call(inputs))
    assert str(failed.value).endswith(".")
    assert failed.value.left_nothing
    assert rest.calls == []


@pytest.mark.parametrize("operation", ["undo", "update", "describe", "rotate"])
def test_an_operation_that_is_described_wrongly_says_what_is_wrong(rest, call, operation):
    for wrong in ("/path", {}, {"path": "x", "pathh": "y"}):
        with pytest.raises(Failed, match="step is wrong"):
            getattr(http, operation)(call(THING | {operation: wrong}, operation=operation))
    assert rest.calls == []


def test_text_and_forms_are_sent_as_such(rest, call):
    http.start(call({"path": "/things", "body": "hello ü"}))
    form = {"Content-Type": "application/x-www-form-urlencoded; charset=utf-8"}
    body = {"a": "b & c", "password": {"$secret": "password"}}
    http.start(call({"path": "/things", "body": body, "headers": form}, secrets={"password": "s3cret="}))
    http.start(call({"path": "/things"}))
    assert [seen["raw"] for seen in rest.calls] == ["hello ü".encode(), b"a=b+%26+c&password=s3cret%3D", b""]
    assert rest.calls[0]["headers"]["Content-Type"] == "text/plain; charset=utf-8"
    assert "Content-Type" not in rest.calls[2]["headers"]


def test_passwords_and_facts_stand_where_an_object_asks_for_them_and_text_asks_for_nothing(rest, call, settings):
    settings.PUBLIC_URL = "https://it.example"
    body = {
        "list": [{"password": {"$secret": "password"}}],
        "call_me": {"$call": "callback_url"},
        "key": {"$call": "idempotency_key"},
        "typed": '{"$secret": "password"}',
        "not_alone": {"$secret": "password", "x": 1},
    }
    first = call({"path": "/things", "body": body, "headers": {"X-Password": {"$secret": "password"}}})
    http.start(first)
    (seen,) = rest.calls
    password = first.secrets["password"]
    assert seen["headers"]["X-Password"] == password
    assert seen["body"] == {
        "list": [{"password": password}],
        "call_me": "https://it.example/api/v1/callbacks/things/",
        "key": str(first.idempotency_key),
        "typed": '{"$secret": "password"}',
        "not_alone": {"$secret": "password", "x": 1},
    }
    assert password not in str(first.lines)


def test_a_back_end_that_is_missing_fails_with_a_sentence():
    for back_end in (None, BackEnd("things")):
        with pytest.raises(Failed, match="no back end"):
            http.start(a_call(inputs=THING, back_end=back_end))


def test_nobody_a_bearer_and_a_name_with_password_sign_in_as_usual(rest, call):
    http.start(call())
    http.start(call(credentials={"token": "t0ken"}))
    http.start(call(config={"username": "greenlane"}, credentials={"password": "pass:word"}))
    http.start(call(config={"auth": "none"}, credentials={"token": "t0ken"}))
    basic = "Basic " + base64.b64encode(b"greenlane:pass:word").decode()
    assert [seen["headers"].get("Authorization") for seen in rest.calls] == [None, "Bearer t0ken", basic, None]


@pytest.mark.parametrize("name", [None, "X-Signature"])
def test_a_signature_covers_method_path_time_and_body(rest, call, name):
    config = {"auth": "hmac"} | ({"header": name} if name else {})
    http.start(call(THING | {"path": "/things?a=b"}, config=config, credentials={"hmac_key": "key"}))
    (seen,) = rest.calls
    found = re.fullmatch(r"t=(\d+),v1=([0-9a-f]{64})", seen["headers"][name or "X-Greenlane-Signature"])
    assert abs(int(found[1]) - time.time()) < 5
    text = f"{found[1]}\nPOST\n/things?a=b\n{hashlib.sha256(seen['raw']).hexdigest()}"
    assert hmac.new(b"key", text.encode(), hashlib.sha256).hexdigest() == found[2]


def test_the_signature_is_the_one_of_the_documentation():
    signed = signature("key", "POST", "/things", b"{}", 1764000000)
    assert signed in (ROOT / "docs" / "connectors.md").read_text()


def test_the_example_of_the_documentation_can_be_done(call):
    text = (ROOT / "docs" / "connectors.md").read_text().partition("### `http`")[2]
    example = json.loads(text.partition("```json\n")[2].partition("```")[0])
    assert set(example) <= set(django_settings.CONNECTORS["http"]["inputs"])
    assert all(asked_for(call(example), operation) for operation in ("start", "undo", "describe"))


@pytest.mark.parametrize("auth", ["bearer", "basic", "hmac", "oauth"])
def test_a_credential_that_is_missing_calls_nobody(rest, call, auth):
    with pytest.raises(Failed):
        http.start(call(config={"auth": auth}))
    assert rest.calls == []


def test_a_credential_that_would_forge_a_header_calls_nobody_and_is_not_shown(rest, call):
    with pytest.raises(Failed) as failed:
        http.start(call(credentials={"token": "t0ken\r\nX-Admin: yes"}))
    assert "t0ken" not in str(failed.value)
    assert rest.calls == []


def test_undone_it_is_gone_and_undoing_again_is_no_error(rest, call):
    first = call()
    answer = http.start(first)
    for _ in range(2):
        assert isinstance(http.undo(then(first, "undo", answer)), Done)
    assert rest.things == {}
    assert http.undo(call({"path": "/things"}, operation="undo")).detail == "There is nothing to take back here."


def test_undoing_may_take_a_while(rest, call):
    inputs = THING | {"undo": {"path": "/slow/{external_ref}", "poll": {"path": "location"}}}
    first = call(inputs)
    made = http.start(first)
    answer = http.undo(then(first, "undo", made))
    assert answer == Working(5, external_ref="poll /operations/operation-1 thing-1-0")
    while isinstance(answer, Working):
        answer = http.last_operation(then(first, "undo", answer))
    assert rest.things == {}
    rest.operations.clear()
    assert (
        http.last_operation(then(first, "undo", external_ref="poll /operations/operation-1 x")).detail == "It is gone."
    )


def test_what_the_back_end_never_named_is_not_guessed_at(rest, call):
    with pytest.raises(Failed, match="never said") as failed:
        http.undo(call(operation="undo"))
    assert not failed.value.left_nothing
    assert rest.calls == []


@pytest.mark.parametrize("reference", ["a/b", "../things", "a?b=c", "a#b", "ü", "%2e%2e", "a b"])
def test_a_reference_is_one_part_of_a_path_whatever_is_in_it(rest, call, reference):
    with pytest.raises(Missing):
        http.describe(call(operation="describe", external_ref=reference))
    assert re.fullmatch(r"/things/[^/?#]+", rest.calls[0]["path"])


@pytest.mark.parametrize("reference", [".", ".."])
def test_a_reference_of_dots_leads_nowhere(rest, call, reference):
    with pytest.raises(Failed, match="somewhere else"):
        http.undo(call(operation="undo", external_ref=reference))
    assert rest.calls == []


def test_a_change_sends_the_new_values_and_reads_what_came_of_it(rest, call):
    first = call()
    answer = http.start(first)
    assert http.update(then(first, "update", answer)).outputs == {"size": 20}
    assert rest.things[answer.external_ref]["size"] == 20


def test_a_new_password_is_sent_to_the_thing(rest, call):
    first = call()
    answer = http.start(first)
    rotated = then(first, "rotate", answer, secrets={"password": "fresh"})
    assert isinstance(http.rotate(rotated), Done)
    assert rest.things[answer.external_ref]["password"] == "fresh"


@pytest.mark.parametrize("operation", ["update", "rotate", "describe"])
def test_what_the_workflow_does_not_describe_cannot_be_done(rest, call, operation):
    with pytest.raises(Failed, match="does not say how"):
        getattr(http, operation)(call({"path": "/things"}, operation=operation))
    assert rest.calls == []


def test_looking_finds_it_or_misses_it_and_changes_nothing(rest, call):
    first = call()
    answer = http.start(first)
    found = http.describe(then(first, "describe", answer))
    assert found == Done({"host": "thing-1-0.example"}, "It is there.", "thing-1-0")
    rest.things.clear()
    with pytest.raises(Missing):
        http.describe(then(first, "describe", answer))
    rest.fault("status", status=403)
    with pytest.raises(Failed) as failed:
        http.describe(then(first, "describe", answer))
    assert not isinstance(failed.value, Missing)


def test_looking_keeps_the_outputs_that_only_the_first_answer_had(rest, call):
    rest.things["mine"] = {"id": "mine"}
    first = call(operation="describe", external_ref="mine", outputs={"host": "known"})
    assert http.describe(first).outputs == {"host": "known"}


def test_a_preview_calls_nobody_and_shows_no_password(rest, call):
    first = call(THING | {"body": {"password": {"$secret": "password"}}}, operation="preview")
    http.preview(first)
    assert rest.calls == []
    assert first.lines == [f"POST {rest.address}/things", "Body: {'password': {'$secret': 'password'}}"]
