"""What becomes of every answer that a broker should not give: the table of orphan mitigation, seen from outside."""

import time
from contextlib import suppress

import pytest

from provisioning.connectors import base, connector, osb_mitigation
from provisioning.connectors.base import Done, Failed, LeaseLost, Retry, Working
from provisioning.connectors.osb import State
from tests.far_side.broker import SMALL, Say, ScriptedBroker
from tests.provisioning.osb_calls import go, osb_call, then

HTML = Say(200, b"<html>Welcome</html>")
HUGE = Say(201, b'{"dashboard_url": "' + b"x" * 2_000_000 + b'"}')
BEFORE = {"limits": {"plan_id": "plan-tiny"}, "parameters": {}}


@pytest.fixture(autouse=True)
def _loopback(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]


@pytest.fixture
def broker():
    serving = ScriptedBroker()
    yield serving
    serving.close()


@pytest.fixture
def _hurry(monkeypatch):
    """Calls end after less than a second."""
    monkeypatch.setattr(base, "CALL_SECONDS", 0.4)


def outcome(broker, operation, *says, state=None, **values):
    """What one call comes to: its answer, or what it raised."""
    name = {"start": "provision", "undo": "deprovision"}.get(operation, operation)
    broker.script[name] = list(says)
    call = osb_call(broker, operation, external_ref=state.write() if state else "", **values)
    try:
        return getattr(connector("osb"), operation)(call)
    except (Failed, Retry) as error:
        return error


# --- making -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "is_left"),
    [
        (Say(500), True),
        (Say(501, b"<html>Bad gateway</html>"), True),
        (Say(503, headers={"Retry-After": "1"}), True),
        (Say(201, b"not JSON"), True),
        (Say(201, []), True),
        (Say(201, {"dashboard_url": 7}), True),
        (Say(202, b"not JSON"), True),
        (Say(202, {"operation": 7}), True),
        (Say(202, {"operation": "x" * 10_001}), True),
        (Say(203), True),
        (Say(204, b""), True),
        (HUGE, True),
        (Say(how="drop"), True),
        (Say(302, headers={"Location": "http://127.0.0.1:1/"}), True),
        (HTML, False),
        (Say(200, b""), False),
        (Say(400, {"description": "storage is too large"}), False),
        (Say(401), False),
        (Say(404), False),
        (Say(409), False),
        (Say(412), False),
        (Say(422, {"error": "AsyncRequired"}), False),
        (Say(422, {"error": "MaintenanceInfoConflict"}), False),
        (Say(422, []), False),
    ],
)
def test_a_failed_start_leaves_something_or_nothing_as_the_table_says(broker, said, is_left):
    error = outcome(broker, "start", said)
    assert type(error) is Failed
    assert error.left_nothing is not is_left
    assert broker.operations() == ["provision"]


@pytest.mark.parametrize(
    ("said", "after"),
    [
        (Say(408), None),
        (Say(429, headers={"Retry-After": "30"}), 30),
        (Say(422, {"error": "ConcurrencyError"}), None),
    ],
)
def test_a_start_that_the_broker_has_not_taken_up_is_tried_again(broker, said, after):
    error = outcome(broker, "start", said)
    assert type(error) is Retry
    assert (error.after, error.is_fault) == (after, False)


@pytest.mark.usefixtures("_hurry")
@pytest.mark.parametrize("how", ["hang", "drip"])
def test_a_start_without_an_answer_in_time_may_have_left_something(broker, how):
    began = time.monotonic()
    error = outcome(broker, "start", Say(201, {"dashboard_url": "https://x"}, acts=True, how=how))
    assert time.monotonic() - began < 5
    assert type(error) is Failed
    assert not error.left_nothing


def test_a_broker_that_is_not_there_is_tried_again(broker):
    broker.close()
    assert type(outcome(broker, "start")) is Retry


def test_a_broker_elsewhere_than_allowed_is_not_called(broker, settings):
    settings.EGRESS_ALLOW = []
    error = outcome(broker, "start")
    assert type(error) is Failed
    assert error.left_nothing
    assert broker.heard == []


def test_a_lost_lease_ends_a_call_that_is_under_way(broker):
    call = osb_call(broker)
    broker.script["provision"] = [Say(how="hang")]
    call.lease._cancelers = _LosesAtOnce(call.lease)
    with pytest.raises(LeaseLost):
        connector("osb").start(call)


class _LosesAtOnce(list):
    """Loses the lease as soon as something could be canceled."""

    def __init__(self, lease):
        super().__init__()
        self.lease = lease

    def append(self, cancel):
        super().append(cancel)
        self.lease.lose()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (Say(400, {"description": "storage is too large"}), "400: storage is too large"),
        (Say(400, {"error": "Quota", "description": 7}), "400 Quota"),
        (Say(400, {"error": "a" * 90, "description": "\x1b[31mred\n\nline"}), f"400 {'a' * 60}: [31mred line"),
        (Say(401), "refused the credentials"),
        (Say(412, {"description": "At most 2.13"}), "version 2.17 of the API. At most 2.13"),
        (Say(422, {"error": "MaintenanceInfoConflict"}), "import its services again"),
    ],
)
def test_a_refusal_says_what_the_broker_said(broker, said, sentence):
    assert sentence in str(outcome(broker, "start", said))


@pytest.mark.parametrize("said", [Say(500), Say(400), Say(201, b"x"), Say(204, b""), Say(how="drop")])
def test_after_failed_credentials_the_instance_is_left(broker, said):
    broker.script["bind"] = [said]
    call = osb_call(broker, inputs={"bind": True})
    with pytest.raises(Failed) as refused:
        go(call)
    assert not refused.value.left_nothing
    undone, _ = go(then(call, "undo", was_done=False))
    assert isinstance(undone, Done)
    assert broker.instances == broker.bindings == {}
    assert broker.operations()[-2:] == ["unbind", "deprovision"]


# --- changing ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "raised", "left_nothing"),
    [
        (Say(400), Failed, True),
        (Say(422, {"error": "MaintenanceInfoConflict"}), Failed, True),
        (Say(422, {"error": "ConcurrencyError"}), Retry, None),
        (Say(408), Retry, None),
        (Say(500), Retry, None),
        (Say(204, b""), Retry, None),
        (HTML, Retry, None),
        (Say(how="drop"), Retry, None),
    ],
)
def test_a_failed_change_never_deletes(broker, said, raised, left_nothing):
    error = outcome(broker, "update", said, before=BEFORE)
    assert type(error) is raised
    assert getattr(error, "left_nothing", None) is left_nothing
    assert broker.operations() == ["update"]


def test_a_change_that_the_broker_could_not_do_never_deletes(broker):
    broker.script["update"] = [Say(202, {"operation": "u"})]
    broker.script["poll"] = [Say(200, {"state": "failed", "description": "No room."})]
    with pytest.raises(Failed, match="No room"):
        go(osb_call(broker, "update", before=BEFORE))
    assert broker.operations() == ["update", "poll"]


# --- deleting ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [Say(200), Say(200, b""), Say(410), Say(410, b"gone")])
def test_gone_is_gone(broker, said):
    assert isinstance(outcome(broker, "undo", said), Done)


@pytest.mark.parametrize(
    "said",
    [
        Say(500),
        Say(503),
        Say(204, b""),
        Say(202, b"x"),
        HTML,
        Say(404),
        Say(408),
        Say(409),
        Say(429),
        Say(422, {"error": "ConcurrencyError"}),
        Say(200, b'"' + b"x" * 2_000_000 + b'"'),
        Say(how="drop"),
    ],
)
def test_what_is_not_surely_deleted_is_deleted_again(broker, said):
    assert type(outcome(broker, "undo", said)) is Retry


@pytest.mark.parametrize("said", [Say(400), Say(401), Say(412), Say(422, {"error": "Other"})])
def test_what_the_broker_refuses_to_delete_is_an_operators_affair(broker, said):
    error = outcome(broker, "undo", said)
    assert type(error) is Failed
    assert not error.left_nothing


def test_a_deletion_that_failed_is_asked_for_again_at_growing_distances_and_not_for_ever(broker):
    broker.always["deprovision"] = Say(202, {"operation": "d"})
    broker.always["poll"] = Say(200, {"state": "failed"})
    call = osb_call(broker, "undo")
    back = connector("osb")
    answer, pauses = back.undo(call), []
    with pytest.raises(Failed, match="asked 21 times"):  # noqa: PT012 (the loop ends with it)
        while True:
            answer = back.last_operation(then(call, "undo", external_ref=answer.external_ref))
            if State.read(answer.external_ref).phase == "to deprovision":
                pauses.append(answer.after)
    assert pauses[:4] == [1, 2, 4, 8]
    assert max(pauses) == 300
    assert broker.operations().count("deprovision") == 21


def test_an_instance_without_credentials_of_its_own_is_not_unbound(broker):
    outcome(broker, "undo", state=State(phase="ready", plan=SMALL))
    assert broker.operations() == ["deprovision"]


@pytest.mark.parametrize(
    ("ref", "was_done", "is_unbound"), [("", True, True), ("", False, False), ("nonsense", True, True)]
)
def test_where_nothing_is_known_what_may_be_bound_is_unbound(broker, ref, was_done, is_unbound):
    call = osb_call(broker, "undo", inputs={"bind": True}, external_ref=ref, was_done=was_done)
    go(call)
    assert ("unbind" in broker.operations()) is is_unbound


# --- asking how far it got --------------------------------------------------------------------------


@pytest.mark.parametrize(
    "said",
    [
        Say(500),
        HTML,
        Say(404),
        Say(410),
        Say(400),
        Say(200, {}),
        Say(200, {"state": "done"}),
        Say(200, {"state": ["succeeded"]}),
        Say(200, []),
        Say(201, {"state": "succeeded"}),
        Say(302, headers={"Location": "/"}),
        Say(how="drop"),
    ],
)
def test_while_making_everything_but_an_answer_is_asked_again(broker, said):
    call = osb_call(broker, external_ref=State(phase="provision", operation="x").write())
    broker.script["poll"] = [said]
    with pytest.raises(Retry):
        connector("osb").last_operation(call)
    assert isinstance(connector("osb").last_operation(then(call, "start")), Done)


@pytest.mark.parametrize("phase", ["unbind", "deprovision"])
def test_while_deleting_gone_is_success(broker, phase):
    broker.always["poll"] = broker.always["poll binding"] = Say(410)
    state = State(phase=phase, operation="x")
    answer = connector("osb").last_operation(osb_call(broker, "undo", external_ref=state.write()))
    assert isinstance(answer, Done if phase == "deprovision" else Working)


@pytest.mark.parametrize("said", [Say(500), Say(404), Say(200, {"state": "in progress"}), Say(how="drop")])
def test_past_the_brokers_maximum_it_has_failed(broker, said):
    broker.always["poll"] = said
    state = State(phase="provision", operation="x", since=10)
    call = osb_call(broker, inputs={"maximum_polling_duration": 120}, external_ref=state.write(), elapsed=129.9)
    back = connector("osb")
    with suppress(Retry):
        assert isinstance(back.last_operation(call), Working)
    with pytest.raises(Failed, match="longer than the broker's maximum") as failed:
        back.last_operation(then(call, "start", elapsed=130))
    assert not failed.value.left_nothing


def test_what_succeeded_past_the_maximum_has_succeeded(broker):
    state = State(phase="provision", operation="x")
    call = osb_call(broker, inputs={"maximum_polling_duration": 1}, external_ref=state.write(), elapsed=99)
    assert isinstance(connector("osb").last_operation(call), Done)


@pytest.mark.parametrize("longest", [0, -1, "soon", True, None, 1.5])
def test_a_maximum_that_is_none_leaves_the_end_to_the_step(broker, longest):
    broker.always["poll"] = Say(200, {"state": "in progress"})
    state = State(phase="provision", operation="x")
    inputs = {"maximum_polling_duration": longest}
    call = osb_call(broker, inputs=inputs, external_ref=state.write(), elapsed=10**6)
    assert isinstance(connector("osb").last_operation(call), Working)


def test_a_failed_making_says_why_and_is_to_be_deleted(broker):
    broker.script["provision"] = [Say(202)]
    broker.script["poll"] = [Say(200, {"state": "failed", "description": "Out of disks."})]
    with pytest.raises(Failed, match="Out of disks") as failed:
        go(osb_call(broker))
    assert not failed.value.left_nothing


def test_whatever_is_wrong_later_what_was_begun_is_to_be_deleted(broker, settings):
    settings.EGRESS_ALLOW = []
    for phase in ("provision", "to bind"):
        with pytest.raises(Failed) as failed:
            connector("osb").last_operation(osb_call(broker, external_ref=State(phase=phase).write()))
        assert not failed.value.left_nothing


def test_a_change_that_has_broken_the_service_says_so(broker):
    broker.script["update"] = [Say(202)]
    broker.script["poll"] = [Say(200, {"state": "failed", "instance_usable": False})]
    with pytest.raises(Failed, match="cannot be used any more"):
        go(osb_call(broker, "update", before=BEFORE))


@pytest.mark.parametrize("ref", ["", "[]", "7", "null", '{"phase": []}', '{"phases": 1}', "poll-1"])
def test_a_reference_that_is_none_of_ours_is_no_state(ref):
    assert State.read(ref) == State()


# --- credentials ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("credentials", "found"),
    [
        ({}, {}),
        (None, {}),
        ({"a": "", "b": None, "c": 0, "d": False}, {"c": "0", "d": "false"}),
        ({"x" * 60: "long"}, {"x" * 40: "long"}),
        ({"": "nameless"}, {"value": "nameless"}),
        ({"hosts": ["ä"]}, {"hosts": '["ä"]'}),
    ],
)
def test_credentials_of_any_shape_are_kept_as_text(broker, credentials, found):
    broker.script["bind"] = [Say(201, {"credentials": credentials})]
    assert go(osb_call(broker, inputs={"bind": True}))[0].secrets == found


@pytest.mark.parametrize(
    "credentials",
    [{f"n{number}": "x" for number in range(51)}, {"x" * 41: "1", "x" * 42: "2"}, ["a list"], "text"],
)
def test_credentials_that_cannot_be_kept_fail(broker, credentials):
    broker.script["bind"] = [Say(201, {"credentials": credentials})]
    with pytest.raises(Failed):
        go(osb_call(broker, inputs={"bind": True}))


def test_the_table_has_an_answer_for_every_status_and_request():
    for request in ("provision", "update", "deprovision", "bind", "unbind"):
        for status in range(100, 600):
            for is_well_formed in (True, False):
                answer = osb_mitigation.answer_of(status, is_well_formed=is_well_formed)
                row = osb_mitigation.row_for(request, answer)
                assert (row.delete == "nothing") or request != "update"
                assert (row.meaning == "success") == (status in {200, 201, 202} and is_well_formed)
