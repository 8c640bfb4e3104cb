"""Catalogs of service brokers read into plain values: well-behaved ones, odd ones, hostile ones. No database."""

import copy
import json

import pytest

from core import parameters
from provisioning.services import broker_catalog
from provisioning.services.broker_forms import form_for
from tests.far_side.broker import LARGE, SERVICE, SMALL, catalog_body


def read_one(**changes):
    """The service of the far side's catalog, with `changes`."""
    body = catalog_body()
    body["services"][0] |= changes
    (service,), problems = broker_catalog.read(body)
    assert problems == []
    return service


def plans(**changes):
    """The plans of the far side's catalog, the second with `changes`."""
    given = catalog_body()["services"][0]["plans"]
    given[1] |= changes
    return given


def test_a_service_is_read_with_its_texts_plans_and_prices():
    service = read_one()
    assert (service.id, service.slug, service.name) == (SERVICE, "shop-database", "Shop database")
    assert (service.summary, service.description) == ("A database for shops.", "MySQL, backed up every night.")
    assert service.inputs == {"service_id": SERVICE, "instances_retrievable": True}
    small, large = service.plans
    assert small.limits == {"plan_id": SMALL, "bind": True, "plan_updateable": True}
    assert large.limits == {
        "plan_id": LARGE,
        "bind": True,
        "plan_updateable": True,
        "maximum_polling_duration": 120,
        "maintenance_info": {"version": "2.1.1"},
    }
    assert [(price.kind, price.amount, price.unit) for price in small.prices] == [("monthly", "0", "")]
    assert [(price.kind, price.amount, price.unit) for price in large.prices] == [
        ("monthly", "99.00", ""),
        ("per_use", "0.99", "1GB of backups"),
    ]
    assert service.problems == []


def test_a_plan_goes_before_its_service_where_both_say_something():
    service = read_one(plans=plans(bindable=False, plan_updateable=False))
    assert [plan.limits["bind"] for plan in service.plans] == [True, False]
    assert [plan.limits["plan_updateable"] for plan in service.plans] == [True, False]


def test_a_step_may_take_as_long_as_its_slowest_plan_and_some_more():
    assert read_one().timeout_seconds == 3600
    assert read_one(plans=plans(maximum_polling_duration=7200)).timeout_seconds == 7800


def costs(*given):
    return {"metadata": {"costs": list(given)}}


@pytest.mark.parametrize(
    ("changes", "found", "problem"),
    [
        (costs({"amount": {"eur": 5}, "unit": "MONTHLY"}), [("monthly", "5.00", "EUR", "")], ""),
        (costs({"amount": {"eur": 5, "usd": 6}, "unit": "MONTHLY"}), [("monthly", "6.00", "USD", "")], "EUR"),
        (costs({"amount": {"usd": 0.1}, "unit": "HOURLY"}), [("per_use", "0.1", "USD", "hour")], ""),
        (costs({"amount": {"usd": 10}, "unit": "Setup"}), [("one_off", "10.00", "USD", "")], ""),
        (costs({"amount": {"usd": 1.005}, "unit": "MONTHLY"}), [], "1.005"),
        (costs({"amount": {"usd": -1}, "unit": "MONTHLY"}), [], "-1"),
        (costs({"amount": {"usd": True}, "unit": "MONTHLY"}), [], "True"),
        (costs({"amount": {"usd": "9"}, "unit": "MONTHLY"}), [], "9"),
        (costs({"amount": {"usd": 1e300}, "unit": "MONTHLY"}), [], "1e+300"),
        (costs({"amount": {"usd": 1e300}, "unit": "GB"}), [], "1e+300"),
        (costs({"amount": {"usd": 1}}), [], "none"),
        (costs({"amount": {"xyz": 1}, "unit": "MONTHLY"}), [], "names no price"),
        (costs({"amount": [1], "unit": "MONTHLY"}, "free", None), [], "names no price"),
        ({"metadata": {"costs": "much"}}, [], "names no price"),
        ({"metadata": None, "free": None}, [], "names no price"),
    ],
)
def test_prices_are_read_and_what_is_no_price_is_named(changes, found, problem):
    service = read_one(plans=plans(**changes)[1:])
    prices = [(price.kind, price.amount, price.currency, price.unit) for price in service.plans[0].prices]
    assert prices == found
    assert problem in " ".join(service.problems)
    assert bool(service.problems) == bool(problem)


def test_free_is_what_says_nothing_else():
    given = plans()[1:]
    del given[0]["free"], given[0]["metadata"]
    assert [price.amount for price in read_one(plans=given).plans[0].prices] == ["0"]


def test_one_unit_has_one_price():
    twice = costs({"amount": {"usd": 1}, "unit": "GB"}, {"amount": {"usd": 2}, "unit": "GB"})
    service = read_one(plans=plans(**twice)[1:])
    assert [price.amount for price in service.plans[0].prices] == ["1"]
    assert len(service.problems) == 1


def test_what_only_the_brokers_own_platform_has_is_named():
    assert "syslog_drain" in " ".join(read_one(requires=["syslog_drain"]).problems)


def test_ids_are_sent_as_they_are_and_never_as_templates():
    service = read_one(id="${requester.email}")
    assert service.inputs["service_id"] == "$${requester.email}"


@pytest.mark.parametrize(
    ("name", "slug"),
    [
        ("p.mysql", "p-mysql"),
        ("9lives", "s-9lives"),
        ("ä", "s-service"),
        ("db", "db-service"),
        ("-", "s-service"),
        ("x" * 80, "x" * 50),
    ],
)
def test_a_slug_is_made_of_any_name(name, slug):
    assert broker_catalog.slug_of(name, longest=50) == slug


def test_plans_of_one_name_get_slugs_of_their_own():
    given = [plan | {"name": "Same!"} for plan in plans()]
    assert [plan.slug for plan in read_one(plans=given).plans] == ["same", "same-2"]


@pytest.mark.parametrize(
    "body",
    [
        None,
        [],
        "catalog",
        {},
        {"services": {}},
        {"services": [None, 7, "x", [], {}]},
        {"services": [{"id": "a", "name": "b", "plans": []}]},
        {"services": [{"id": "a", "name": "b", "plans": [None, {"id": 7, "name": "x"}, {"id": "x"}]}]},
        {"services": [{"id": "a\0", "name": "b", "plans": [{"id": "p", "name": "p"}]}]},
        {"services": [{"id": "x" * 201, "name": "b", "plans": [{"id": "p", "name": "p"}]}]},
        {"services": [{"id": "a", "name": "\n", "plans": [{"id": "p", "name": "p"}]}]},
    ],
)
def test_what_is_no_service_is_named_and_left_out(body):
    services, problems = broker_catalog.read(body)
    assert services == []
    assert problems
    assert all(sentence.endswith(".") for sentence in problems)


def test_a_catalog_that_is_too_deep_is_named():
    body = catalog_body()
    deep: dict = {}
    body["services"][0]["metadata"]["more"] = deep
    for _ in range(900):
        deep["more"] = deep = {}
    assert broker_catalog.read(body) == ([], ["The broker's catalog is too large or nested too deeply."])


def test_one_id_is_one_service():
    body = catalog_body()
    body["services"].append(copy.deepcopy(body["services"][0]))
    services, problems = broker_catalog.read(body)
    assert (len(services), len(problems)) == (1, 1)


def test_every_field_may_hold_anything():
    hostile = [None, True, 7, -1.5, "", "x" * 5000, "a\0b", [], [[]], {}, {"a": {"b": []}}, "${x}"]
    for path in paths(catalog_body()):
        for value in hostile:
            body = catalog_body()
            put(body, path, value)
            services, problems = broker_catalog.read(body)
            for service in services:
                assert parameters.check_schema(service.form.schema) == []
                assert "\0" not in json.dumps([vars(plan) for plan in service.plans], default=vars)
            assert services or problems


def paths(value, above=()):
    """Every place in a JSON value."""
    yield above
    children = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in children:
        yield from paths(inner, (*above, key))


def put(value, path, new):
    if not path:
        value.clear()
        return
    for key in path[:-1]:
        value = value[key]
    value[path[-1]] = new


# --- forms ------------------------------------------------------------------------------------------


def a_schema(*required, **properties):
    return {
        "$schema": "http://json-schema.org/draft-04/schema#",
        "type": "object",
        "properties": properties,
        "required": list(required),
    }


def form_of(*required, **properties):
    return form_for({"small": a_schema(*required, **properties)})


@pytest.mark.parametrize(
    ("given", "field", "problem"),
    [
        ({"type": "string"}, {"type": "string", "title": "Billing account"}, ""),
        (
            {"type": "integer", "title": " Disk  size ", "default": 5},
            {"type": "integer", "title": "Disk size", "default": 5},
            "",
        ),
        (
            {"enum": ["a", "b"], "type": "string", "default": "b"},
            {
                "type": "string",
                "title": "Billing account",
                "default": "b",
                "oneOf": [{"const": "a", "title": "a"}, {"const": "b", "title": "b"}],
            },
            "",
        ),
        ({"type": ["boolean", "null"], "default": None}, {"type": "boolean", "title": "Billing account"}, ""),
        ({"type": "string", "format": "hostname"}, {"type": "string", "title": "Billing account"}, "format"),
        (
            {"type": "integer", "minimum": 1, "exclusiveMinimum": True, "x-unknown": 7},
            {"type": "integer", "title": "Billing account", "minimum": 1},
            "exclusiveMinimum, x-unknown",
        ),
        ({"type": "string", "pattern": "(?=look)ahead"}, {"type": "string", "title": "Billing account"}, "pattern"),
        ({"type": "string", "default": 7}, {"type": "string", "title": "Billing account"}, "default"),
        ({"type": "string", "description": "x" * 3000}, {"type": "string", "title": "Billing account"}, "description"),
        (
            {"type": "array", "items": {"type": "string", "enum": ["a", "b"]}},
            {"type": "array", "title": "Billing account", "items": {"type": "string", "enum": ["a", "b"]}},
            "",
        ),
    ],
)
def test_a_parameter_becomes_a_field(given, field, problem):
    form = form_of(billing_account=given)
    assert form.schema["properties"] == {"billing_account": field}
    assert problem in " ".join(form.problems)
    assert bool(form.problems) == bool(problem)


@pytest.mark.parametrize(
    "given",
    [
        {},
        {"$ref": "#/definitions/x"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "null"},
        {"anyOf": [{"type": "string"}, {"type": "integer"}]},
        {"type": ["string", "integer"]},
        {"enum": ["a", 1]},
        {"enum": []},
        {"type": "object"},
    ],
)
def test_what_a_form_cannot_ask_for_is_named(given):
    form = form_of("size", size=given)
    assert form.schema == {"type": "object", "properties": {}}
    assert "Parameter size is nothing that a form can ask for. It is required" in form.problems[-1]


@pytest.mark.parametrize(
    ("name", "at"),
    [("billing-account", "billing_account"), ("diskSizeGB", "disk_size_gb"), ("9", "p_9"), ("x" * 60, "x" * 40)],
)
def test_names_that_forms_do_not_take_are_translated(name, at):
    form = form_of(name, **{name: {"type": "string"}})
    assert list(form.schema["properties"]) == [at]
    assert (form.names, form.schema["required"]) == ({at: name}, [at])


def test_two_names_never_become_one():
    form = form_of(**{"a-b": {"type": "string"}, "a_b": {"type": "string"}, "a.b": {"type": "string"}})
    assert len(form.schema["properties"]) == 3
    assert sorted([*form.names.values(), *(set(form.schema["properties"]) - set(form.names))]) == ["a-b", "a.b", "a_b"]


def test_groups_keep_what_fits():
    group = {
        "type": "object",
        "required": ["days", "odd"],
        "properties": {
            "days": {"type": "integer"},
            "odd": {"type": "null"},
            "at": {"type": "string", "format": "time"},
        },
    }
    form = form_of(backup=group)
    fields = form.schema["properties"]["backup"]
    assert sorted(fields["properties"]) == ["at", "days"]
    assert fields["required"] == ["days"]
    assert "odd" in form.problems[0]
    assert "at.format" in form.problems[0]


def test_the_form_asks_what_all_plans_take_in_the_same_way():
    size, other = {"type": "integer", "maximum": 5}, {"type": "integer", "maximum": 50}
    form = form_for(
        {"small": a_schema(size=size, name={"type": "string"}), "large": a_schema(size=other, name={"type": "string"})}
    )
    assert list(form.schema["properties"]) == ["name"]
    assert "size" in " ".join(form.problems)


def test_a_plan_that_says_nothing_is_named():
    form = form_for({"small": a_schema(size={"type": "integer"}), "large": None})
    assert list(form.schema["properties"]) == ["size"]
    assert "large" in form.problems[0]


def test_too_many_parameters_leave_the_form_empty_with_a_word():
    form = form_of(**{f"p{number}": {"type": "string"} for number in range(70)})
    assert form.schema["properties"] == {}
    assert "left empty" in form.problems[-1]


@pytest.mark.parametrize("schema", [7, [], "x", {"properties": []}, {"properties": 7}])
def test_what_is_no_schema_is_named(schema):
    assert "no JSON Schema" in form_for({"small": schema}).problems[0]


def test_rules_over_several_parameters_are_named():
    form = form_for({"small": a_schema(size={"type": "integer"}) | {"dependencies": {}, "allOf": []}})
    assert "allOf, dependencies" in form.problems[0]
