"""What machines ask about us: each part by name, numbers by back end, one trace from request to back end."""

import logging
from datetime import timedelta

import pytest
from django.db import connection

import accounts.services as accounts
from core import tracing
from core.logs import formatter
from core.models import Pulse
from provisioning import sweeper
from provisioning.models import Breaker, Run
from provisioning.services import claims, execution
from tests.factories import published_offering, wanted_body
from tests.provisioning import fakes
from tests.provisioning.engine import drive, make_due, place

pytestmark = pytest.mark.django_db


@pytest.fixture
def far_side(settings, tmp_path, monkeypatch):
    """The fake connectors and their far side."""
    monkeypatch.setenv("FAR_SIDE", str(tmp_path))
    settings.CONNECTORS = settings.CONNECTORS | fakes.CONNECTORS
    return fakes.FarSide(tmp_path)


def ready(client, **asked):
    """What /readyz says, with its status."""
    answer = client.get("/readyz", asked)
    return answer.status_code, answer.json()


def silence(role, seconds):
    """Let the worker or the sweep have said nothing for so long."""
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE core_pulse SET at = clock_timestamp() - make_interval(secs => %s) WHERE role LIKE %s",
            [seconds, role],
        )


def test_with_a_worker_that_sweeps_all_is_well(client):
    sweeper.sign_on("one", 4)
    sweeper.sweep(4)
    status, parts = ready(client, strict="1")
    assert status == 200
    assert {parts[name] for name in ("status", "database", "broker", "sweeper", "queue", "workers")} == {"ok"}
    assert parts["silent_workers"] == []


def test_without_any_worker_it_is_degraded_and_strictly_not_ready(client):
    status, parts = ready(client)
    assert (status, parts["status"], parts["sweeper"], parts["workers"]) == (200, "degraded", "degraded", "degraded")
    assert ready(client, strict="1")[0] == 503


def test_a_worker_that_died_without_a_word_shows_within_half_a_minute_though_another_sweeps(client):
    sweeper.sign_on("dead", 4)
    sweeper.sign_on("alive", 4)
    sweeper.sweep(4)
    silence("worker:dead", 26)
    status, parts = ready(client, strict="1")
    assert (status, parts["workers"], parts["silent_workers"]) == (503, "degraded", ["dead"])
    assert parts["sweeper"] == "ok"


def test_a_worker_that_was_asked_to_end_is_not_missed_and_a_dead_one_is_forgotten_after_minutes(client):
    for name in ("ended", "dead", "alive"):
        sweeper.sign_on(name, 4)
    sweeper.sign_off("ended")
    silence("worker:dead", 301)
    sweeper.sign_on("alive", 4)
    sweeper.sweep(4)
    assert ready(client, strict="1")[0] == 200
    assert [name for name, _, _ in sweeper.workers()] == ["alive"]


def test_a_step_that_waits_too_long_degrades_the_queue(client, org, far_side):
    sweeper.sign_on("one", 4)
    sweeper.sweep(4)
    place(published_offering(org, "bare", connector="bare"), org.business)
    with connection.cursor() as cursor:
        cursor.execute("UPDATE provisioning_step SET next_run_at = next_run_at - interval '31 seconds'")
    status, parts = ready(client, strict="1")
    assert (status, parts["queue"]) == (503, "degraded")
    assert parts["oldest_due_seconds"] >= 31


def test_the_numbers_tell_of_attempts_orphans_breakers_and_workers(client, org, far_side):
    sweeper.sign_on("one", 4)
    refused = published_offering(
        org,
        "refused",
        steps=[{"name": "Making it", "connector": "bare", "inputs": {"refuses": True, "undo_fails": 99}}],
    )
    place(refused, org.business)
    for _ in range(3):
        make_due()
        execution.execute(claims.claim())
    Breaker.objects.create(back_end="elsewhere", state="open", failures=7)
    told = client.get("/metrics").content.decode()
    for line in (
        'greenlane_step_attempts{back_end="bare",connector="bare",outcome="failed"} 1.0',
        'greenlane_step_attempts{back_end="bare",connector="bare",outcome="retry"} 2.0',
        'greenlane_orphans{back_end="bare"} 1.0',
        'greenlane_breaker_open{back_end="elsewhere"} 1.0',
        'greenlane_worker_places{worker="one"} 4.0',
        'greenlane_rows{state="compensating",what="run"} 1.0',
    ):
        assert line in told.splitlines()
    assert 'quantile="0.95"' in told


TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.mark.parametrize(
    ("header", "is_kept"),
    [
        (f"00-{TRACE}-00f067aa0ba902b7-01", True),
        (f"cc-{TRACE}-00f067aa0ba902b7-01-what-comes-later", True),
        (f"ff-{TRACE}-00f067aa0ba902b7-01", False),
        (f"00-{'0' * 32}-00f067aa0ba902b7-01", False),
        (f"00-{TRACE}-{'0' * 16}-01", False),
        (f"00-{TRACE.upper()}-00f067aa0ba902b7-01", False),
        ("nonsense", False),
        ("", False),
    ],
)
def test_the_trace_of_the_request_is_that_of_the_run_and_of_the_call(client, org, far_side, header, is_kept):
    offering = published_offering(org, "bare", connector="bare")
    _, token = accounts.create_token(
        org.business, label="tests", scopes=["order"], expires_in=timedelta(hours=1), actor=org.business
    )
    answer = client.post(
        "/api/v1/orders/",
        wanted_body(offering),
        content_type="application/json",
        headers={"Authorization": f"Bearer {token}", "Idempotency-Key": "one", "traceparent": header},
    )
    assert answer.status_code == 201
    run = Run.objects.get()
    assert (run.trace_id == TRACE) is is_kept
    assert len(run.trace_id) == 32
    drive()
    (sent,) = far_side.headers()
    assert sent["traceparent"].split("-")[1] == run.trace_id
    assert int(sent["traceparent"].split("-")[2], 16) == int(sent["X-Greenlane-Fencing-Token"])
    assert sent["Idempotency-Key"]
    assert tracing.current() == ""


def test_two_orders_have_two_traces(org, far_side):
    offering = published_offering(org, "bare", connector="bare")
    place(offering, org.business), place(offering, org.business)
    assert len(set(Run.objects.values_list("trace_id", flat=True))) == 2


def test_a_log_line_names_the_trace_of_the_work_under_way():
    record = logging.LogRecord("greenlane", logging.INFO, __file__, 1, "Something happened.", None, None)
    tracing.enter(TRACE)
    try:
        assert f'"trace_id": "{TRACE}"' in formatter().format(record)
    finally:
        tracing.enter("")
    assert "trace_id" not in formatter().format(record)


def test_no_pulse_is_left_of_a_worker_that_never_was(client):
    assert not Pulse.objects.filter(role__startswith="worker:").exists()
    assert "greenlane_worker_places{" not in client.get("/metrics").content.decode()
