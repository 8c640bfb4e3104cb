from datetime import timedelta

import pytest
from django.utils import timezone

from orders.models import Order
from provisioning.models import ManualTask
from tests.factories import published_offering
from tests.pages.forms import form_of, order_form, press
from tests.provisioning.engine import drive

FIELDS = [{"name": "serial", "title": "Serial number"}, {"name": "note", "title": "Note", "optional": True}]


@pytest.fixture
def task(org, business):
    """A laptop that waits for a person."""
    step = {
        "name": "Preparing the laptop",
        "connector": "manual",
        "inputs": {
            "instructions": "1. Take one. <script>",
            "assignee_role": "it_admin",
            "output_fields": FIELDS,
            "due_hours": 8,
        },
    }
    published_offering(org, "laptop", steps=[step])
    press(business, order_form(business, "laptop", name="new-colleague"), "laptop")
    drive()
    return ManualTask.objects.get()


def complete(client, task, **values):
    form = form_of(client.get(f"/tasks/{task.pk}/"), f"/tasks/{task.pk}/complete/")
    return client.post(f"/tasks/{task.pk}/complete/", form | {f"o-{name}": value for name, value in values.items()})


def test_a_task_is_listed_with_its_due_date_and_what_it_is_for(signed_in, task):
    page = signed_in("curator").get("/tasks/").content.decode()
    for words in ("Preparing the laptop", "new-colleague", "Maria Keller", "In 8 hours"):
        assert words in page
    ManualTask.objects.update(due_at=timezone.now() - timedelta(minutes=30))
    assert "30 minutes late" in signed_in("curator").get("/tasks/").content.decode()


def test_who_orders_sees_that_a_person_does_it(business, task):
    page = business.get(f"/orders/{Order.objects.get().pk}/").content.decode()
    assert "new-colleague waits for a person" in page
    assert "Needs a person" in page


def test_instructions_are_markdown_that_runs_nothing(signed_in, task):
    page = signed_in("curator").get(f"/tasks/{task.pk}/").content.decode()
    assert "<li>Take one. &lt;script&gt;</li>" in page


def test_what_is_handed_over_reaches_who_ordered(signed_in, business, task):
    answer = complete(signed_in("curator"), task, serial="A-17", note="")
    assert (answer.status_code, answer.url) == (303, f"/tasks/{task.pk}/")
    assert "Done by Tom Lund" in signed_in("curator").get(answer.url).content.decode()
    drive()
    page = business.get(f"/orders/{Order.objects.get().pk}/").content.decode()
    assert "new-colleague is ready" in page
    assert "Serial number" in page
    assert "A-17" in page


@pytest.mark.parametrize(
    ("serial", "sentence"),
    [("", "Enter serial number."), ("x" * 501, "Serial number must be 500 characters or fewer.")],
)
def test_what_is_missing_is_said_at_its_field_and_the_rest_is_kept(signed_in, task, serial, sentence):
    answer = complete(signed_in("curator"), task, serial=serial, note="with dock")
    assert answer.status_code == 422
    page = answer.content.decode()
    assert f'<a href="#f-o-serial">{sentence}</a>' in page
    assert 'value="with dock"' in page
    assert ManualTask.objects.get().state == "open"


def test_of_two_who_hand_it_over_one_wins(signed_in, task):
    first, second = signed_in("curator"), signed_in("curator2")
    form = form_of(second.get(f"/tasks/{task.pk}/"), f"/tasks/{task.pk}/complete/") | {"o-serial": "B"}
    assert complete(first, task, serial="A").status_code == 303
    assert second.post(f"/tasks/{task.pk}/complete/", form).status_code == 409
    assert ManualTask.objects.get().outputs == {"serial": "A"}


def test_tasks_of_other_roles_are_pages_that_do_not_exist(signed_in, task):
    for username in ("business", "approver", "finance"):
        client = signed_in(username)
        assert "Nothing waits for you" in client.get("/tasks/").content.decode()
        assert client.get(f"/tasks/{task.pk}/").status_code == 404
        assert client.post(f"/tasks/{task.pk}/complete/", {"o-serial": "x"}).status_code == 404


def test_an_auditor_looks_and_does_nothing(signed_in, task):
    auditor = signed_in("auditor")
    assert "Done, go on with the delivery" not in auditor.get(f"/tasks/{task.pk}/").content.decode()
    assert auditor.post(f"/tasks/{task.pk}/complete/", {"o-serial": "x"}).status_code == 403


def test_the_task_of_a_canceled_order_says_so(signed_in, business, task):
    business.post(f"/orders/{Order.objects.get().pk}/cancel/")
    page = signed_in("curator").get(f"/tasks/{task.pk}/").content.decode()
    assert "Nothing is left to do" in page
    assert "Done, go on with the delivery" not in page


def act(client, task, name):
    return client.post(f"/tasks/{task.pk}/{name}/")


def test_a_task_is_claimed_taken_over_and_handed_back(signed_in, task):
    first, second = signed_in("curator"), signed_in("curator2")
    assert "Nobody has this task yet" in first.get(f"/tasks/{task.pk}/").content.decode()
    assert act(first, task, "claim").url == f"/tasks/{task.pk}/"
    assert "You have this task" in first.get(f"/tasks/{task.pk}/").content.decode()
    page = second.get(f"/tasks/{task.pk}/").content.decode()
    assert "Tom Lund has this task" in page
    assert "Done, go on with the delivery" not in page
    refused = act(second, task, "claim")
    assert refused.status_code == 409
    assert "Tom Lund has this task already" in refused.content.decode()
    assert act(second, task, "take-over").status_code == 303
    assert act(first, task, "hand-back").status_code == 409
    assert act(second, task, "hand-back").status_code == 303
    assert ManualTask.objects.get().assignee is None


def test_tabs_part_what_is_mine_from_what_nobody_has(signed_in, task):
    curator = signed_in("curator")
    title = "Preparing the laptop"
    for claimed, shown in ((False, ("all", "unclaimed")), (True, ("all", "mine"))):
        if claimed:
            act(curator, task, "claim")
        for tab in ("all", "unclaimed", "mine", "nonsense"):
            page = curator.get(f"/tasks/?show={tab}").content.decode()
            assert (title in page) == (tab in (*shown, "nonsense"))
    assert "Tom Lund has it" in signed_in("curator2").get("/tasks/").content.decode()
    assert "<b>You have it</b>" in curator.get("/tasks/").content.decode()
    for tab, words in (("unclaimed", "Every task has somebody"), ("mine", "You have no task")):
        assert words in signed_in("curator2").get(f"/tasks/?show={tab}").content.decode()


def test_who_may_not_do_a_task_cannot_claim_it(signed_in, task):
    for name in ("claim", "hand-back", "take-over"):
        assert act(signed_in("auditor"), task, name).status_code == 403
        assert act(signed_in("business"), task, name).status_code == 404
        assert signed_in("curator").get(f"/tasks/{task.pk}/{name}/").status_code == 303
    assert "Claim it" not in signed_in("auditor").get(f"/tasks/{task.pk}/").content.decode()


def test_the_longest_overdue_task_comes_first(org, business, signed_in, task):
    press(business, order_form(business, "laptop", name="later-colleague"), "laptop")
    drive()
    ManualTask.objects.exclude(pk=task.pk).update(due_at=timezone.now() - timedelta(hours=3))
    page = signed_in("curator").get("/tasks/").content.decode()
    assert page.index("later-colleague") < page.index("new-colleague")
