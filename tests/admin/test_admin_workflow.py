"""Steps of a workflow in the admin: back end, condition, templates, and what is wrong with them at its field."""

import pytest

from catalog.models import BackEnd, OfferingVersion
from tests.admin.admin_pages import add_row, sent_by
from tests.admin.test_admin_curation import draft, page, shelf  # noqa: F401 (fixtures)


@pytest.fixture
def back_end(db):
    BackEnd.objects.create(slug="old", name="Old", connector="http", address="https://old.example", is_active=False)
    return BackEnd.objects.create(slug="tickets", name="Tickets", connector="http", address="https://tickets.example")


def save(client, version, *steps):
    sent = sent_by(client.get(page(version)))
    for step in steps:
        sent = add_row(sent, "workflow_steps", **step)
    return client.post(page(version), sent, follow=True)


def test_a_step_with_back_end_condition_and_template_is_kept(draft, staff, back_end):  # noqa: F811
    step = {
        "name": "Opening a ticket",
        "connector": "http",
        "back_end": "tickets",
        "inputs": '{"method": "POST", "path": "/tickets/${order.number}"}',
        "when": "order.plan == 'medium'",
        "on_failure": "wait",
    }
    save(staff("curator"), draft, step)
    kept = draft.workflow_steps.get()
    assert (kept.back_end, kept.when, kept.on_failure) == ("tickets", "order.plan == 'medium'", "wait")
    assert kept.inputs["path"] == "/tickets/${order.number}"
    shown = sent_by(staff("curator").get(page(draft)))
    assert shown["workflow_steps-0-back_end"] == ["tickets"]


def test_steps_are_saved_as_they_follow_each_other(draft, staff):  # noqa: F811
    later = {"name": "B", "connector": "manual", "inputs": '{"instructions": "${outputs.key_prefix}"}', "position": "2"}
    save(staff("curator"), draft, later, {"name": "A", "connector": "redis_acl", "inputs": "", "position": "1"})
    assert list(draft.workflow_steps.order_by("position").values_list("name", flat=True)) == ["A", "B"]


@pytest.mark.parametrize(
    ("step", "sentence"),
    [
        ({"connector": "manual", "inputs": '{"instructions": "${parameters.colour}"}'}, "nothing named “colour”"),
        ({"connector": "manual", "when": "order.plan =="}, "Column 14"),
        (
            {"connector": "http", "inputs": '{"method": "GET", "path": "/"}'},
            "needs a back end. Choose one of: tickets.",
        ),
        ({"connector": "manual", "back_end": "tickets"}, "leave this empty"),
        ({"connector": "http", "back_end": "old"}, "Select a valid choice"),
    ],
)
def test_what_is_wrong_with_a_step_is_said_and_nothing_is_kept(draft, staff, back_end, step, sentence):  # noqa: F811
    answer = save(staff("curator"), draft, {"name": "Step", "inputs": ""} | step)
    assert sentence in answer.content.decode()
    assert not draft.workflow_steps.exists()


def test_the_page_lists_what_a_step_may_name(draft, staff):  # noqa: F811
    OfferingVersion.objects.filter(pk=draft.pk).update(
        parameters_schema={"type": "object", "properties": {"size": {"type": "integer", "title": "Size", "default": 1}}}
    )
    shown = staff("curator").get(page(draft)).content.decode()
    for line in ("<b>parameters</b> size", "<b>requester</b> email, name, username", "<b>outputs</b> nothing yet"):
        assert line in shown
