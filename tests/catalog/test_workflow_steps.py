"""A step that could not work with some order is refused when it is written, not when somebody has ordered."""

from typing import Any

import pytest

import catalog.services as catalog
from catalog.models import BackEnd, OfferingVersion, Plan, WorkflowStep
from catalog.services.workflows import back_end_of, idempotency_of, queue_of, roots_for, secret_names
from core.problems import Conflict, Invalid

FORM = {
    "type": "object",
    "properties": {
        "size": {"title": "Size", "type": "integer", "minimum": 1, "maximum": 9, "default": 1},
        "zone": {"title": "Zone", "type": "string", "maxLength": 10},
        "owner": {"title": "Owner", "type": "string", "maxLength": 10},
        "network": {
            "title": "Network",
            "type": "object",
            "properties": {"vlan": {"title": "VLAN", "type": "integer", "minimum": 1, "maximum": 9, "default": 1}},
        },
        "tags": {"title": "Tags", "type": "array", "items": {"enum": ["a", "b"]}, "uniqueItems": True, "default": []},
    },
    "required": ["owner"],
}


@pytest.fixture
def draft(org, offering):
    version = catalog.new_draft(offering, actor=org.curator)
    catalog.save_draft(version, parameters_schema=FORM, actor=org.curator)
    version.workflow_steps.all().delete()
    return OfferingVersion.objects.get(pk=version.pk)


@pytest.fixture
def save(org, draft):
    def save_step(connector: str = "manual", **fields: Any) -> WorkflowStep:
        step = WorkflowStep(version=draft, name="Step", connector=connector, **fields)
        return catalog.save_part(step, actor=org.curator)

    return save_step


@pytest.fixture
def back_end(db):
    return BackEnd.objects.create(slug="tickets", name="Tickets", connector="http", address="https://tickets.example")


def refusal(save, **step: Any) -> dict[str, str]:
    with pytest.raises(Invalid) as refused:
        save(**step)
    return refused.value.errors


@pytest.mark.parametrize(
    "text",
    [
        "${order.id} ${order.number} ${order.name} ${order.offering} ${order.plan}",
        "${order.purpose} ${order.data_classification}",
        "${parameters.size} ${parameters.owner} ${parameters.network.vlan} ${parameters.tags[0]}",
        "${requester.username} ${requester.name} ${requester.email}",
        "${cost_center.code} ${cost_center.name} ${cost_center.unit} ${instance.id} ${instance.name}",
        "$${whatever}",
    ],
)
def test_a_step_may_name_what_every_order_has(save, text):
    assert save(inputs={"instructions": text}).pk


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("${parameters.colour}", "“parameters” has nothing named “colour”. Known: network, owner, size"),
        ("${parameters.network.zone}", "“parameters.network” has nothing named “zone”"),
        ("${requester.password}", "“requester” has nothing named “password”"),
        ("${secrets.password}", "nothing named “secrets”"),
        ("${outputs.host}", "“outputs” has nothing named “host”"),
        ("${parameters.zone}", "“zone” may be left empty"),
        ("${parameters.size", "not closed"),
    ],
)
def test_a_step_that_names_anything_else_is_refused_at_that_place(save, text, part):
    assert part in refusal(save, inputs={"instructions": text})["/inputs/instructions"]


def test_a_field_that_may_be_empty_may_be_named_where_the_condition_asks_for_it(save):
    assert save(inputs={"instructions": "${parameters.zone}"}, when="has(parameters.zone)").pk
    denied = refusal(save, inputs={"instructions": "${parameters.zone}"}, when="!has(parameters.zone)")
    assert "only where has(parameters.zone)" in denied["/inputs/instructions"]


@pytest.mark.parametrize(
    ("when", "part"),
    [
        ("parameters.size >", "Column 18"),
        ("parameters.sise > 1", "Column 12: “parameters” has nothing named “sise”"),
        ("order.plan", ""),
        ("order.number + 1", "must be true or false"),
        ("parameters.zone == 'a'", "ask first: has(parameters.zone) &&"),
        ("outputs.host == 'a'", "“outputs” has nothing named “host”"),
    ],
)
def test_a_condition_that_has_no_answer_is_refused(save, when, part):
    if not part:  # of whatever type: known when it is asked
        assert save(when=when).pk
    else:
        assert part in refusal(save, when=when)["/when"]


@pytest.mark.parametrize(
    "when", ["", "parameters.size > 1 && order.plan == 'small'", "has(parameters.zone) && parameters.zone == 'a'"]
)
def test_a_condition_over_what_is_known_is_kept(save, when):
    assert save(when=when).when == when


def test_a_step_may_name_what_a_step_before_it_gives_and_none_after_it(save):
    save("redis_acl", position=1)
    assert save(position=2, inputs={"instructions": "${outputs.key_prefix}"}).pk
    assert (
        "key_prefix"
        in refusal(save, position=0, inputs={"instructions": "${outputs.key_prefix}"})["/inputs/instructions"]
    )
    assert (
        "Known: host, key_prefix, port, username."
        in (refusal(save, position=1, inputs={"instructions": "${outputs.prefix}"})["/inputs/instructions"])
    )


def test_after_a_person_has_entered_what_he_likes_any_output_may_be_named(save):
    save("manual", position=1, inputs={"output_fields": ["serial"]})
    assert save("manual", position=2, inputs={"instructions": "${outputs.anything}"}).pk


def test_what_a_step_with_a_condition_gives_may_be_named_only_under_that_condition(save):
    save("redis_acl", position=1, when="parameters.size > 1")
    step = {"position": 2, "inputs": {"instructions": "${outputs.host}"}}
    assert "has a condition" in refusal(save, **step)["/inputs/instructions"]
    assert save(when="parameters.size > 1", **step).pk
    assert save(when="has(outputs.host)", **step).pk


def test_a_limit_may_be_named_that_every_plan_has(org, draft, save):
    for plan, limits in zip(draft.plans.order_by("slug"), [{"disk": 1, "cpu": 1}, {"disk": 2}], strict=True):
        plan.limits = limits
        catalog.save_part(plan, actor=org.curator)
    assert save(inputs={"instructions": "${limits.disk}"}).pk
    assert (
        "Not every plan has the limit “cpu”"
        in (refusal(save, inputs={"instructions": "${limits.cpu}"})["/inputs/instructions"])
    )
    assert save(inputs={"instructions": "${limits.cpu}"}, when="has(limits.cpu)").pk


def test_what_undoes_a_step_may_name_what_the_step_itself_gives(save, back_end):
    inputs = {"method": "POST", "path": "/${outputs.id}", "undo": {"method": "DELETE", "path": "/${outputs.id}"}}
    assert list(refusal(save, connector="http", back_end="tickets", inputs=inputs)) == ["/inputs/path"]
    assert save("http", back_end="tickets", inputs=inputs | {"path": "/"}).pk


def test_a_step_names_a_back_end_of_its_connector_that_is_in_use(save, back_end):
    inputs = {"method": "POST", "path": "/"}
    for named, part in [("", "needs a back end. Choose one of: tickets."), ("nope", "no back end “nope” for http")]:
        assert part in refusal(save, connector="http", back_end=named, inputs=inputs)["/back_end"]
    assert "none for awx yet" in refusal(save, connector="awx", back_end="tickets")["/back_end"]
    assert "leave this empty" in refusal(save, connector="manual", back_end="tickets")["/back_end"]
    BackEnd.objects.update(is_active=False)
    assert "not in use" in refusal(save, connector="http", back_end="tickets", inputs=inputs)["/back_end"]


@pytest.mark.parametrize(
    ("step", "pointer"),
    [
        ({"connector": "nope"}, "/connector"),
        ({"inputs": {"color": 1}}, "/inputs/color"),
        ({"inputs": ["x"]}, "/inputs"),
        ({"inputs": {"instructions": "x\0"}}, "/inputs/instructions"),
        ({"connector": "http", "inputs": {"secrets": "password"}}, "/inputs/secrets"),
        ({"connector": "http", "inputs": {"secrets": ["a", "a"]}}, "/inputs/secrets"),
        ({"connector": "http", "inputs": {"secrets": ["${parameters.owner}"]}}, "/inputs/secrets"),
        ({"connector": "http", "inputs": {"idempotency": "always"}}, "/inputs/idempotency"),
        ({"connector": "http", "inputs": {"idempotency": []}}, "/inputs/idempotency"),
    ],
)
def test_a_step_with_unknown_parts_is_refused(save, step, pointer):
    assert pointer in refusal(save, **step)


def test_a_workflow_that_no_longer_fits_the_form_cannot_be_published(org, draft, save):
    save(inputs={"instructions": "${parameters.owner}"})
    assert catalog.missing(draft) == []
    changed = FORM | {"properties": {"size": FORM["properties"]["size"]}, "required": []}
    catalog.save_draft(draft, parameters_schema=changed, actor=org.curator)
    with pytest.raises(Conflict, match="Step “Step”, inputs/instructions: “parameters” has nothing named “owner”"):
        catalog.publish(OfferingVersion.objects.get(pk=draft.pk), actor=org.curator2)


def test_a_workflow_whose_back_end_went_out_of_use_cannot_be_published(org, draft, save, back_end):
    save("http", back_end="tickets", inputs={"method": "POST", "path": "/"})
    BackEnd.objects.update(is_active=False)
    assert ["not in use" in sentence for sentence in catalog.missing(draft)] == [True]


def test_passwords_that_a_back_end_gives_may_not_overwrite_each_other(draft, save, back_end):
    save("redis_acl", position=1)
    inputs = {"method": "POST", "path": "/", "secret_outputs": {"password": "/password"}}
    save("http", position=2, back_end="tickets", inputs=inputs)
    assert catalog.missing(draft) == ["Steps that give passwords of different names."]


def test_what_a_step_says_is_frozen_in_the_published_document(org, draft, save, back_end):
    save(
        "http",
        back_end="tickets",
        inputs={"method": "POST", "path": "/${parameters.owner}"},
        when="parameters.size > 1",
        on_failure="wait",
    )
    document = catalog.publish(OfferingVersion.objects.get(pk=draft.pk), actor=org.curator2).promised
    entry = document["workflow"][0]
    assert (entry["back_end"], entry["when"], entry["on_failure"]) == ("tickets", "parameters.size > 1", "wait")
    assert set(roots_for(document, 0)) == {
        "order", "parameters", "limits", "requester", "cost_center", "instance", "outputs",
    }  # fmt: skip
    assert back_end_of(entry) == "tickets"
    assert back_end_of({"connector": "manual"}) == "manual"


def test_a_copied_draft_keeps_back_end_condition_and_what_follows_a_failure(org, draft, save, back_end):
    save("http", back_end="tickets", inputs={"method": "POST", "path": "/"}, when="true", on_failure="wait")
    catalog.publish(OfferingVersion.objects.get(pk=draft.pk), actor=org.curator2)
    copy = catalog.new_draft(draft.offering, actor=org.curator).workflow_steps.get()
    assert (copy.back_end, copy.when, copy.on_failure) == ("tickets", "true", "wait")


def test_what_the_engine_needs_to_know_follows_from_the_declaration():
    assert secret_names("postgresql", {}) == ["password"]
    assert secret_names("http", {"secrets": ["token", "key"]}) == ["token", "key"]
    assert idempotency_of("http", {}) == "key"
    assert idempotency_of("http", {"idempotency": "none"}) == "none"
    assert idempotency_of("redis_acl", {"idempotency": "none"}) == "lookup"
    assert idempotency_of("gone", {}) == "none"
    assert (queue_of("terraform"), queue_of("manual")) == ("long", "default")


def test_a_plan_saved_later_does_not_keep_a_step_from_being_saved(org, draft, save):
    draft.plans.all().delete()
    assert save(inputs={"instructions": "${limits.disk}"}).pk
    catalog.save_part(Plan(version=draft, slug="tiny", name="Tiny"), actor=org.curator)
    assert any("nothing named “disk”" in sentence for sentence in catalog.missing(draft))
