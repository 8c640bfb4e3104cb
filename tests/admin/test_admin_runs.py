"""Operators act on runs, steps and back ends in the admin, too."""

from datetime import timedelta

import pytest
from django.utils import timezone

from provisioning.models import Breaker, Step
from provisioning.services import breakers
from tests.factories import published_offering
from tests.provisioning import fakes
from tests.provisioning.engine import drive, fresh, place, run_of, step_of

RUN, STEP, BREAKER = (f"/admin/provisioning/{model}/" for model in ("run", "step", "breaker"))


@pytest.fixture(autouse=True)
def far_side(settings, tmp_path, monkeypatch):
    """The fake connectors beside the real ones, and their far side; the test itself is the worker."""
    settings.LEASE_SECONDS = 60
    monkeypatch.setenv("FAR_SIDE", str(tmp_path))
    settings.CONNECTORS = settings.CONNECTORS | fakes.CONNECTORS
    return fakes.FarSide(tmp_path)


@pytest.fixture
def held(org):
    """An order whose only step has failed and waits for an operator."""
    rows = [{"name": "Building it", "connector": "bare", "inputs": {"refuses": True}, "on_failure": "wait"}]
    placed = place(published_offering(org, "service", steps=rows), org.business)
    drive()
    return placed


def test_a_run_is_tried_again_from_its_page(staff, held):
    client, address = staff("curator"), f"{RUN}{run_of(held).pk}/"
    page = client.get(f"{address}change/").content.decode()
    assert f'href="/runs/{run_of(held).pk}/"' in page
    assert "Try again" in page
    Step.objects.update(inputs={})
    assert client.post(f"{address}retry/").status_code == 302
    drive()
    assert fresh(held).state == "completed"


@pytest.mark.parametrize(("action", "state"), [("undo", "compensated"), ("abandon", "abandoned")])
def test_a_run_is_undone_or_abandoned_with_a_reason(staff, held, action, state):
    client, address = staff("curator"), f"{RUN}{run_of(held).pk}/{action}/"
    assert client.get(address).status_code == 200
    assert "Enter the reason" in client.post(address, {"reason": " "}).content.decode()
    assert client.post(address, {"reason": "Not wanted."}).status_code == 302
    drive()
    assert (run_of(held).state, run_of(held).reason) == (state, "Not wanted.")


def test_a_step_is_tried_again_or_left_out(staff, held):
    client, address = staff("curator"), f"{STEP}{step_of(held, 'Building it').pk}/"
    assert client.post(f"{address}retry/").status_code == 302
    assert step_of(held, "Building it").state == "ready"
    assert client.post(f"{address}skip/", {"reason": "Done by hand."}).status_code == 302
    assert fresh(held).state == "completed"
    again = client.post(f"{address}skip/", {"reason": "Again."}, follow=True)
    assert "cannot be left out now" in again.content.decode()


def test_it_is_said_what_became_of_a_step(staff, held):
    Step.objects.update(state="outcome_unknown", inputs={})
    client, address = staff("curator"), f"{STEP}{step_of(held, 'Building it').pk}/resolve/"
    assert client.post(address, {"answer": "did_not", "reason": "It is not there."}).status_code == 302
    drive()
    assert fresh(held).state == "completed"


def test_a_silent_back_end_is_tried_now(staff, held):
    for _ in range(breakers.FAILURES):
        breakers.note_failure("bare", "Connection refused.")
    Breaker.objects.update(probe_at=timezone.now() + timedelta(hours=1))
    client = staff("curator")
    assert "Connection refused." in client.get(BREAKER).content.decode()
    assert client.post(f"{BREAKER}bare/try/").status_code == 302
    assert Breaker.objects.get().probe_at < timezone.now() + timedelta(minutes=1)
    assert client.get(f"{BREAKER}bare/history/").status_code == 200


def test_who_only_looks_is_refused(staff, held):
    client = staff("auditor")
    assert "Try again" not in client.get(f"{RUN}{run_of(held).pk}/change/").content.decode()
    assert client.post(f"{RUN}{run_of(held).pk}/abandon/", {"reason": "x"}).status_code == 403
    assert client.post(f"{STEP}{step_of(held, 'Building it').pk}/skip/", {"reason": "x"}).status_code == 403
    assert step_of(held, "Building it").state == "failed"
