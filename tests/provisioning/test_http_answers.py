"""The connector `http`: what the far side answers, or does not, is understood."""

import threading
import time
from email.utils import formatdate
from functools import partial

import pytest

from core import secrets
from provisioning.connectors import connector
from provisioning.connectors.base import Done, Failed, Lease, LeaseLost, Retry, Unknown, Working
from tests.far_side.rest import RestBackEnd
from tests.provisioning.calls import lost_lease
from tests.provisioning.http_calls import LOOKS, SLOW, THING, attempt, first_call, then

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


@pytest.mark.parametrize("fault", ["drop_after", "status_after"])
def test_with_a_key_a_second_attempt_is_the_same_thing(rest, call, fault):
    rest.fault(fault, status=500)
    first = call()
    with pytest.raises(Retry):
        http.start(first)
    answer = http.start(attempt(first))
    assert list(rest.things) == [answer.external_ref]


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
