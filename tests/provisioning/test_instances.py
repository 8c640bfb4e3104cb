"""Passwords: shown once, changed one at a time, the old one in force until the back end took the new one."""

import pytest
from django.core.exceptions import PermissionDenied

from core.problems import Conflict
from core.states import IllegalMove
from provisioning.models import Secret
from provisioning.services import claims, execution, reveal, rotate
from tests.provisioning.engine import drive, fresh, lose, make_due, run_of
from tests.provisioning.fakes import Fake
from tests.threads import together


@pytest.fixture
def instance(ordered):
    """A delivered service with a password."""
    order = ordered()
    drive()
    return fresh(order.instance)


def in_force(instance):
    return instance.secrets.get(in_force_at__isnull=False, superseded_at__isnull=True)


def test_a_password_is_shown_once_and_is_the_one_at_the_back_end(instance, far_side):
    shown = reveal(instance, actor=instance.owner)
    assert shown == {"password": far_side.password(instance.pk)}
    with pytest.raises(Conflict) as refused:
        reveal(instance, actor=instance.owner)
    assert refused.value.code == "already-revealed"
    assert in_force(instance).revealed_to == instance.owner


@pytest.mark.django_db(transaction=True)
def test_of_ten_who_ask_at_once_one_sees_the_password(ordered, far_side):
    order = ordered()
    drive()
    instance = fresh(order.instance)
    answers = together(lambda: reveal(instance, actor=instance.owner), times=10)
    shown = [answer for answer in answers if isinstance(answer, dict)]
    refused = [answer.code for answer in answers if isinstance(answer, Conflict)]
    assert shown == [{"password": far_side.password(instance.pk)}]
    assert refused == ["already-revealed"] * 9


@pytest.mark.parametrize("username", ["colleague", "owner", "curator", "admin", "auditor"])
def test_nobody_else_sees_or_changes_it_whatever_his_role(org, instance, username):
    for verb in (reveal, rotate):
        with pytest.raises(PermissionDenied):
            verb(instance, actor=org.people[username])


def test_there_is_nothing_to_show_before_it_is_delivered(ordered):
    order = ordered()
    with pytest.raises(Conflict) as refused:
        reveal(order.instance, actor=order.requester)
    assert refused.value.code == "not-ready"


def test_a_service_without_a_password_has_none_to_show_or_change(ordered):
    order = ordered(("Making it", "bare", {}))
    drive()
    for verb in (reveal, rotate):
        with pytest.raises(Conflict) as refused:
            verb(fresh(order.instance), actor=order.requester)
        assert refused.value.code == "no-credentials"


def test_the_old_password_stays_in_force_until_the_back_end_took_the_new_one(instance, far_side):
    old = in_force(instance)
    rotate(instance, actor=instance.owner)
    assert in_force(instance) == old
    assert fresh(instance).state == "updating"
    drive()
    new = in_force(instance)
    assert new != old
    assert fresh(old).superseded_at
    assert fresh(instance).state == "active"
    assert reveal(fresh(instance), actor=instance.owner) == {"password": far_side.password(instance.pk)}


def test_a_new_password_is_shown_once_again(instance):
    first = reveal(instance, actor=instance.owner)
    rotate(instance, actor=instance.owner)
    drive()
    second = reveal(fresh(instance), actor=instance.owner)
    assert first != second


def test_one_change_at_a_time(instance):
    rotate(fresh(instance), actor=instance.owner)
    with pytest.raises((Conflict, IllegalMove)):
        rotate(fresh(instance), actor=instance.owner)
    drive()
    rotate(fresh(instance), actor=instance.owner)


@pytest.mark.django_db(transaction=True)
def test_of_ten_changes_at_once_one_begins(ordered):
    order = ordered()
    drive()
    instance = fresh(order.instance)
    answers = together(lambda: rotate(instance, actor=instance.owner), times=10)
    assert len([answer for answer in answers if not isinstance(answer, Exception)]) == 1
    assert all(isinstance(answer, (Conflict, IllegalMove)) for answer in answers if isinstance(answer, Exception))
    assert instance.runs.filter(kind="rotate").count() == 1
    drive()
    assert Secret.objects.filter(instance=instance, in_force_at__isnull=False, superseded_at=None).count() == 1


def test_a_change_that_the_back_end_refuses_keeps_the_old_password(instance, far_side):
    old, password = in_force(instance), far_side.password(instance.pk)
    (far_side.folder / "refuse-rotation").touch()
    rotate(instance, actor=instance.owner)
    drive()
    assert in_force(instance) == old
    assert far_side.password(instance.pk) == password
    assert (fresh(instance).state, instance.runs.get(kind="rotate").state) == ("active", "compensated")
    assert reveal(fresh(instance), actor=instance.owner) == {"password": password}


def test_a_worker_lost_over_a_change_sets_the_same_new_password_again(instance, far_side):
    run = rotate(instance, actor=instance.owner)
    make_due()
    step = claims.claim()
    lose(step)
    drive()
    assert run.steps.get().attempt == 2
    assert run_of_instance(instance).state == "succeeded"
    assert reveal(fresh(instance), actor=instance.owner) == {"password": far_side.password(instance.pk)}


def run_of_instance(instance):
    return instance.runs.order_by("-created_at").first()


def test_a_step_without_passwords_of_its_own_gets_those_in_force(ordered, far_side, monkeypatch):
    seen = []
    original = Fake.describe
    monkeypatch.setattr(Fake, "describe", lambda self, call: seen.append(call.secrets) or original(self, call))
    order = ordered(("Making it", "fake", {}), ("Looking", "fake", {}, {"operation": "describe"}))
    execution.execute(claims.claim())
    execution.execute(claims.claim())
    assert seen == [{"password": far_side.password(order.instance_id)}]
    assert run_of(order).state == "succeeded"
