"""An offering comes to be, in the admin alone; what is wrong stands at its field; what is published is frozen."""

import json

import pytest
from django.db import DatabaseError, connection, transaction
from django.urls import reverse

import catalog.services as catalog
import orders.services as orders
from catalog.models import Category, Offering, OfferingVersion, Plan, Price, WorkflowStep
from core.models import Event
from orders.models import Order
from tests.admin.admin_pages import add_row, errors_of, said, sent_by, submit
from tests.factories import FORM, TERMS, published_offering


def page(row, name="change"):
    return reverse(f"admin:catalog_{row._meta.model_name}_{name}", args=[row.pk])


@pytest.fixture
def shelf(org):
    return catalog.save_category(
        None, slug="tools", name="Tools", icon="db", color="data", position=0, actor=org.curator
    )


@pytest.fixture
def draft(org, shelf):
    offering = catalog.add_offering(
        slug="queue", name="Queue", category=shelf, service_owner=org.service_owner, actor=org.curator
    )
    return offering.versions.get()


def written_draft(client, version):
    """Fill in the whole form of a draft, with two plans and one step, and save it."""
    url = page(version)
    sent = sent_by(client.get(url)) | {
        "summary": "A queue that is ready to use.",
        "description": "**Ready** to use.",
        "parameters_schema": json.dumps(FORM),
        "terms": TERMS,
        "purposes": ["test", "production"],
        "data_classes": ["internal"],
        "promised_delivery_seconds": "60",
    }
    sent = add_row(sent, "plans", name="Small", slug="small", monthly="38", currency="usd", per_use="0.02 GiB\n")
    sent = add_row(sent, "plans", name="Large", slug="large", monthly="76", one_off="10", position="1")
    sent = add_row(sent, "workflow_steps", name="Making it", connector="manual", inputs='{"instructions": "Do it."}')
    return client.post(url, sent, follow=True)


def test_a_curator_drafts_another_publishes_and_a_business_user_orders(org, shelf, staff):
    author, other = staff("curator"), staff("curator2")
    answer = submit(
        author,
        reverse("admin:catalog_offering_add"),
        title="Queue",
        slug="queue",
        category=shelf.pk,
        service_owner=org.service_owner.pk,
    )
    version = OfferingVersion.objects.get(offering__slug="queue")
    assert answer.redirect_chain[-1][0] == page(version)

    answer = written_draft(author, version)
    assert "Nothing is missing" in said(answer)
    submit(author, page(version.offering), units=[org.units["marketing"].pk])

    assert "You wrote nothing of it" in other.get(page(version, "publish")).content.decode()
    answer = other.post(page(version, "publish"), follow=True)
    assert "is published" in said(answer)
    version.refresh_from_db()
    assert (version.state, version.published_by) == ("published", org.curator2)
    prices = Price.objects.filter(plan__version=version).order_by("plan__position", "kind")
    assert [
        (price.plan.slug, price.kind, str(price.amount.normalize()), price.currency, price.unit) for price in prices
    ] == [
        ("small", "monthly", "38", "USD", ""),
        ("small", "per_use", "0.02", "USD", "GiB"),
        ("large", "monthly", "76", "USD", ""),
        ("large", "one_off", "1E+1", "USD", ""),
    ]

    placed = orders.place(
        orders.Wanted(
            plan="queue/small",
            name="my-queue",
            cost_center="4100",
            parameters={"storage": 20},
            terms_hash=version.terms_hash,
            purpose="test",
            data_classification="internal",
        ),
        actor=org.business,
    )
    order = Order.objects.get(pk=placed.order.pk)
    assert (order.state, str(order.monthly)) == ("fulfilling", "48.0000")


def test_the_fields_of_a_form_stay_in_the_order_in_which_they_were_written(draft, staff):
    written_draft(staff("curator"), draft)
    draft.refresh_from_db()
    assert list(draft.parameters_schema["properties"]) == ["storage", "backup"]
    sent = sent_by(staff("curator").get(page(draft)))
    assert list(json.loads(sent["parameters_schema"][0])["properties"]) == ["storage", "backup"]


@pytest.mark.parametrize("name", ["curator", "admin"])
def test_who_wrote_in_a_draft_cannot_publish_it(org, draft, staff, name):
    written_draft(staff("curator"), draft)
    submit(staff("admin"), page(draft), summary="A queue, ready to use.")
    client = staff(name)
    assert "another IT admin has to publish it" in client.get(page(draft, "publish")).content.decode()
    answer = client.post(page(draft, "publish"), follow=True)
    assert answer.status_code == 200
    assert "another IT admin has to publish it" in said(answer)
    draft.refresh_from_db()
    assert draft.state == "draft"
    with pytest.raises(DatabaseError, match="who wrote a version cannot publish it"), transaction.atomic():
        OfferingVersion.objects.filter(pk=draft.pk).update(published_by=org.people[name])


def test_what_is_missing_is_listed_and_keeps_a_draft_from_being_published(draft, staff):
    client = staff("curator2")
    shown = client.get(page(draft, "publish")).content.decode()
    assert "At least one plan." in shown
    assert 'value="Publish"' not in shown
    assert "Not ready to publish" in said(client.post(page(draft, "publish"), follow=True))


def test_who_looks_and_saves_nothing_new_is_no_author(org, draft, staff):
    written_draft(staff("curator"), draft)
    submit(staff("curator2"), page(draft))
    draft.refresh_from_db()
    assert draft.author_ids == [org.curator.pk]


FORMS_THAT_CANNOT_BE_SHOWN = [
    (
        json.dumps({"type": "object", "properties": {"x": {"type": "string", "title": "X", "pattern": "(?=a)"}}}),
        "/properties/x/pattern",
    ),
    ('{"type": "object", "properties": {"x": {"$ref": "http://example.com/x"}}}', "/properties/x/$ref"),
    ('{"type": "object",\n "properties": }', "line 2, column 16"),
    ('{"type": "object", "properties": {}, "properties": {}}', "stands twice"),
    ('{"minimum": NaN}', "NaN is not a number"),
    ('{"minimum": 1e999}', "too large"),
    ('{"title": "\\u0000"}', "cannot be stored"),
    ('{"title": "\\ud800"}', "cannot be stored"),
    ("[" * 10_000, "nested too deeply"),
    ("9" * 5000, "too many digits"),
    ('"' + "x" * 80_000 + '"', "more than 70000 characters"),
    ("[]", "must be a JSON object"),
]


def test_a_form_that_cannot_be_shown_is_refused_with_its_place_and_kept_as_typed(draft, staff):
    for typed, words in FORMS_THAT_CANNOT_BE_SHOWN:
        answer = submit(staff("curator"), page(draft), parameters_schema=typed, summary="Kept.")
        assert answer.status_code == 200
        assert words in errors_of(answer)["parameters_schema"]
        sent = sent_by(answer)
        assert sent["parameters_schema"][0].replace("\r\n", "\n") == typed
        assert sent["summary"] == ["Kept."]
        draft.refresh_from_db()
        assert draft.summary == ""


WRONG_PLANS = [
    ({"monthly": "1.234"}, "monthly", "2"),
    ({"monthly": "-1"}, "monthly", "greater than or equal to 0"),
    ({"monthly": "NaN"}, "monthly", "Enter a number"),
    ({"currency": "XXY"}, "currency", "not a currency"),
    ({"per_use": "GiB"}, "per_use", "Line 1"),
    ({"per_use": "0.1 GiB\n0.2 GiB"}, "per_use", "Line 2"),
    ({"limits": "[1]"}, "limits", "must be a JSON object"),
    ({"limits": '{"a": "\\ud800"}'}, "limits", "cannot be stored"),
    ({"slug": "Sm all"}, "slug", "lower-case"),
]


def test_what_is_wrong_with_a_plan_stands_at_its_field(draft, staff):
    for fields, at, words in WRONG_PLANS:
        client = staff("curator")
        plan = {"name": "Small", "slug": "small", "monthly": "38", "currency": "USD"} | fields
        sent = add_row(sent_by(client.get(page(draft))), "plans", **plan)
        answer = client.post(page(draft), sent | {"summary": "Not saved."}, follow=True)
        formset = answer.context["inline_admin_formsets"][0].formset
        assert words in " ".join(formset.forms[0].errors[at])
        assert not Plan.objects.filter(version=draft).exists()
        assert sent_by(answer)[f"plans-0-{at}"][0] == str(plan[at])
        draft.refresh_from_db()
        assert draft.summary == ""


def test_all_that_services_refuse_is_said_at_once(draft, staff):
    client = staff("curator")
    sent = sent_by(client.get(page(draft))) | {"parameters_schema": "[]"}
    sent = add_row(sent, "plans", name="Small", slug="small", monthly="1.234", currency="USD")
    sent = add_row(sent, "workflow_steps", name="Making it", connector="manual", inputs='{"speed": 1}')
    answer = client.post(page(draft), sent, follow=True)
    plans, steps = (inline.formset.forms[0].errors for inline in answer.context["inline_admin_formsets"])
    assert (list(errors_of(answer)), list(plans), list(steps)) == (["parameters_schema"], ["monthly"], ["inputs"])


WRONG_STEPS = [
    ({"connector": "teleport"}, "connector", "valid choice"),
    ({"inputs": '{"speed": 1}'}, "inputs", "takes no input"),
    ({"inputs": "3"}, "inputs", "must be a JSON object"),
    ({"max_attempts": "0"}, "max_attempts", "greater than or equal to 1"),
]


def test_what_is_wrong_with_a_step_stands_at_its_field(draft, staff):
    for fields, at, words in WRONG_STEPS:
        client = staff("curator")
        step = {"name": "Making it", "connector": "manual"} | fields
        sent = add_row(sent_by(client.get(page(draft))), "workflow_steps", **step)
        answer = client.post(page(draft), sent, follow=True)
        assert words in " ".join(answer.context["inline_admin_formsets"][1].formset.forms[0].errors[at])
        assert not WorkflowStep.objects.filter(version=draft).exists()


def test_prices_of_a_plan_change_and_go(draft, staff):
    client = staff("curator")
    written_draft(client, draft)
    submit(client, page(draft), **{"plans-0-monthly": "40", "plans-0-per_use": "", "plans-1-DELETE": "on"})
    assert [str(price) for price in Price.objects.filter(plan__version=draft)] == ["40 USD a month"]
    assert [plan.slug for plan in draft.plans.all()] == ["small"]


def test_a_published_version_is_only_shown_and_the_database_holds_it(org, offering, staff):
    version = offering.current_version
    client = staff("curator")
    shown = client.get(page(version))
    assert sent_by(shown).get("name") is None
    assert "Make a new draft" in shown.content.decode()
    assert client.post(page(version), {"name": "Another"}).status_code == 403
    plan = version.plans.first()
    for row, change in [
        (version, {"name": "Another"}),
        (plan, {"name": "Another"}),
        (plan.prices.get(), {"amount": 1}),
        (version.workflow_steps.get(), {"name": "Another"}),
    ]:
        with pytest.raises(DatabaseError, match="frozen"), transaction.atomic():
            type(row).objects.filter(pk=row.pk).update(**change)
        with pytest.raises(DatabaseError, match="frozen"), transaction.atomic(), connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {row._meta.db_table} WHERE id = %s", [row.pk])  # noqa: S608 (our own table)


def test_the_next_draft_begins_as_a_copy(offering, staff):
    answer = staff("curator").post(page(offering, "new_draft"), follow=True)
    draft = offering.versions.get(state="draft")
    assert answer.redirect_chain[-1][0] == page(draft)
    assert draft.parameters_schema == offering.current_version.parameters_schema
    assert "open draft already" in said(staff("curator2").post(page(offering, "new_draft"), follow=True))


def test_an_offering_is_paused_with_a_reason_resumed_and_retired(org, offering, staff):
    client = staff("service_owner")
    answer = client.post(page(offering, "pause"), {"reason": "  "}, follow=True)
    assert "This field is required" in answer.content.decode()
    client.post(page(offering, "pause"), {"reason": "The servers move on Friday."})
    assert "Paused" in client.get(reverse("admin:catalog_offering_changelist") + "?state=paused").content.decode()
    assert not Offering.objects.orderable_by(org.business).exists()
    client.post(page(offering, "resume"))
    assert Offering.objects.orderable_by(org.business).exists()
    client.post(page(offering, "retire"))
    offering.refresh_from_db()
    assert offering.retired_at
    assert "not possible here now" in said(client.get(page(offering, "pause"), follow=True))


def test_a_plan_ends(offering, staff):
    version = offering.current_version
    small = version.plans.get(slug="small")
    staff("curator").post(page(version, "retire_plan"), {"plan": small.pk})
    small.refresh_from_db()
    assert small.retired_at


def test_entitlements_follow_the_boxes(org, offering, staff):
    client = staff("curator")
    shown = client.get(page(offering))
    assert sent_by(shown)["units"] == [str(org.units["marketing"].pk)]
    submit(client, page(offering), units=[org.units["research"].pk])
    assert not Offering.objects.orderable_by(org.business).exists()
    assert Offering.objects.orderable_by(org.business2).exists()
    names = list(Event.objects.filter(subject_id=offering.pk).order_by("-id").values_list("name", flat=True)[:2])
    assert sorted(names) == ["offering.disentitled", "offering.entitled"]


def test_a_picture_is_judged_by_what_it_is(offering, staff, tmp_path):
    client = staff("curator")
    (tmp_path / "x.png").write_bytes(b"GIF89a this is no picture")
    with (tmp_path / "x.png").open("rb") as file:
        answer = submit(client, page(offering), picture_file=file)
    assert "PNG, JPEG or WebP" in errors_of(answer)["picture_file"]


def test_the_preview_shows_the_form_as_a_business_user_sees_it(draft, staff):
    written_draft(staff("curator"), draft)
    shown = staff("curator2").get(page(draft, "preview")).content.decode()
    assert "Keep backups for 35 days" in shown
    assert "$38.00" in shown
    assert "<strong>Ready</strong>" in shown


def test_history_tells_who_did_what(offering, staff):
    told = staff("auditor").get(page(offering, "history")).content.decode()
    assert "offeringversion.published" in told
    assert "Eva Novak" in told


@pytest.mark.parametrize("name", ["auditor", "reviewer_security", "service_owner"])
def test_who_may_only_look_gets_no_form(org, offering, draft, staff, name):
    client = staff(name)
    for row in (offering, draft, offering.category):
        shown = client.get(page(row))
        assert shown.status_code == 200
        assert set(sent_by(shown)) <= {"csrfmiddlewaretoken", *[key for key in sent_by(shown) if "_FORMS" in key]}
        assert client.post(page(row), {"name": "Mine"}).status_code == 403
    assert client.get(reverse("admin:catalog_offering_add")).status_code == 403
    assert client.post(page(draft, "publish")).status_code == 403
    assert client.post(page(offering, "new_draft")).status_code == 403


def test_a_shelf_is_kept_by_its_service(org, shelf, staff):
    submit(staff("curator"), page(shelf), name="Useful tools")
    shelf.refresh_from_db()
    assert shelf.name == "Useful tools"
    assert "category.changed" in staff("curator").get(page(shelf, "history")).content.decode()
    answer = submit(
        staff("curator"), reverse("admin:catalog_category_add"), name="More", slug="tools", icon="db", color="data"
    )
    assert "already exists" in errors_of(answer)["slug"]
    assert Category.objects.count() == 1


def test_an_offering_with_a_used_or_bad_slug_is_refused(org, offering, staff):
    for slug in ("database", "No", "x" * 60):
        answer = submit(
            staff("curator"),
            reverse("admin:catalog_offering_add"),
            title="Another",
            slug=slug,
            category=offering.category_id,
            service_owner=org.service_owner.pk,
        )
        assert errors_of(answer)["slug"]
    assert Offering.objects.count() == 1


def test_the_list_names_each_state(org, offering, draft, staff):
    published_offering(org, "cache")
    catalog.new_draft(offering, actor=org.curator)
    client = staff("curator")
    shown = client.get(reverse("admin:catalog_offering_changelist"))
    assert "Draft open" in shown.content.decode()
    for state, found in [("draft", 1), ("published", 2), ("draft_open", 2), ("retired", 0), ("nonsense", 3)]:
        listed = client.get(reverse("admin:catalog_offering_changelist"), {"state": state})
        assert listed.context["cl"].result_count == found, state
