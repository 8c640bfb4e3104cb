"""The contract that every connector keeps, each against its real back end."""

import logging
from pathlib import Path

import pytest
from django.conf import settings

from provisioning.connectors import connector
from provisioning.connectors.base import Done, Failed, LeaseLost, Waiting, Working
from tests.provisioning.back_ends import BACK_ENDS
from tests.provisioning.calls import a_call, again, lost_lease

OPERATIONS = ("start", "undo", "describe", "rotate")
WITH_PASSWORD = [name for name in sorted(BACK_ENDS) if settings.CONNECTORS[name]["secrets"]]
HOSTILE_NAMES = [
    'a"; DROP ROLE postgres; --',
    "x'); SELECT pg_sleep(9); --",
    "$(touch canary)",
    "{{ lookup('pipe', 'id') }}",
    "../../etc/passwd",
    "-var=x",
    "pg_database",
    "Überraschung 9",
    "9",
    "%s {0} {name}",
    "a" * 60,
]


@pytest.fixture(params=sorted(BACK_ENDS))
def kind(request, monkeypatch, tmp_path):
    """The name of each connector whose back end stands here; the others keep the same in files of their own."""
    monkeypatch.setenv("FOLDER_ROOT", str(tmp_path))
    return request.param


@pytest.fixture
def back_end(kind):
    """What really stands there."""
    return BACK_ENDS[kind]()


@pytest.fixture
def back(kind):
    """The connector."""
    return connector(kind)


@pytest.fixture
def call(kind, back, back_end):
    """A first call for a new instance; what came of it is taken away after the test."""
    made = a_call()
    yield made
    finish(back, again(made, "undo"))
    assert back_end.things(made) == []


def finish(back, call):
    """Undo to the end, polling as the engine would."""
    answer = back.undo(call)
    while isinstance(answer, Working):
        answer = back.last_operation(again(call, external_ref=answer.external_ref))
    return answer


def test_every_configured_connector_has_a_class_that_says_the_same_of_itself(settings):
    for name, declared in settings.CONNECTORS.items():
        assert connector(name).idempotency == declared["idempotency"]


def test_every_connector_is_tested_here_or_in_a_file_of_its_own(settings):
    folder = Path(__file__).parent
    alone = {name for name in settings.CONNECTORS if (folder / f"test_{name}.py").exists()}
    assert set(settings.CONNECTORS) == alone | set(BACK_ENDS)


def test_started_once_it_can_be_used_with_what_was_declared(kind, back, back_end, call):
    answer = back.start(call)
    assert isinstance(answer, Done)
    assert sorted(answer.outputs) == sorted(settings.CONNECTORS[kind]["outputs"])
    assert answer.detail.endswith((".", ":"))
    assert back_end.use(answer.outputs, call.secrets["password"])
    assert isinstance(back.describe(again(call, "describe")), Done)


def test_started_twice_it_is_one_thing_with_the_same_outputs(back, back_end, call):
    first = back.start(call)
    before = back_end.things(call)
    second = back.start(again(call))
    assert (second.outputs, back_end.things(call)) == (first.outputs, before)
    assert back_end.use(second.outputs, call.secrets["password"])


def test_undone_it_is_gone_and_undoing_again_is_no_error(back, back_end, call):
    outputs = back.start(call).outputs
    back_end.use(outputs, call.secrets["password"])
    assert isinstance(finish(back, again(call, "undo")), Done)
    assert back_end.things(call) == []
    assert isinstance(finish(back, again(call, "undo")), Done)


def test_undoing_what_was_never_there_is_no_error(back, call):
    assert isinstance(finish(back, again(call, "undo")), Done)


@pytest.mark.parametrize("which", [0, 1])
def test_what_a_killed_attempt_left_half_made_is_completed_by_the_next(back, back_end, call, which):
    back_end.make_halves(call)[which]()
    answer = back.start(again(call))
    assert back_end.use(answer.outputs, call.secrets["password"])
    assert isinstance(back.describe(again(call, "describe")), Done)


@pytest.mark.parametrize("which", [0, 1])
def test_what_a_killed_attempt_left_half_made_is_undone_whole(back, back_end, call, which):
    back_end.make_halves(call)[which]()
    assert back_end.things(call)
    finish(back, again(call, "undo"))
    assert back_end.things(call) == []


def test_after_undoing_it_can_be_started_again(back, back_end, call):
    back.start(call)
    finish(back, again(call, "undo"))
    answer = back.start(again(call))
    assert back_end.use(answer.outputs, call.secrets["password"])


def test_what_is_gone_is_described_as_failed(back, call):
    back.start(call)
    finish(back, again(call, "undo"))
    with pytest.raises(Failed):
        back.describe(again(call, "describe"))


@pytest.mark.parametrize("operation", OPERATIONS)
def test_who_has_lost_the_lease_does_nothing(kind, back, back_end, call, operation):
    if operation == "rotate" and not settings.CONNECTORS[kind]["secrets"]:
        return
    back.start(call)
    before = back_end.things(call)
    late = again(call, operation, lease=lost_lease(), secrets={"password": "another"})
    with pytest.raises(LeaseLost):
        getattr(back, operation)(late)
    assert back_end.things(call) == before
    assert isinstance(back.describe(again(call, "describe")), Done)


def test_who_has_lost_the_lease_before_the_first_act_makes_nothing(back, back_end, call):
    with pytest.raises(LeaseLost):
        back.start(again(call, lease=lost_lease()))
    assert back_end.things(call) == []


def test_a_thing_of_the_same_name_that_is_not_ours_is_neither_used_nor_removed(back, back_end, call):
    remove = back_end.make_foreign(call)
    before = back_end.things(call)
    with pytest.raises(Failed, match="Greenlane did not make"):
        back.start(call)
    assert isinstance(finish(back, again(call, "undo")), Done)
    assert back_end.things(call) == before
    remove()


def test_no_password_is_in_log_lines_errors_or_answers(back, back_end, call, caplog):
    caplog.set_level(logging.DEBUG)
    answer = back.start(call)
    seen = [*call.lines, caplog.text, repr(answer)]
    remove = None
    other = a_call(secrets=call.secrets)
    remove = back_end.make_foreign(other)
    with pytest.raises(Failed) as refused:
        back.start(other)
    seen += [str(refused.value), *other.lines, caplog.text]
    remove()
    assert not [text for text in seen if call.secrets["password"] in text]


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_data(kind, back, back_end, name):
    call = a_call(instance_name=name)
    try:
        answer = back.start(call)
        assert back_end.use(answer.outputs, call.secrets["password"])
    finally:
        finish(back, again(call, "undo"))
    assert back_end.things(call) == []


@pytest.mark.parametrize("kind", WITH_PASSWORD, indirect=True)
def test_a_new_password_replaces_the_old_one_as_often_as_it_is_set(kind, back, back_end, call):
    outputs = back.start(call).outputs
    fresh = again(call, "rotate", secrets=a_call().secrets)
    for _ in range(2):
        assert isinstance(back.rotate(again(fresh)), Done)
    assert isinstance(back.describe(again(fresh, "describe")), Done)
    assert back_end.use(outputs, fresh.secrets["password"])
    with pytest.raises(Failed):
        back.describe(again(call, "describe"))


@pytest.mark.parametrize("kind", WITH_PASSWORD, indirect=True)
def test_the_password_of_what_is_not_there_cannot_be_set(kind, back, call):
    with pytest.raises(Failed):
        back.rotate(again(call, "rotate"))


def test_a_connector_without_its_back_end_fails_with_a_sentence(kind, back, settings, monkeypatch):
    monkeypatch.delenv("FOLDER_ROOT")
    settings.POSTGRESQL_BACKEND_URL = settings.REDIS_BACKEND_URL = settings.GIT_BACKEND_ROOT = ""
    with pytest.raises(Failed, match="is set up to deliver"):
        back.start(a_call())


def test_the_manual_connector_asks_a_person_and_takes_back_only_what_was_done():
    back = connector("manual")
    inputs = {
        "instructions": "Order it.",
        "assignee_role": "service_owner",
        "due_hours": 4,
        "output_fields": ["serial_number", {"name": "room", "title": "Room", "optional": True}],
    }
    call = a_call(inputs=inputs, step_name="Handing over the laptop")
    answer = back.start(call)
    assert isinstance(answer, Waiting)
    assert answer.task == {
        "title": "Handing over the laptop",
        "instructions": "Order it.",
        "role": "service_owner",
        "due_hours": 4,
        "output_fields": [
            {"name": "serial_number", "title": "Serial number", "optional": False},
            {"name": "room", "title": "Room", "optional": True},
        ],
    }
    assert isinstance(back.undo(again(call, "undo", was_done=False)), Done)
    taken_back = back.undo(again(call, "undo", outputs={"serial_number": "SN-7"}))
    assert taken_back.task["title"] == "Take back Campaign DB"
    assert "SN-7" in taken_back.task["instructions"]


@pytest.mark.parametrize(
    "inputs",
    [
        {"assignee_role": "emperor"},
        {"due_hours": "soon"},
        {"due_hours": -1},
        {"due_hours": True},
        {"output_fields": "serial"},
        {"output_fields": [7]},
        {"output_fields": [{"title": "No name"}]},
    ],
)
def test_a_manual_step_with_wrong_inputs_fails_with_a_sentence(inputs):
    with pytest.raises(Failed):
        connector("manual").start(a_call(inputs=inputs))


@pytest.mark.parametrize("operation", ["start", "undo"])
def test_the_manual_connector_asks_nobody_once_the_lease_is_lost(operation):
    with pytest.raises(LeaseLost):
        getattr(connector("manual"), operation)(a_call(operation, lease=lost_lease()))
