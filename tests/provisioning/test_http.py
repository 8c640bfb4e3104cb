"""The connector `http`: what a workflow describes is what the far side sees, and what it answers is understood."""

import base64
import hashlib
import hmac
import json
import re
import threading
import time
from email.utils import formatdate

import pytest
from django.conf import settings as django_settings

import catalog.services as catalog
from core import secrets
from provisioning.connectors import calling, connector
from provisioning.connectors.base import BackEnd, Done, Failed, Lease, LeaseLost, Missing, Retry, Unknown, Working
from provisioning.models import ServiceInstance, Step
from tests.factories import published_offering
from tests.far_side.rest import RestBackEnd
from tests.provisioning.calls import a_call, again, lost_lease
from tests.provisioning.engine import drive, fresh, place, run_of, step_of

http = connector("http")
THING = {
    "path": "/things",
    "body": {"name": "campaign"},
    "external_ref": "/id",
    "outputs": {"host": "/host"},
    "undo": {"path": "/things/{external_ref}"},
    "describe": {"path": "/things/{external_ref}"},
    "rotate": {
        "method": "POST",
        "path": "/things/{external_ref}/password",
        "body": {"password": {"$secret": "password"}},
    },
    "update": {"path": "/things/{external_ref}", "body": {"size": 20}, "outputs": {"size": "/size"}},
}
SLOW = THING | {
    "path": "/slow",
    "poll": {"path": "location", "every": 7, "status": "/state", "done": ["done"], "detail": "/said"},
}


@pytest.fixture
def rest(settings):
    """The far side, on loopback."""
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with RestBackEnd() as server:
        yield server


@pytest.fixture
def call(rest):
    """Make a first call of a step with these inputs."""

    def make(inputs=None, *, config=None, credentials=None, address=None, **values):
        back_end = BackEnd("things", address or rest.address, config or {}, credentials or {})
        return a_call(inputs=THING if inputs is None else inputs, back_end=back_end, **values)

    return make


def then(before, operation=None, answer=None, **changes):
    """Make the next call of the same step, or another operation on what it made."""
    reference = answer.external_ref if answer else before.external_ref
    return again(before, operation, **{"back_end": before.back_end, "external_ref": reference} | changes)


def attempt(before, **changes):
    """Make the next attempt of the same step: the key stays."""
    return then(before, idempotency_key=before.idempotency_key, attempt=before.attempt + 1, **changes)


# --- one call -----------------------------------------------------------------------------------------


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


# --- who calls ----------------------------------------------------------------------------------------


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


# --- what comes back ----------------------------------------------------------------------------------


@pytest.mark.parametrize("status", [400, 401, 403, 404, 409, 410, 418, 422])
def test_a_refusal_is_final_and_has_left_nothing(rest, call, status):
    rest.fault("status", status=status, body={"title": "Bad", "detail": "The name is\ntaken."})
    with pytest.raises(Failed, match=rf"answered {status}: The name is taken\.$") as failed:
        http.start(call())
    assert failed.value.left_nothing


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
def test_a_redirect_is_not_followed(rest, call, status):
    rest.fault("status", status=status, headers={"Location": "http://169.254.169.254/"})
    with pytest.raises(Failed, match="redirects are not followed") as failed:
        http.start(call(credentials={"token": "t0ken"}))
    assert not failed.value.left_nothing
    assert len(rest.calls) == 1


@pytest.mark.parametrize(
    ("status", "text", "expected"),
    [
        (408, None, (None, False)),
        (425, None, (None, False)),
        (429, "7", (7, False)),
        (429, "soon", (None, False)),
        (500, None, (None, True)),
        (502, "-1", (None, True)),
        (503, "120", (120, True)),
        (503, "Wed, 21 Oct 2015 07:28:00 GMT", (0, True)),
        (504, None, (None, True)),
        (409, "3", (3, False)),
    ],
)
def test_who_says_not_now_is_asked_again_when_he_says(rest, call, status, text, expected):
    rest.fault("status", status=status, headers={"Retry-After": text} if text else {})
    with pytest.raises(Retry) as retry:
        http.start(call())
    assert (retry.value.after, retry.value.is_fault) == expected


def test_a_date_says_when_as_well(rest, call):
    rest.fault("status", status=503, headers={"Retry-After": formatdate(time.time() + 60, usegmt=True)})
    with pytest.raises(Retry) as retry:
        http.start(call())
    assert 55 < retry.value.after < 61


@pytest.mark.parametrize(
    ("inputs", "body"),
    [
        ({"outputs": {"host": "/host"}}, {"id": "x"}),
        ({"outputs": {"host": "/hosts/1"}}, {"hosts": ["a"]}),
        ({"outputs": {"host": "/id/x"}}, {"id": "x"}),
        ({"outputs": {"host": "/host"}}, "<p>Hello</p>"),
        ({"outputs": {"host": "/host"}}, '{"host": "\\u0000"}'),
        ({"external_ref": "/id"}, {"name": "x"}),
        ({"external_ref": "/id"}, {"id": ""}),
        ({"external_ref": "/id"}, {"id": True}),
        ({"external_ref": "/id"}, {"id": {"a": 1}}),
        ({"external_ref": "/id"}, {"id": "x" * 201}),
        ({"secret_outputs": {"password": "/password"}}, {"password": None}),
    ],
)
def test_an_answer_without_what_the_step_reads_fails_and_may_have_left_something(rest, call, inputs, body):
    rest.fault("status", status=201, body=body)
    with pytest.raises(Failed) as failed:
        http.start(call({"path": "/things", **inputs}))
    assert not failed.value.left_nothing


def test_values_are_read_from_anywhere_in_the_answer(rest, call):
    rest.fault("status", status=200, body={"a/b": [{"~": 5}], "all": {"x": None}})
    answer = http.start(call({"path": "/things", "outputs": {"n": "/a~1b/0/~0", "all": "/all", "x": "/all/x"}}))
    assert answer.outputs == {"n": 5, "all": {"x": None}, "x": None}


def test_a_password_of_the_back_ends_is_a_secret_and_never_an_output(rest, call):
    first = call(THING | {"secret_outputs": {"admin_password": "/admin/password"}})
    answer = http.start(first)
    assert answer.secrets == {"admin_password": "given-thing-1-0"}
    assert "given" not in f"{answer.outputs}{answer.detail}{first.lines}"
    assert secrets.scrub("It is given-thing-1-0.") == "It is ********."


@pytest.mark.parametrize("fault", ["huge", "bomb", "headers"])
def test_an_answer_without_end_fails_by_its_name(rest, call, fault):
    rest.fault(fault)
    with pytest.raises(Failed, match=r"^response_too_large: ") as failed:
        http.start(call())
    assert not failed.value.left_nothing


@pytest.mark.parametrize("fault", ["drip", "hold_after"])
def test_who_is_slower_than_the_call_may_be_is_asked_again(rest, call, fault):
    rest.fault(fault)
    with pytest.raises(Retry) as retry:
        http.start(call(_ends_at=time.monotonic() + 0.5))
    assert retry.value.__cause__.sent


def test_what_may_not_be_reached_is_never_tried_again(call):
    with pytest.raises(Failed, match="not public"):
        http.start(call(address="http://169.254.169.254/latest"))


def test_a_lost_lease_ends_a_call_under_way(rest, call):
    rest.fault("hold_after")
    lease = Lease(30.0)
    threading.Timer(0.2, lease.lose).start()
    began = time.monotonic()
    with pytest.raises(LeaseLost):
        http.start(call(lease=lease))
    assert time.monotonic() - began < 2


@pytest.mark.parametrize("operation", ["start", "undo", "update", "describe", "rotate", "last_operation"])
def test_who_has_lost_the_lease_calls_nobody(rest, call, operation):
    first = call(SLOW, external_ref="poll /operations/1 thing-1", lease=lost_lease(), operation=operation)
    first.operation = "start" if operation == "last_operation" else operation
    with pytest.raises(LeaseLost):
        getattr(http, operation)(first)
    assert rest.calls == []


# --- doing it again -----------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["drop_after", "status_after"])
def test_with_a_key_a_second_attempt_is_the_same_thing(rest, call, fault):
    rest.fault(fault, status=500)
    first = call()
    with pytest.raises(Retry):
        http.start(first)
    answer = http.start(attempt(first))
    assert list(rest.things) == [answer.external_ref]


LOOKS = {
    "method": "PUT",
    "path": "/things/mine",
    "body": {"host": "h"},
    "outputs": {"host": "/host"},
    "external_ref": "/id",
    "idempotency": "lookup",
    "describe": {"path": "/things/mine"},
}


def test_with_lookup_what_is_there_is_not_made_again(rest, call):
    rest.fault("drop_after", method="PUT")
    first = call(LOOKS)
    with pytest.raises(Retry):
        http.start(first)
    answer = http.start(attempt(first))
    assert answer == Done({"host": "h"}, "It is there.", "mine")
    assert rest.made() == [("GET", "/things/mine"), ("PUT", "/things/mine"), ("GET", "/things/mine")]


def test_with_lookup_what_is_there_and_not_ready_is_waited_for(rest, call):
    waiting = LOOKS | {
        "poll": {"path": "/things/mine", "every": 3, "status": "/state", "done": ["up"], "failed": ["broken"]}
    }
    rest.things["mine"] = {"id": "mine", "host": "h", "state": "coming"}
    first = call(waiting)
    answer = http.start(first)
    assert answer == Working(3, external_ref="mine")
    rest.things["mine"]["state"] = "up"
    assert http.last_operation(then(first, answer=answer)).outputs == {"host": "h"}
    rest.things["mine"]["state"] = "broken"
    with pytest.raises(Failed, match="says that it failed"):
        http.start(first)
    assert rest.made("PUT") == []


def test_with_lookup_and_no_way_to_look_nothing_is_made(rest, call):
    with pytest.raises(Failed, match="how to describe"):
        http.start(call(THING | {"idempotency": "lookup", "describe": None}))
    assert rest.calls == []


@pytest.mark.parametrize(
    ("fault", "status"), [("drop_after", 0), ("drop", 0), ("status", 500), ("status", 502), ("status_after", 504)]
)
def test_with_none_an_unclear_end_is_for_a_person(rest, call, fault, status):
    rest.fault(fault, status=status)
    with pytest.raises(Unknown):
        http.start(call(THING | {"idempotency": "none"}))


def test_with_none_what_was_certainly_not_done_is_tried_again(rest, call):
    rest.fault("status", status=503)
    with pytest.raises(Retry):
        http.start(call(THING | {"idempotency": "none"}))
    with pytest.raises(Retry):
        http.start(call(THING | {"idempotency": "none"}, address="http://127.0.0.1:9"))


def test_with_none_taking_away_may_be_done_again(rest, call):
    first = call(THING | {"idempotency": "none"})
    answer = http.start(first)
    rest.fault("drop")
    with pytest.raises(Retry):
        http.undo(then(first, "undo", answer))
    assert isinstance(http.undo(then(first, "undo", answer)), Done)
    assert rest.things == {}


# --- work that takes a while --------------------------------------------------------------------------


def test_what_is_accepted_is_asked_for_where_location_says_until_it_is_done(rest, call):
    rest.polls = 3
    first = call(SLOW | {"secret_outputs": {"admin": "/admin/password"}})
    answer = http.start(first)
    assert answer == Working(7, external_ref="poll /operations/operation-1 thing-1-0")
    said = []
    while isinstance(answer, Working):
        answer = http.last_operation(then(first, answer=answer))
        said.append((type(answer).__name__, answer.detail))
    assert said == [("Working", "Question 1"), ("Working", "Question 2"), ("Done", "The back end confirmed it.")]
    assert answer.outputs == {"host": "thing-1-0.example"}
    assert answer.external_ref == "thing-1-0"
    assert answer.secrets == {"admin": "given-thing-1-0"}


def test_retry_after_says_when_to_ask_next(rest, call):
    first = call(SLOW)
    assert http.last_operation(then(first, answer=http.start(first))).after == 1


def test_without_a_status_the_answers_status_says_whether_it_is_done(rest, call):
    first = call(SLOW | {"poll": {"path": "location"}})
    answer = http.start(first)
    assert (answer.after, answer.external_ref) == (5, "poll /operations/operation-1 thing-1-0")
    answer = http.last_operation(then(first, answer=answer))
    assert isinstance(answer, Working)
    assert isinstance(http.last_operation(then(first, answer=answer)), Done)


def test_outputs_come_from_the_thing_itself_where_the_step_says_so(rest, call):
    rest.polls = 1
    poll = {"path": "location", "result": "/things/{external_ref}"}
    first = call(SLOW | {"poll": poll, "outputs": {"name": "/name"}})
    assert http.last_operation(then(first, answer=http.start(first))).outputs == {"name": "campaign"}


@pytest.mark.parametrize("status", [400, 401, 404, 410, 500, 503])
def test_an_answer_that_says_nothing_of_it_is_no_end_of_what_has_begun(rest, call, status):
    first = call(SLOW)
    answer = http.start(first)
    rest.fault("status", status=status, headers={"Retry-After": "4"})
    with pytest.raises(Retry) as retry:
        http.last_operation(then(first, answer=answer))
    assert retry.value.after == 4


def test_a_page_instead_of_json_is_no_end_either(rest, call):
    first = call(SLOW)
    answer = http.start(first)
    rest.fault("html")
    with pytest.raises(Retry, match="no JSON"):
        http.last_operation(then(first, answer=answer))


def test_what_the_back_end_calls_failed_has_failed(rest, call):
    first = call(SLOW | {"poll": SLOW["poll"] | {"failed": ["broken"], "detail": "/why"}})
    answer = http.start(first)
    rest.fault("status", status=200, body={"state": "broken", "why": "No room."})
    with pytest.raises(Failed, match=r"failed: No room\.$"):
        http.last_operation(then(first, answer=answer))


@pytest.mark.parametrize(
    ("location", "reason"),
    [("http://elsewhere.example/x", "no other host"), (None, "no Location"), ("ftp://x", "form https")],
)
def test_credentials_follow_a_location_to_no_other_host(rest, call, location, reason):
    rest.fault("status", status=202, headers={"Location": location} if location else {})
    with pytest.raises(Failed, match=reason):
        http.start(call(SLOW, credentials={"token": "t0ken"}))


def test_a_location_may_be_relative_or_name_the_same_host(rest, call):
    for location in ("/operations/7?x=y", "operations/7?x=y", f"{rest.address}/operations/7?x=y"):
        rest.fault("status", status=202, headers={"Location": location})
        assert http.start(call(SLOW)).external_ref == "poll /operations/7?x=y"


def test_a_thing_may_be_known_by_its_location(rest, call):
    first = call({"path": "/things", "external_ref": "location", "undo": {"path": "location"}})
    answer = http.start(first)
    assert answer.external_ref == "/things/thing-1-0"
    assert isinstance(http.undo(then(first, "undo", answer)), Done)
    assert rest.things == {}


# --- taking away, changing, looking -------------------------------------------------------------------


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


# --- by the engine ------------------------------------------------------------------------------------


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


# --- what other connectors use ------------------------------------------------------------------------


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
