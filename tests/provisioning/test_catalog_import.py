"""Draft offerings out of the catalog of a broker: fetched by a real call, written through the catalog's services."""

import io

import pytest
from django.core.exceptions import PermissionDenied
from django.core.management import call_command
from django.core.management.base import CommandError

import catalog.services as catalog
import orders.services as orders
from catalog.models import BackEnd, Category, Offering, OfferingVersion
from core.problems import Conflict
from provisioning.services import import_catalog
from tests.far_side.broker import LARGE, PASSWORD, SERVICE, SMALL, USERNAME, RealBroker, Say, ScriptedBroker
from tests.provisioning.engine import drive, fresh, place


@pytest.fixture(autouse=True)
def _loopback(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]


@pytest.fixture
def broker():
    serving = ScriptedBroker()
    yield serving
    serving.close()


@pytest.fixture
def shelf(db):
    return Category.objects.create(slug="data", name="Data", icon="db", color="data")


def a_back_end(org, address, slug="shop"):
    return catalog.save_back_end(
        None,
        slug=slug,
        name="Shop broker",
        connector="osb",
        address=address,
        config={"username": USERNAME},
        credentials={"password": PASSWORD},
        limit=None,
        is_active=True,
        actor=org.curator,
    )


@pytest.fixture
def run_import(org, shelf, broker):
    """Import the broker's catalog as it is now."""
    row = a_back_end(org, broker.address)

    def run(actor=org.curator):
        return import_catalog(row, category=shelf, service_owner=org.service_owner, actor=actor)

    return run


def draft():
    return OfferingVersion.objects.get(offering__slug="shop-database", state="draft")


def publish(org):
    version = draft()
    catalog.save_draft(
        version, terms="Use it for work.", purposes=["test"], data_classes=["internal"], actor=org.curator
    )
    catalog.publish(version, actor=org.curator2)
    offering = Offering.objects.get(slug="shop-database")
    catalog.entitle(offering, org.units["marketing"], actor=org.curator)
    return fresh(offering)


def test_a_service_becomes_a_draft_that_nobody_can_order_yet(run_import, org):
    imported = run_import()
    assert (imported.created, imported.updated, imported.unchanged, imported.problems) == (
        ["shop-database"],
        [],
        [],
        [],
    )
    version = draft()
    offering = version.offering
    assert (offering.category.slug, offering.service_owner, offering.current_version) == (
        "data",
        org.service_owner,
        None,
    )
    assert (version.name, version.summary) == ("Shop database", "A database for shops.")
    assert version.parameters_schema["properties"]["storage"]["maximum"] == 50
    assert version.author_ids == [org.curator.pk]
    step = version.workflow_steps.get()
    assert (step.connector, step.back_end, step.name) == ("osb", "shop", "Setting up Shop database")
    assert step.inputs == {"service_id": SERVICE, "instances_retrievable": True}
    plans = {plan.slug: plan for plan in version.plans.all()}
    assert plans["small"].limits["plan_id"] == SMALL
    assert plans["large"].limits["bind"] is True
    prices = [(price.kind, str(price.amount.normalize()), price.unit) for price in plans["large"].prices.all()]
    assert prices == [("monthly", "99", ""), ("per_use", "0.99", "1GB of backups")]


def test_imported_again_nothing_is_written(run_import):
    run_import()
    before = fresh(draft())
    imported = run_import()
    assert (imported.created, imported.updated, imported.unchanged) == ([], [], ["shop-database"])
    assert vars(fresh(draft())).items() >= {"name": before.name, "number": 1}.items()
    assert OfferingVersion.objects.count() == 1


def test_only_what_changed_at_the_broker_is_written_again(run_import, broker, org):
    run_import()
    catalog.save_draft(draft(), name="Our shop database", terms="Be nice.", actor=org.curator)
    plan = draft().plans.get(slug="small")
    plan.name = "Tiny"
    catalog.save_part(plan, actor=org.curator)
    large = broker.catalog["services"][0]["plans"][1]
    large["metadata"]["costs"] = [{"amount": {"usd": 120}, "unit": "MONTHLY"}]
    imported = run_import()
    assert imported.updated == ["shop-database"]
    version = draft()
    assert (version.name, version.terms, version.plans.get(slug="small").name) == (
        "Our shop database",
        "Be nice.",
        "Tiny",
    )
    assert [str(price.amount.normalize()) for price in version.plans.get(slug="large").prices.all()] == ["1.2E+2"]


def test_a_published_version_stays_and_a_new_draft_takes_the_change(run_import, broker, org):
    run_import()
    offering = publish(org)
    assert run_import().unchanged == ["shop-database"]
    assert not offering.versions.filter(state="draft").exists()
    broker.catalog["services"][0]["description"] = "Now faster."
    assert run_import().updated == ["shop-database"]
    assert fresh(offering.current_version).summary == "A database for shops."
    version = draft()
    assert (version.number, version.summary, version.terms) == (2, "Now faster.", "Use it for work.")
    assert version.plans.count() == 2
    assert version.workflow_steps.count() == 1


def test_a_service_is_known_by_its_id_whatever_it_is_called(run_import, broker):
    run_import()
    broker.catalog["services"][0] |= {"name": "renamed", "metadata": {"displayName": "Renamed"}}
    assert run_import().updated == ["shop-database"]
    assert draft().name == "Renamed"


def test_a_plan_is_known_by_its_id_and_one_that_is_gone_goes(run_import, broker):
    run_import()
    plans = broker.catalog["services"][0]["plans"]
    plans[1] |= {"name": "huge", "maximum_polling_duration": 9000}
    del plans[0]
    plans.append({"id": "plan-new", "name": "large", "free": True})
    run_import()
    version = draft()
    found = {plan.limits["plan_id"]: (plan.slug, plan.name) for plan in version.plans.all()}
    assert found == {LARGE: ("large", "huge"), "plan-new": ("large-2", "large")}
    assert version.workflow_steps.get().timeout_seconds == 9600


def test_a_service_that_is_gone_is_named(run_import, broker, org):
    run_import()
    publish(org)
    broker.catalog["services"] = []
    imported = run_import()
    assert imported.problems == [
        "The broker lists no services.",
        "The broker no longer lists the service of shop-database; retire it or look into it.",
    ]


def test_a_slug_that_is_taken_gets_the_brokers_name(run_import, org, shelf):
    catalog.add_offering(
        slug="shop-database", name="Other", category=shelf, service_owner=org.service_owner, actor=org.curator
    )
    assert run_import().created == ["shop-database-shop"]


def test_what_cannot_be_taken_over_is_named_and_the_rest_is_drafted(run_import, broker):
    service = broker.catalog["services"][0]
    service["requires"] = ["route_forwarding"]
    for plan in service["plans"]:
        properties = plan["schemas"]["service_instance"]["create"]["parameters"]["properties"]
        properties["tags"] = {"type": "array", "items": {"type": "string"}}
        properties["\x1b[31m"] = {"type": "null"}
        properties["disk-size"] = {"type": "integer", "exclusiveMinimum": True}
    broker.catalog["services"].append({"id": "odd"})
    imported = run_import()
    told = " ".join(imported.problems)
    assert all(
        word in told for word in ("Shop database: ", "route_forwarding", "tags", "exclusiveMinimum", "Service 2")
    )
    assert told.isprintable()
    assert draft().workflow_steps.get().inputs["parameter_names"] == {"disk_size": "disk-size"}


def test_what_a_curator_added_to_the_step_stays(run_import, broker, org):
    run_import()
    step = draft().workflow_steps.get()
    step.inputs |= {"bind_parameters": {"role": "reader"}}
    catalog.save_part(step, actor=org.curator)
    broker.catalog["services"][0]["instances_retrievable"] = False
    run_import()
    assert draft().workflow_steps.get().inputs == {"service_id": SERVICE, "bind_parameters": {"role": "reader"}}


@pytest.mark.parametrize("person", ["business", "auditor", "service_owner"])
def test_only_curators_import_and_nothing_is_asked_for_others(run_import, broker, org, person):
    with pytest.raises(PermissionDenied):
        run_import(actor=org.people[person])
    assert broker.heard == []
    assert not Offering.objects.exists()


@pytest.mark.parametrize(
    ("said", "sentence"),
    [
        (Say(401), "refused the credentials"),
        (Say(412), "version 2.17"),
        (Say(500), "500"),
        (Say(200, b"<html>"), "cannot be read"),
        (Say(200, []), "cannot be read"),
        (Say(200, b"[" * 100_000), "cannot be read"),
        (Say(200, b'"' + b"x" * 2_000_000 + b'"'), "too_large"),
        (Say(how="drop"), "broke off"),
    ],
)
def test_a_catalog_that_cannot_be_had_is_a_sentence(run_import, broker, said, sentence):
    broker.script["catalog"] = [said]
    with pytest.raises(Conflict, match=sentence):
        run_import()
    assert not Offering.objects.exists()


def test_another_kind_of_back_end_is_no_broker(org, shelf):
    row = BackEnd(slug="rest", name="Rest", connector="http", address="http://127.0.0.1:1")
    with pytest.raises(Conflict, match="no service broker"):
        import_catalog(row, category=shelf, service_owner=org.service_owner, actor=org.curator)


@pytest.fixture
def delivered(org, shelf):
    """A service of a real, asynchronous broker that was imported, published and ordered; with the broker."""
    real = RealBroker(is_async=True)
    row = a_back_end(org, real.address, "real")
    imported = import_catalog(row, category=shelf, service_owner=org.service_owner, actor=org.curator)
    assert (imported.created, imported.problems) == (["shop-database"], [])
    order = place(publish(org), org.business)
    drive()
    assert (fresh(order).state, fresh(order.instance).state) == ("completed", "active")
    yield fresh(order.instance), real
    real.close()


def change(instance, person, action="modify", **wanted):
    """Order a change or the removal of a service."""
    wanted = orders.WantedChange(action=action, service_instance=str(instance.pk), **wanted)
    return orders.place_change(wanted, actor=person).order


def test_what_a_real_broker_offers_is_imported_published_ordered_and_delivered(delivered):
    instance, real = delivered
    assert real.database.instances[str(instance.pk)]["parameters"] == {"storage": 5}
    assert len(real.database.bindings) == 1


def test_its_plan_and_parameters_are_changed(delivered, org):
    instance, real = delivered
    order = change(instance, org.business, plan="shop-database/large", parameters={"storage": 9})
    drive()
    assert (fresh(order).state, fresh(instance).state, fresh(instance).plan.slug) == ("completed", "active", "large")
    there = real.database.instances[str(instance.pk)]
    assert (there["plan"], there["parameters"], there["previous"]["plan_id"]) == (LARGE, {"storage": 9}, SMALL)


def test_a_change_that_the_broker_refuses_leaves_everything_as_it_was(delivered, org):
    instance, real = delivered
    real.database.refuses_changes = True
    order = change(instance, org.business, plan="shop-database/large")
    drive()
    assert (fresh(order).state, fresh(instance).state, fresh(instance).plan.slug) == ("failed", "active", "small")
    assert list(real.database.instances) == [str(instance.pk)]
    assert len(real.database.bindings) == 1


@pytest.mark.parametrize("is_changed", [False, True])
def test_removed_nothing_is_left_at_the_broker(delivered, org, is_changed):
    instance, real = delivered
    if is_changed:
        change(instance, org.business, plan="shop-database/large")
        drive()
    order = change(fresh(instance), org.business, "delete")
    drive()
    assert (fresh(order).state, fresh(instance).state) == ("completed", "retired")
    assert (real.database.instances, real.database.bindings) == ({}, {})


# --- the command ------------------------------------------------------------------------------------


def say(*arguments):
    output = io.StringIO()
    call_command("import_broker", *arguments, stdout=output)
    return output.getvalue()


def test_the_command_says_what_came_of_each_service(org, shelf, broker):
    a_back_end(org, broker.address)
    assert say("shop", "--user", "curator", "--category", "data") == "Drafted: shop-database\n"
    broker.catalog["services"].append({})
    assert say("shop", "--user", "curator2").startswith("Unchanged: shop-database\nNote: Service 2")
    assert Offering.objects.get().service_owner == org.curator


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nobody", "--user", "curator"], "no back end"),
        (["shop", "--user", "nobody"], "no active person"),
        (["shop", "--user", "curator", "--category", "none"], "no category"),
        (["shop", "--user", "curator", "--owner", "nobody"], "no active person"),
        (["shop", "--user", "business"], "may not|permission|allowed|role"),
    ],
)
def test_the_command_refuses_with_a_sentence(org, shelf, broker, arguments, sentence):
    a_back_end(org, broker.address)
    with pytest.raises(CommandError, match=sentence):
        say(*arguments)
    assert not Offering.objects.exists()


def test_the_command_says_where_nothing_could_be_taken_over(org, shelf, broker):
    a_back_end(org, broker.address)
    broker.catalog["services"] = []
    with pytest.raises(CommandError, match="no service"):
        say("shop", "--user", "curator")
