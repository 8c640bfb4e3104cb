"""Looking whether what was delivered is still there: what is gone is marked, and nothing is made or deleted."""

import io
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command

import orders.services as orders
from core.models import Event
from provisioning.models import Breaker, ServiceInstance
from provisioning.services.reconcile import reconcile
from provisioning.tasks import look_at_services
from tests.provisioning.engine import drive, fresh
from tests.provisioning.fakes import Fake
from tests.threads import together


@pytest.fixture
def service(ordered):
    """A service of two things, delivered."""
    order = ordered(("one", "bare", {}), ("two", "bare", {}))
    drive()
    return fresh(order).instance


def thing(far_side, service, name):
    return far_side.folder / f"thing-{service.pk}-{name}"


def command(*arguments):
    said = io.StringIO()
    call_command("reconcile", *arguments, stdout=said)
    return said.getvalue()


def test_what_is_there_stays_active_and_is_noted_as_looked_at(service, far_side):
    found = reconcile(older_than=timedelta())
    assert (found.there, found.missing, found.again, found.unsure) == (1, [], [], 0)
    assert fresh(service).state == "active"
    assert fresh(service).checked_at
    assert len(far_side.calls("describe")) == 2


def test_what_somebody_took_away_is_missing_and_not_made_again(service, far_side):
    thing(far_side, service, "two").unlink()
    found = reconcile(older_than=timedelta())
    assert len(found.missing) == 1
    drive()
    assert fresh(service).state == "missing"
    assert far_side.live(service.pk) == [f"thing-{service.pk}-one"]
    event = Event.objects.get(name="serviceinstance.missing")
    assert event.facts["reason"] == "two: It is not there."
    assert (len(far_side.calls("start")), far_side.calls("undo")) == (2, [])
    assert len(reconcile(older_than=timedelta()).missing) == 1, "it still is"
    assert Event.objects.filter(name="serviceinstance.missing").count() == 1


def test_what_is_there_again_is_active_again(service, far_side):
    thing(far_side, service, "two").unlink()
    reconcile(older_than=timedelta())
    thing(far_side, service, "two").touch()
    assert len(reconcile(older_than=timedelta()).again) == 1
    assert fresh(service).state == "active"


def test_what_is_missing_can_be_removed(service, far_side):
    thing(far_side, service, "two").unlink()
    reconcile(older_than=timedelta())
    orders.place_change(orders.WantedChange("delete", str(service.pk)), actor=service.owner)
    drive()
    assert fresh(service).state == "retired"
    assert far_side.live() == []


def test_a_back_end_that_gives_no_answer_changes_nothing(service, far_side, monkeypatch):
    thing(far_side, service, "one").unlink()
    monkeypatch.setenv("FAR_SIDE", "/nowhere")
    found = reconcile(older_than=timedelta())
    assert (found.unsure, found.missing) == (1, [])
    assert fresh(service).state == "active"


def test_a_silent_back_end_is_not_asked(service, far_side):
    Breaker.objects.update_or_create(back_end="bare", defaults={"state": "open", "failures": 5})
    assert reconcile(older_than=timedelta()).unsure == 1
    assert far_side.calls("describe") == []


def test_what_only_a_person_could_look_at_is_not_looked_at(ordered, far_side):
    ordered(("by hand", "manual", {}))
    ServiceInstance.objects.update(state="active")
    assert reconcile(older_than=timedelta()).unsure == 1


def test_what_was_looked_at_lately_or_is_no_service_is_left_alone(service, ordered, far_side):
    ordered(("one", "bare", {}))
    assert reconcile().looked_at == 1
    assert reconcile().looked_at == 0
    assert reconcile(older_than=timedelta(), connector_name="bare").looked_at == 1
    assert reconcile(older_than=timedelta(), connector_name="postgresql").looked_at == 0


def test_a_look_that_ends_after_a_change_began_marks_nothing(service, far_side, monkeypatch):
    thing(far_side, service, "one").unlink()
    original = Fake.describe

    def describe(self, call):
        ServiceInstance.objects.filter(pk=service.pk).update(state="updating")
        return original(self, call)

    monkeypatch.setattr(Fake, "describe", describe)
    assert reconcile(older_than=timedelta()).unsure == 1
    assert fresh(service).state == "updating"


@pytest.mark.django_db(transaction=True)
def test_several_share_the_work_and_each_service_is_looked_at_once(ordered, far_side):
    for _ in range(6):
        ordered(("one", "bare", {}))
    drive()
    found = together(reconcile, times=4)
    assert sum(one.there for one in found) == 6
    assert len(far_side.calls("describe")) == 6


def test_the_task_looks_at_all_that_is_due(service):
    look_at_services()
    assert fresh(service).checked_at


def test_the_time_is_kept_and_what_is_left_is_said(ordered, far_side):
    for _ in range(2):
        ordered(("one", "bare", {}))
    drive()
    found = reconcile(seconds=0.0)
    assert (found.looked_at, found.is_over) == (1, False)


def test_the_command_says_what_it_found(service, far_side):
    assert "1 services looked at: 1 there" in command()
    assert command("--older-than", "1h").startswith("0 services")
    thing(far_side, service, "one").unlink()
    with pytest.raises(CommandError, match=f"Missing: {service.name}"):
        command("--connector", "bare")
    thing(far_side, service, "one").touch()
    assert f"There again: {service.name}" in command()
    with pytest.raises(CommandError, match="There is no connector"):
        command("--connector", "nonsense")
    with pytest.raises(CommandError, match="an age"):
        command("--older-than", "soon")
