"""Who has a task, and who may let go of it, take it over or end it; what a person is asked where a service changes."""

import pytest
from django.core.exceptions import PermissionDenied

import orders.services as orders
import provisioning.services as provisioning
from core.models import Event
from core.problems import Conflict, Invalid
from core.states import IllegalMove
from provisioning.connectors import connector
from provisioning.connectors.base import Done, Failed, Waiting
from provisioning.models import ManualTask
from tests.provisioning.calls import a_call, again
from tests.provisioning.engine import drive, fresh
from tests.threads import together

INPUTS = {"instructions": "Take one.", "output_fields": [{"name": "serial", "title": "Serial number"}]}


@pytest.fixture
def order(ordered):
    placed = ordered(("Handing it over", "manual", INPUTS))
    drive()
    return placed


@pytest.fixture
def task(order):
    return ManualTask.objects.get()


def events_of(task):
    return list(Event.objects.filter(subject_id=task.pk).order_by("id").values_list("name", flat=True))


def test_who_claims_a_task_has_it_and_a_second_time_changes_nothing(org, task):
    for _ in range(2):
        assert provisioning.claim_task(task, actor=org.curator).assignee == org.curator
    assert events_of(task) == ["manualtask.claimed"]


def test_a_claimed_task_is_neither_claimed_nor_done_by_somebody_else(org, task):
    provisioning.claim_task(task, actor=org.curator)
    with pytest.raises(Conflict, match=f"{org.curator} has this task"):
        provisioning.claim_task(task, actor=org.curator2)
    with pytest.raises(Conflict, match="Take it over first"):
        provisioning.complete(task, {"serial": "SN-7"}, actor=org.curator2)
    provisioning.complete(task, {"serial": "SN-7"}, actor=org.curator)
    assert fresh(task).state == "done"


def test_a_task_that_is_handed_back_may_be_claimed_by_another(org, task):
    provisioning.claim_task(task, actor=org.curator)
    with pytest.raises(Conflict, match="Only the person who has a task"):
        provisioning.hand_back(task, actor=org.curator2)
    provisioning.hand_back(task, actor=org.curator)
    with pytest.raises(Conflict):
        provisioning.hand_back(task, actor=org.curator)
    assert provisioning.claim_task(task, actor=org.curator2).assignee == org.curator2
    assert events_of(task) == ["manualtask.claimed", "manualtask.handed_back", "manualtask.claimed"]


def test_a_task_is_handed_to_whoever_may_do_it_and_the_trail_says_from_whom(org, task):
    provisioning.claim_task(task, actor=org.curator)
    provisioning.hand_to(task, org.curator2, actor=org.curator2)
    assert fresh(task).assignee == org.curator2
    assert Event.objects.get(name="manualtask.handed_over").facts == {
        "before": org.curator.username,
        "after": org.curator2.username,
    }
    provisioning.hand_to(task, None, actor=org.curator)
    assert fresh(task).assignee is None
    with pytest.raises(Invalid) as refused:
        provisioning.hand_to(task, org.people["finance"], actor=org.curator)
    assert list(refused.value.errors) == ["/assignee"]


@pytest.mark.parametrize("act", ["claim_task", "hand_back"])
@pytest.mark.parametrize("username", ["business", "finance", "auditor"])
def test_who_may_not_do_a_task_cannot_have_it(org, task, act, username):
    with pytest.raises(PermissionDenied):
        getattr(provisioning, act)(task, actor=org.people[username])


def test_a_superuser_cannot_have_the_task_of_his_own_order(org, ordered):
    ordered(("Handing it over", "manual", INPUTS))
    drive()
    task = ManualTask.objects.get()
    instance = task.step.run.instance
    type(instance).objects.filter(pk=instance.pk).update(owner=org.admin)
    for act in (
        lambda: provisioning.claim_task(task, actor=org.admin),
        lambda: provisioning.complete(task, {"serial": "x"}, actor=org.admin),
    ):
        with pytest.raises(PermissionDenied):
            act()
    with pytest.raises(Invalid):
        provisioning.hand_to(task, org.admin, actor=org.curator)


def test_after_the_order_was_canceled_nobody_claims_or_ends_its_task(org, order, task):
    orders.cancel(order, actor=org.business)
    drive()
    for act in (
        lambda: provisioning.claim_task(task, actor=org.curator),
        lambda: provisioning.hand_to(task, org.curator, actor=org.curator),
        lambda: provisioning.complete(task, {"serial": "SN-7"}, actor=org.curator),
    ):
        with pytest.raises(IllegalMove, match="canceled already"):
            act()
    assert fresh(order).state == "canceled"
    assert fresh(order.instance).outputs == {}


@pytest.mark.django_db(transaction=True)
def test_of_two_who_claim_at_once_one_has_it(org, ordered):
    ordered(("Handing it over", "manual", INPUTS))
    drive()
    task = ManualTask.objects.get()
    answers = together(
        lambda: provisioning.claim_task(task, actor=org.curator),
        lambda: provisioning.claim_task(task, actor=org.curator2),
    )
    assert sorted(type(answer).__name__ for answer in answers) == ["Conflict", "ManualTask"]
    assert events_of(task) == ["manualtask.claimed"]


@pytest.mark.django_db(transaction=True)
def test_ending_a_task_while_its_order_is_canceled_has_one_outcome(org, ordered):
    order = ordered(("Handing it over", "manual", INPUTS))
    drive()
    task = ManualTask.objects.get()
    together(
        lambda: provisioning.complete(task, {"serial": "SN-7"}, actor=org.curator),
        lambda: orders.cancel(order, actor=org.business),
    )
    drive()
    assert (fresh(task).state, fresh(order).state) in {("done", "completed"), ("canceled", "canceled")}


def test_the_api_claims_takes_over_and_hands_back(api, org, task):
    first, second = api("curator"), api("curator2")
    place = f"/api/v1/tasks/{task.pk}"
    assert first.post(f"{place}/claim/", {}, format="json").json()["assignee"] == "curator"
    assert [row["id"] for row in first.get("/api/v1/tasks/?held_by=me").json()["results"]] == [str(task.pk)]
    assert first.get("/api/v1/tasks/?held_by=nobody").json()["results"] == []
    refused = second.post(f"{place}/claim/", {}, format="json")
    assert (refused.status_code, refused.json()["type"].rpartition("/")[2].rpartition(":")[2]) == (409, "claimed")
    assert second.post(f"{place}/complete/", {"outputs": {"serial": "x"}}, format="json").status_code == 409
    assert second.post(f"{place}/claim/", {"take_over": True}, format="json").json()["assignee"] == "curator2"
    assert first.post(f"{place}/hand-back/").status_code == 409
    assert second.post(f"{place}/hand-back/").json()["assignee"] is None
    assert second.post(f"{place}/claim/", {"take_over": "perhaps"}, format="json").status_code == 400
    assert second.post(f"{place}/claim/", {"nobody": 1}, format="json").status_code == 400
    assert second.post(f"{place}/hand-back/", {"x": 1}, format="json").status_code == 400
    assert api("business").post(f"{place}/claim/").status_code == 404
    assert api("auditor").post(f"{place}/claim/").status_code == 403
    assert second.get("/api/v1/tasks/?held_by=all").status_code == 400


def a_change(old, new):
    made = a_call(inputs=INPUTS)
    context = {"plan": "medium", "limits": {}, "parameters": new}
    before = {"plan": "medium", "limits": {}, "parameters": old, "inputs": INPUTS}
    return again(made, "update", context=context, before=before)


def test_a_change_asks_a_person_and_says_what_changes():
    asked = connector("manual").update(
        a_change({"size": 10, "note": None}, {"size": 20, "note": "[x](http://e) `*`\nb"})
    )
    assert isinstance(asked, Waiting)
    assert asked.task["title"] == "Change Campaign DB"
    for part in ("- size: `10` becomes `20`", "- note: nothing becomes `[x](http://e) '*' b`", "Take one."):
        assert part in asked.task["instructions"]
    assert asked.task["output_fields"] == [{"name": "serial", "title": "Serial number", "optional": True}]


def test_a_change_that_concerns_nobody_asks_nobody():
    assert isinstance(connector("manual").update(a_change({"size": 10}, {"size": 10})), Done)


@pytest.mark.parametrize(
    "inputs",
    [
        {"assignee_role": "king"},
        {"output_fields": "serial"},
        {"output_fields": [7]},
        {"output_fields": [{"title": "x"}]},
        {"due_hours": -1},
        {"due_hours": True},
        {"due_hours": "soon"},
    ],
)
def test_what_is_no_task_is_refused(inputs):
    with pytest.raises(Failed):
        connector("manual").start(a_call(inputs=INPUTS | inputs))


def test_what_a_person_has_set_up_cannot_be_looked_at():
    with pytest.raises(Failed, match="cannot be checked"):
        connector("manual").describe(a_call("describe", inputs=INPUTS))
