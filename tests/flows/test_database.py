"""Orders while the database cannot be reached, takes no more connections, or makes a result wait."""

import time
from contextlib import ExitStack, closing
from datetime import timedelta

import psycopg2
import pytest
from django.conf import settings
from django.db import connection

import accounts.services as accounts
from config.embedded.process import wait_until
from core.models import Event
from orders.models import Order
from tests.factories import published_offering, wanted_body
from tests.flows.outcomes import SLACK_SECONDS, another_connection, attempts, owner_url, states, wait_for
from tests.flows.proxy import Proxy
from tests.processes import application_url
from tests.provisioning.engine import place, step_of

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]
ENOUGH = 20


@pytest.fixture
def proxy():
    known = connection.settings_dict
    made = Proxy(known["HOST"], int(known["PORT"]))
    yield made
    made.close()


def test_cut_off_from_the_database_a_worker_stops_before_its_lease_ends(ordered, processes, far_side, proxy):
    order = ordered(("First call", "bare", {"hold": "gate"}), ("Second call", "bare", {}))
    cut_off = processes.worker(ready=False, DATABASE_URL=proxy.url(application_url()))
    other = processes.worker(ready=False)
    other.freeze()
    wait_for(lambda: far_side.calls("start"))
    proxy.cut()
    # It stands before the gate and asks whether it may still act; nobody has told it that it may not.
    lease_of = step_of(order, "First call")
    wait_for(lambda: step_is_lost(lease_of), settings.LEASE_SECONDS + 5)
    far_side.open("gate")
    assert not wait_until(far_side.live, 0.5)
    other.wake()
    wait_for(lambda: states(order) == ["completed"])
    proxy.mend()
    wait_for(lambda: "ran out" in cut_off.log.read_text() or "another worker's" in cut_off.log.read_text())
    assert cut_off.alive()
    assert attempts(order, "First call") == [(1, "lost"), (2, "succeeded")]
    assert [call[2] for call in far_side.calls("start")] == ["First call", "First call", "Second call"]
    assert len(far_side.live()) == 2


def test_a_call_under_way_ends_with_the_lease_though_the_database_is_silent(org, processes, proxy, rest):
    register, step = rest
    register.mood, register.share, register.slow_seconds = "slow", 1.0, (20.0, 20.0)
    order = place(published_offering(org, steps=[step]), org.business)
    cut_off = processes.worker(ready=False, DATABASE_URL=proxy.url(application_url()))
    other = processes.worker(ready=False)
    other.freeze()
    wait_for(lambda: register.counts["PUT calls"])
    cut_at = time.monotonic()
    proxy.cut()
    cut_off.wait_for_line("ran out during a call", settings.LEASE_SECONDS + SLACK_SECONDS)
    assert time.monotonic() - cut_at < 20.0 - 5
    register.mood = ""
    other.wake()
    wait_for(lambda: states(order) == ["completed"])
    assert attempts(order) == [(1, "lost"), (2, "succeeded")]
    assert register.duplicates == []


def step_is_lost(step):
    """Whether the lease of `step` has run out, by the database's clock."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT lease_expires_at < clock_timestamp() FROM provisioning_step WHERE id = %s", [step.pk])
        return cursor.fetchone()[0]


def test_without_a_free_connection_the_web_says_come_back_and_places_no_half_order(org, far_side, processes):
    offering = published_offering(org, steps=[{"name": "Making it", "connector": "bare"}])
    _, token = accounts.create_token(
        org.business, label="tests", scopes=["read", "order"], expires_in=timedelta(hours=1), actor=org.business
    )
    web = processes.web()
    name = connection.ops.quote_name(connection.settings_dict["NAME"])
    with connection.cursor() as cursor, ExitStack() as sessions:
        cursor.execute(f"ALTER DATABASE {name} CONNECTION LIMIT {ENOUGH}")
        try:
            with pytest.raises(psycopg2.OperationalError, match="too many connections"):
                fill_up(sessions)
            status, headers, _ = web.answer("POST", "/api/v1/orders/", wanted_body(offering), token=token, key="one")
            page, _, text = web.answer("GET", "/sign-in/")
            ready = web.request("GET", "/readyz")
        finally:
            cursor.execute(f"ALTER DATABASE {name} CONNECTION LIMIT -1")
    assert (status, headers["Retry-After"] is not None) == (503, True)
    assert page != 500, text
    assert (ready[0], ready[1]["database"]) == (503, "down")
    assert not Order.objects.exists()
    status, answer = web.request("POST", "/api/v1/orders/", wanted_body(offering), token=token, key="one")
    assert status == 201, answer
    assert Order.objects.count() == 1


def fill_up(sessions):
    """Open sessions until the database takes no more."""
    for _ in range(ENOUGH + 1):
        sessions.enter_context(closing(psycopg2.connect(application_url())))


def test_a_result_written_at_the_second_try_is_told_once(ordered, processes, far_side):
    order = ordered(("Making it", "bare", {"hold": "gate"}))
    processes.worker(ready=False)
    wait_for(lambda: far_side.calls("start"))
    with another_connection(owner_url()) as bystander:
        with bystander.cursor() as cursor:
            # The last of what the result writes waits, until its time is up and all of it is taken back.
            cursor.execute("SELECT 1 FROM orders_order WHERE id = %s FOR UPDATE", [str(order.pk)])
        far_side.open("gate")
        wait_for(lambda: is_waited_for(bystander))
        wait_for(lambda: not is_waited_for(bystander))
    wait_for(lambda: states(order) == ["completed"])
    told = Event.objects.filter(subject_id=step_of(order).pk).order_by("id").values_list("name", flat=True)
    assert list(told) == ["step.ready", "step.running", "step.succeeded"]
    assert attempts(order) == [(1, "succeeded")]


def is_waited_for(session):
    """Whether another session waits for a lock of this one."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE %s = ANY(pg_blocking_pids(pid))", [session.info.backend_pid]
        )
        return cursor.fetchone()[0] > 0
