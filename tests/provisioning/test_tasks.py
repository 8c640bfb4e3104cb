"""Tasks that people do by hand."""

import pytest
from django.core.exceptions import PermissionDenied

import accounts.services as accounts
from core.problems import Invalid
from core.states import IllegalMove
from provisioning.models import ManualTask
from provisioning.services import complete
from tests.provisioning.engine import drive, fresh, step_of
from tests.threads import together

INPUTS = {
    "instructions": "Take one from the shelf.",
    "assignee_role": "it_admin",
    "due_hours": 4,
    "output_fields": [
        {"name": "serial", "title": "Serial number"},
        {"name": "room", "title": "Room", "optional": True},
    ],
}


@pytest.fixture
def order(ordered):
    """An order that waits for a person."""
    placed = ordered(("Handing it over", "manual", INPUTS))
    drive()
    return placed


def test_the_task_says_what_to_do_for_whom_and_until_when(order):
    task = ManualTask.objects.get()
    assert (task.title, task.instructions, task.role) == ("Handing it over", "Take one from the shelf.", "it_admin")
    assert 3.9 < (task.due_at - task.created_at).total_seconds() / 3600 <= 4.1
    step = step_of(order, "Handing it over")
    assert (step.state, step.detail) == ("waiting_for_person", "A person does this by hand.")


def test_done_with_its_outputs_the_order_is_complete(org, order):
    complete(ManualTask.objects.get(), {"serial": " SN-7 "}, actor=org.curator)
    assert fresh(order).state == "completed"
    assert fresh(order.instance).outputs == {"serial": "SN-7"}


@pytest.mark.parametrize(
    ("outputs", "pointer"),
    [
        ({}, "/serial"),
        ({"serial": " "}, "/serial"),
        ({"serial": 7}, "/serial"),
        ({"serial": "x" * 501}, "/serial"),
        ({"serial": "x", "color": "red"}, "/color"),
    ],
)
def test_what_is_missing_is_said_at_its_field_and_the_task_stays_open(org, order, outputs, pointer):
    with pytest.raises(Invalid) as refused:
        complete(ManualTask.objects.get(), outputs, actor=org.curator)
    assert list(refused.value.errors) == [pointer]
    assert ManualTask.objects.get().state == "open"


def test_a_task_is_done_once(org, order):
    task = ManualTask.objects.get()
    complete(task, {"serial": "SN-7"}, actor=org.curator)
    with pytest.raises(IllegalMove):
        complete(task, {"serial": "SN-8"}, actor=org.curator2)
    assert fresh(order.instance).outputs == {"serial": "SN-7"}


@pytest.mark.parametrize("username", ["business", "colleague", "finance", "auditor"])
def test_who_has_not_the_role_or_ordered_it_cannot_do_the_task(org, order, username):
    with pytest.raises(PermissionDenied):
        complete(ManualTask.objects.get(), {"serial": "SN-7"}, actor=org.people[username])


def test_who_ordered_it_cannot_hand_it_over_to_himself_whatever_his_role(org, ordered):
    accounts.grant_role(org.business, "it_admin", org.units["it"], actor=org.admin)
    ordered(("Handing it over", "manual", INPUTS))
    drive()
    with pytest.raises(PermissionDenied):
        complete(ManualTask.objects.get(), {"serial": "SN-7"}, actor=type(org.business).objects.get(pk=org.business.pk))


@pytest.mark.django_db(transaction=True)
def test_of_two_people_who_do_it_at_once_one_wins(org, ordered):
    order = ordered(("Handing it over", "manual", INPUTS))
    drive()
    task = ManualTask.objects.get()
    answers = together(
        lambda: complete(task, {"serial": "first"}, actor=org.curator),
        lambda: complete(task, {"serial": "second"}, actor=org.curator2),
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["IllegalMove", "ManualTask"]
    done = fresh(task)
    assert fresh(order.instance).outputs == done.outputs
    assert (done.done_by == org.curator) == (done.outputs == {"serial": "first"})
