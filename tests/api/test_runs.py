"""The operators' routes: runs, steps, orphans, breakers."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from django.utils import timezone

from provisioning.models import Breaker, Run, Step, StepLine
from provisioning.services import breakers, claims
from tests.factories import published_offering
from tests.provisioning import fakes
from tests.provisioning.engine import drive, fresh, lose, numbers, place, run_of, step_of

STUCK = [("Building it", "bare", {"undo_refuses": True}), ("Looking at it", "bare", {"refuses": True})]


@pytest.fixture(autouse=True)
def far_side(settings, tmp_path, monkeypatch):
    """The fake connectors beside the real ones, and their far side; the test itself is the worker."""
    settings.LEASE_SECONDS = 60
    monkeypatch.setenv("FAR_SIDE", str(tmp_path))
    settings.CONNECTORS = settings.CONNECTORS | fakes.CONNECTORS
    return fakes.FarSide(tmp_path)


@pytest.fixture
def order(org):
    """Order a service of steps given as (name, connector, inputs, further fields of the step)."""

    def placed(*steps):
        rows = [
            {"name": name, "connector": connector, "inputs": inputs} | (more[0] if more else {})
            for name, connector, inputs, *more in steps
        ]
        return place(published_offering(org, f"service-{next(numbers)}", steps=rows), org.business)

    return placed


@pytest.fixture
def stuck(order):
    """An order whose undoing has failed."""
    placed = order(*STUCK)
    drive()
    return placed


@pytest.fixture
def held(order):
    """An order whose only step has failed and waits for an operator."""
    placed = order(("Building it", "bare", {"refuses": True}, {"on_failure": "wait"}))
    drive()
    return placed


@pytest.fixture
def blind(order):
    """An order of which nobody knows whether its step happened."""
    placed = order(("Building it", "forgetful", {}))
    lose(claims.claim())
    drive()
    return placed


@pytest.fixture
def operator(api):
    """A program of an IT admin."""
    return api("curator")


def send(client, address, body=None):
    return client.post(f"/api/v1/{address}", {} if body is None else body, format="json")


def test_a_run_says_where_it_stands_and_why(operator, stuck):
    (listed,) = operator.get("/api/v1/runs/?stands=operator").json()["results"]
    assert listed["state"] == "compensation_failed"
    assert listed["why"] == "Undoing failed; waits for an operator: The far side does not let it go."
    assert listed["step"] | {"id": ""} == {
        "id": "",
        "name": "Undoing: Building it",
        "state": "compensation_failed",
        "back_end": "bare",
    }
    assert (listed["order"], listed["owner"], listed["next_run_at"]) == (str(stuck.pk), "business", None)


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ("state=compensation_failed", 1),
        ("state=running", 1),
        ("back_end=bare", 2),
        ("connector=http", 0),
        ("q=does not let", 1),
        ("stands=done", 0),
        ("since=2020-01-01T00:00:00Z", 2),
        ("since=2999-01-01T00:00:00Z", 0),
    ],
)
def test_filters_narrow_the_list(operator, stuck, held, query, count):
    assert len(operator.get(f"/api/v1/runs/?{query}").json()["results"]) == count


@pytest.mark.parametrize(
    "query", ["state=odd", "stands=odd", "since=soon", "back_end=", "other=1", "state=running&state=x"]
)
def test_filters_that_make_no_sense_are_named(operator, query):
    answer = operator.get(f"/api/v1/runs/?{query}")
    assert answer.status_code == 400
    assert answer.json()["errors"][0]["pointer"] == f"/{query.partition('=')[0]}"


def test_a_run_has_its_steps_with_attempts_and_log(operator, order):
    placed = order(("Building it", "bare", {"fails": 1}), ("Looking at it", "bare", {}))
    drive()
    StepLine.objects.create(step=step_of(placed, "Building it"), text="It is there.")
    body = operator.get(f"/api/v1/runs/{run_of(placed).pk}/").json()
    assert [(step["name"], step["state"]) for step in body["steps"]] == [
        ("Building it", "succeeded"),
        ("Looking at it", "succeeded"),
    ]
    first = body["steps"][0]
    assert [attempt["outcome"] for attempt in first["attempts"]] == ["retry", "succeeded"]
    assert [line["text"] for line in first["log"]][-1] == "It is there."
    assert body["why"].startswith("Done after")


def test_logs_and_attempts_are_bounded_for_each_step(operator, order, monkeypatch):
    monkeypatch.setattr("provisioning.api.runs.SHOWN_LINES", 3)
    placed = order(("One", "bare", {}), ("Two", "bare", {}))
    drive()
    for name in ("One", "Two"):
        StepLine.objects.bulk_create([StepLine(step=step_of(placed, name), text=f"{name} {n}") for n in range(9)])
    steps = operator.get(f"/api/v1/runs/{run_of(placed).pk}/").json()["steps"]
    assert [[line["text"] for line in step["log"]] for step in steps] == [
        ["One 6", "One 7", "One 8"],
        ["Two 6", "Two 7", "Two 8"],
    ]


def test_a_run_goes_on_from_the_failed_step(operator, held):
    Step.objects.update(inputs={})
    answer = send(operator, f"runs/{run_of(held).pk}/retry/")
    assert (answer.status_code, answer.json()["state"]) == (200, "running")
    assert send(operator, f"runs/{run_of(held).pk}/retry/").status_code == 409
    drive()
    assert fresh(held).state == "completed"


@pytest.mark.parametrize(("verb", "state"), [("undo", "compensating"), ("abandon", "abandoned")])
def test_a_run_is_undone_or_abandoned_with_a_reason(operator, held, verb, state):
    address = f"runs/{run_of(held).pk}/{verb}/"
    for body in ({}, {"reason": " "}, {"reason": 7}, {"reason": "x" * 501}):
        refused = send(operator, address, body)
        assert refused.status_code == 400
        assert refused.json()["errors"][0]["pointer"] == "/reason"
    answer = send(operator, address, {"reason": "Not wanted."})
    assert (answer.status_code, answer.json()["state"]) == (200, state)
    assert send(operator, address, {"reason": "Again."}).status_code == (409)


def test_a_step_is_left_out(operator, held):
    step = step_of(held, "Building it")
    answer = send(operator, f"steps/{step.pk}/skip/", {"reason": "Done by hand."})
    assert (answer.status_code, answer.json()["state"]) == (200, "skipped")
    assert fresh(held).state == "completed"
    assert send(operator, f"steps/{step.pk}/skip/", {"reason": "Again."}).status_code == 409


def test_what_became_of_a_step_is_said(operator, blind):
    address = f"steps/{step_of(blind, 'Building it').pk}/resolve/"
    body = {"answer": "happened", "reason": "I saw it.", "outputs": {"host": "10.0.0.7"}, "external_ref": "vm-7"}
    for wrong, pointer in (
        ({"answer": "perhaps"}, "/answer"),
        ({"outputs": []}, "/outputs"),
        ({"outputs": {"a b": 1}}, "/outputs"),
        ({"reason": ""}, "/reason"),
        ({"other": 1}, "/other"),
    ):
        refused = send(operator, address, body | wrong)
        assert (refused.status_code, refused.json()["errors"][0]["pointer"]) == (400, pointer)
    answer = send(operator, address, body)
    assert (answer.status_code, answer.json()["external_ref"]) == (200, "vm-7")
    assert fresh(blind.instance).outputs == {"host": "10.0.0.7"}


def test_many_are_tried_again_and_at_least_one_filter_is_needed(operator, stuck, blind, far_side):
    assert send(operator, "runs/retry/").status_code == 400
    assert send(operator, "runs/retry/", {"state": "odd"}).status_code == 400
    far_side.open("undo")
    body = send(operator, "runs/retry/", {"stands": "operator"}).json()
    assert body["retried"] == 1
    assert [refused["run"] for refused in body["refused"]] == [str(run_of(blind).pk)]
    drive()
    assert run_of(stuck).state == "compensated"


def test_orphans_are_listed_until_they_are_gone(operator, stuck, far_side):
    (orphan,) = operator.get("/api/v1/orphans/").json()["results"]
    assert (orphan["run"], orphan["service_name"]) == (str(run_of(stuck).pk), stuck.name)
    assert orphan["why"].endswith("The far side does not let it go.")
    far_side.open("undo")
    send(operator, f"runs/{run_of(stuck).pk}/retry/")
    drive()
    assert operator.get("/api/v1/orphans/").json()["results"] == []


def test_a_silent_back_end_is_listed_first_and_tried_at_once(operator, order):
    order(("a", "bare", {}))
    order(("a", "forgetful", {}))
    for _ in range(breakers.FAILURES):
        breakers.note_failure("forgetful", "Connection refused.")
    Breaker.objects.update(probe_at=timezone.now() + timedelta(hours=1))
    first, second = operator.get("/api/v1/breakers/").json()
    assert (first["back_end"], first["state"], first["failures"], first["waiting"]) == ("forgetful", "open", 5, 1)
    assert (second["back_end"], second["state"], second["last_error"]) == ("bare", "closed", "")
    answer = send(operator, "breakers/forgetful/probe/")
    assert answer.status_code == 200
    assert answer.json()["probe_at"] < first["probe_at"]
    assert send(operator, "breakers/bare/probe/").status_code == 409
    assert send(operator, "breakers/nothing/probe/").status_code == 409


@pytest.mark.parametrize("username", ["business", "approver", "finance"])
def test_others_are_refused(api, held, username):
    client = api(username)
    for address in ("runs/", f"runs/{run_of(held).pk}/", "orphans/", "breakers/"):
        assert client.get(f"/api/v1/{address}").status_code == 403


@pytest.mark.parametrize("username", ["auditor", "service_owner"])
def test_who_may_only_look_changes_nothing(api, held, username):
    client, run, step = api(username), run_of(held), step_of(held, "Building it")
    assert len(client.get("/api/v1/runs/").json()["results"]) == 1
    for address, body in (
        (f"runs/{run.pk}/retry/", {}),
        (f"runs/{run.pk}/undo/", {"reason": "x"}),
        (f"runs/{run.pk}/abandon/", {"reason": "x"}),
        (f"steps/{step.pk}/skip/", {"reason": "x"}),
        (f"steps/{step.pk}/resolve/", {"reason": "x", "answer": "happened"}),
        ("runs/retry/", {"stands": "operator"}),
        ("breakers/bare/probe/", {}),
    ):
        assert send(client, address, body).status_code == 403, address
    assert fresh(step).state == "failed"


def test_a_token_needs_the_scope_admin_to_act(api, held):
    assert send(api("curator", "read"), f"runs/{run_of(held).pk}/retry/").status_code == 403


def test_what_does_not_exist_is_404(operator, held):
    for address in (f"runs/{uuid4()}/retry/", f"runs/{uuid4()}/undo/", f"steps/{uuid4()}/skip/"):
        assert send(operator, address, {} if "retry" in address else {"reason": "x"}).status_code == 404


def test_lists_cost_the_same_however_long(operator, order):
    def cost(address):
        with CaptureQueriesContext(connection) as captured:
            assert operator.get(f"/api/v1/{address}").status_code == 200
        return len(captured)

    order(*STUCK)
    drive()
    run = Run.objects.get()
    addresses = ["runs/", "orphans/", "breakers/", f"runs/{run.pk}/"]
    for address in addresses:
        cost(address)
    few = [cost(address) for address in addresses]
    for _ in range(5):
        order(*STUCK)
    drive()
    assert [cost(address) for address in addresses] == few
