import json
import time

import jsonschema_rs
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import parameters
from tests.core.order_forms import FORM, GOOD, JSON, form, use


def errors(schema=FORM, **values):
    return parameters.clean(schema, values)[1]


def test_defaults_fill_what_is_absent_and_nothing_else():
    assert parameters.defaults(FORM) == {"size": "s", "storage": 20, "backup": False}
    assert parameters.fill(FORM, {"storage": 30, "network": {"zone": "in"}}) == {
        "size": "s",
        "storage": 30,
        "backup": False,
        "network": {"zone": "in", "public": False},
    }


def test_a_group_is_added_where_it_is_required_or_its_defaults_complete_it():
    group = {
        "type": "object",
        "title": "G",
        "properties": {"a": {"type": "integer", "title": "A", "default": 1}},
    }
    assert parameters.defaults(form(g=group)) == {"g": {"a": 1}}
    assert parameters.defaults(form(g={**group, "required": ["a"]})) == {"g": {"a": 1}}
    group["properties"]["b"] = {"type": "string", "title": "B"}
    wanting = form(g={**group, "required": ["b"]})
    assert parameters.defaults(wanting) == {}
    assert parameters.clean({**wanting, "required": ["g"]}, {})[1] == {"/g/b": "Enter B"}


def test_filling_leaves_the_form_and_what_was_given_alone():
    schema = form(a={"type": "array", "title": "A", "items": {"enum": ["x"]}, "default": ["x"]})
    given_values = {}
    parameters.fill(schema, given_values)["a"].append("y")
    assert given_values == {}
    assert schema["properties"]["a"]["default"] == ["x"]


def test_good_values_pass():
    values, wrong = parameters.clean(
        FORM,
        {
            "name": "abc",
            "ratio": 0.3,
            "ends": "2026-11-24",
            "contact": "li.wei@example.com",
            "site": "HTTPS://example.com/",
            "labels": [2, 1],
            "network": {"zone": "dmz"},
        },
    )
    assert wrong == {}
    assert values["network"] == {"zone": "dmz", "public": False}


@pytest.mark.parametrize(
    ("values", "pointer", "sentence"),
    [
        ({"name": None}, "/name", "Name must be text"),
        ({"name": "   "}, "/name", "Enter name"),
        ({"name": ""}, "/name", "Enter name"),
        ({"name": "Abc"}, "/name", "Name must be lower-case letters, digits or hyphens"),
        ({"name": "abc\n"}, "/name", "Name must be lower-case letters, digits or hyphens"),
        ({"name": "ab"}, "/name", "Name must be 3 characters or more"),
        ({"name": "a" * 31}, "/name", "Name must be 30 characters or fewer"),
        ({"name": "a\0b"}, "/name", "Name contains a character that cannot be stored"),
        ({"name": "a\ud800"}, "/name", "Name contains a character that cannot be stored"),
        ({"storage": 510}, "/storage", "Storage must be 500 or less"),
        ({"storage": 0}, "/storage", "Storage must be 10 or more"),
        ({"storage": 15}, "/storage", "Storage must be a multiple of 10"),
        ({"storage": 20.5}, "/storage", "Storage must be a whole number"),
        ({"storage": "20"}, "/storage", "Storage must be a whole number"),
        ({"storage": ""}, "/storage", "Enter storage"),
        ({"storage": True}, "/storage", "Storage must be a whole number"),
        ({"storage": None}, "/storage", "Storage must be a whole number"),
        ({"storage": 10**15 + 1}, "/storage", "Storage must be a number of at most 15 digits"),
        ({"storage": 10**5000}, "/storage", "Storage must be a number of at most 15 digits"),
        ({"storage": float("nan")}, "/storage", "Storage must be a number of at most 15 digits"),
        ({"ratio": float("-inf")}, "/ratio", "Ratio must be a number of at most 15 digits"),
        ({"ratio": 0.35}, "/ratio", "Ratio must be a multiple of 0.1"),
        ({"ratio": "x"}, "/ratio", "Ratio must be a number"),
        ({"size": "m"}, "/size", "Choose one of Small or Large"),
        ({"size": None}, "/size", "Choose one of Small or Large"),
        ({"size": ""}, "/size", "Choose one of Small or Large"),
        ({"backup": "on"}, "/backup", "Backups must be true or false"),
        ({"backup": 1}, "/backup", "Backups must be true or false"),
        ({"ends": "2026-02-30"}, "/ends", "End date must be a real date, such as 2026-11-24"),
        ({"ends": "2026-11-24\n"}, "/ends", "End date must be a real date, such as 2026-11-24"),
        ({"ends": "24.11.2026"}, "/ends", "End date must be a real date, such as 2026-11-24"),
        ({"contact": "li.wei"}, "/contact", "Contact must be an email address, such as name@example.com"),
        (
            {"contact": "a@b.example\nbcc: c@d.example"},
            "/contact",
            "Contact must be an email address, such as name@example.com",
        ),
        (
            {"site": "javascript:alert(1)"},
            "/site",
            "Web site must be a web address that starts with https:// or http://",
        ),
        (
            {"site": "https://"},
            "/site",
            "Web site must be a web address that starts with https:// or http://",
        ),
        ({"labels": "1"}, "/labels", "Labels must be a list"),
        ({"labels": [1, 1]}, "/labels", "Labels: choose each one only once"),
        ({"labels": [1, 3]}, "/labels/1", "Labels: choose only from Red or Blue"),
        ({"labels": [True]}, "/labels/0", "Labels: choose only from Red or Blue"),
        ({"labels": [{}]}, "/labels/0", "Labels: choose only from Red or Blue"),
        ({"network": "dmz"}, "/network", "Network must be an object"),
        ({"network": {}}, "/network/zone", "Choose one of Outer or Inner"),
        ({"network": {"zone": 1}}, "/network/zone", "Choose one of Outer or Inner"),
        ({"network": {"zone": "in", "x": 1}}, "/network/x", "There is no field named “x”"),
        ({"other": 1}, "/other", "There is no field named “other”"),
        ({"a/b~c": 1}, "/a~1b~0c", "There is no field named “a/b~c”"),
    ],
)
def test_a_wrong_entry_is_named_by_its_pointer_and_says_what_to_do(values, pointer, sentence):
    assert errors(**{**GOOD, **values}) == {pointer: sentence}


def test_what_is_missing_is_asked_for():
    assert errors() == {"/name": "Enter name"}
    both = {"type": "object", "required": ["a", "b"], "properties": {
        "a": {"type": "array", "title": "Labels", "items": {"enum": ["x"]}},
        "b": {"type": "string", "title": "IP address"},
    }}  # fmt: skip
    assert errors(both) == {"/a": "Choose labels", "/b": "Enter IP address"}


def test_of_many_choices_a_sentence_names_some():
    schema = form(a={"title": "A", "oneOf": [{"const": n, "title": f"Choice {n}"} for n in range(40)]})
    assert errors(schema, a=99)["/a"].endswith("Choice 6, Choice 7 or 32 others")


@pytest.mark.parametrize("values", [None, [], "x", 1, True])
def test_parameters_are_an_object(values):
    assert parameters.clean(FORM, values) == ({}, {"": "Parameters must be an object"})


def test_parameters_of_any_size_and_depth_are_refused_at_once():
    deep = {}
    leaf = deep
    for _ in range(10_000):
        leaf["network"] = leaf = {}
    started = time.process_time()
    assert errors(**deep) == {"": "Parameters are nested too deeply"}
    assert errors(name="x" * 5_000_000) == {"": "Parameters are too large"}
    assert errors(**{f"a{number}": 1 for number in range(20_000)}) == {"": "Parameters are too large"}
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize("name", ["\0", "a\ud800"])
def test_a_field_name_that_cannot_be_stored_is_refused_and_the_answer_can_be_sent(name):
    answer = errors(name="abc", **{name: 1})
    assert len(answer) == 1
    assert "cannot be stored" in json.dumps(answer)
    assert errors(name="abc", network={"zone": "in", name: 1}) == {
        "/network": "Network contains a character that cannot be stored"
    }


def test_what_is_not_json_is_refused():
    assert errors(name={1, 2}) == {"/name": "Name is not a JSON value"}


def test_equal_numbers_become_the_same_number():
    values, wrong = parameters.clean(FORM, {"name": "abc", "storage": 20.0, "ratio": 1.0, "labels": [2.0]})
    assert wrong == {}
    assert json.dumps([values["storage"], values["ratio"], values["labels"]]) == "[20, 1, [2]]"


@pytest.mark.parametrize(("size", "number"), [(0.1, 0.3), (0.1, 999.9), (0.01, 19.99), (0.0001, 123.4567), (2.5, 7.5)])
def test_steps_are_decimal_and_not_binary(size, number):
    schema = form(a={"type": "number", "title": "A", "multipleOf": size})
    assert errors(schema, a=number) == {}


ENTRIES = st.fixed_dictionaries(
    {},
    optional={
        "name": st.text(max_size=5) | JSON,
        "size": st.sampled_from(["s", "l", "m"]) | JSON,
        "storage": st.sampled_from([10, 20.0, 500]) | st.integers() | JSON,
        "ratio": st.sampled_from([0, 0.1, 0.3, 1.0]) | st.floats() | JSON,
        "backup": st.booleans() | JSON,
        "ends": st.dates().map(str) | JSON,
        "contact": st.emails() | JSON,
        "labels": st.lists(st.sampled_from([1, 2]), max_size=3) | JSON,
        "network": st.fixed_dictionaries({"zone": st.sampled_from(["in", "dmz"])}) | JSON,
        "other": JSON,
    },
)


@settings(max_examples=300, deadline=None)
@given(JSON | ENTRIES)
def test_any_values_are_judged_without_an_exception_and_pass_only_where_the_schema_agrees(anything):
    values, wrong = use(FORM, anything)
    assert all(pointer == "" or pointer.startswith("/") for pointer in wrong)
    if not wrong:
        jsonschema_rs.Draft202012Validator(FORM, validate_formats=True).validate(values)
        assert parameters.clean(FORM, values) == (values, {})
