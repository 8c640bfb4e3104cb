"""The workers' own look for due work, and the bell that need not be heard."""

import os
import queue
import threading

import pytest
from django.db import connection, transaction

from config.embedded.process import wait_until
from core import bell, seals
from provisioning import sweeper
from provisioning.services import claims
from tests.provisioning.engine import lose, place
from tests.threads import together


@pytest.fixture
def rung(monkeypatch):
    """The steps that the sweep rang for."""
    heard = []
    monkeypatch.setattr(bell, "publish", lambda step_id, queue_name: heard.append((step_id, queue_name)) or True)
    return heard


def test_a_sweep_rings_for_what_is_due_and_not_for_what_a_worker_is_at(ordered, rung):
    first = ordered()
    at_work = claims.claim()
    due = place(first.plan.version.offering, first.requester)
    assert sweeper.sweep(slots=2)
    assert rung == [(str(due.instance.runs.get().steps.get().pk), "default")]
    lose(at_work)
    sweeper.sweep(slots=2)
    assert str(at_work.pk) in [step_id for step_id, _ in rung]


def test_a_sweep_rings_at_most_twice_for_each_place(ordered, rung):
    first = ordered()
    for _ in range(4):
        place(first.plan.version.offering, first.requester)
    sweeper.sweep(slots=1)
    assert len(rung) == 2


def test_a_sweep_stops_ringing_at_a_broker_that_takes_nothing_and_says_so(ordered, monkeypatch):
    first = ordered()
    place(first.plan.version.offering, first.requester)
    tried = []
    monkeypatch.setattr(bell, "publish", lambda *ring: tried.append(ring) or False)
    assert sweeper.sweep(slots=2) is False
    assert len(tried) == 1
    assert sweeper.last_pulse().facts["broker"] == "degraded"
    assert sweeper.seconds_since_sweep() < 5


def test_a_sweep_seals_what_happened(ordered, rung):
    ordered()
    assert seals.unsealed_count() > 0
    sweeper.sweep(slots=2)
    assert seals.unsealed_count() == 0
    assert list(seals.faults()) == []


@pytest.mark.django_db(transaction=True)
def test_while_one_worker_sweeps_the_others_do_not(ordered, rung):
    ordered()
    assert wait_until(lambda: rung, 10)  # the order's own ring, by the bell's thread
    rung.clear()
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [sweeper.SWEEP_LOCK])
        assert together(lambda: sweeper.sweep(slots=2)) == [True]
    assert rung == []
    sweeper.sweep(slots=2)
    assert len(rung) == 1


def test_how_long_the_oldest_step_has_waited_is_known(ordered):
    assert sweeper.oldest_due_seconds() == 0
    ordered()
    assert 0 < sweeper.oldest_due_seconds() < 60


def test_the_bell_rings_once_the_transaction_is_committed(db, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks:
        bell.ring("some-step")
    assert len(callbacks) == 1


def test_a_full_bell_drops_the_ring_and_holds_up_nobody(monkeypatch):
    monkeypatch.setattr(bell, "_waiting", queue.Queue(maxsize=1))
    monkeypatch.setattr(bell, "_thread_of_pid", os.getpid())
    ringing = threading.Thread(target=lambda: [bell._enqueue("some-step", "default") for _ in range(3)])
    ringing.start()
    ringing.join(timeout=2)
    assert not ringing.is_alive()
