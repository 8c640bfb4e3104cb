import copy
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core import parameters
from tests.core.order_forms import CHOICES, FORM, GOOD, JSON, form, use


def refused(schema):
    """Give the pointers of what is wrong with `schema`, checking that each comes with a sentence."""
    problems = parameters.check_schema(schema)
    assert all(len(problem.message.split()) > 2 for problem in problems)
    return [problem.pointer for problem in problems]


def test_a_form_inside_the_subset_is_accepted():
    assert parameters.check_schema(FORM) == []
    assert parameters.check_schema(form()) == []


@pytest.mark.parametrize("schema", [None, True, 1, "{}", [], [{}]])
def test_a_form_is_an_object(schema):
    assert refused(schema) == [""]


def test_a_form_has_the_type_object_and_properties():
    assert refused({}) == ["/type", "/properties"]
    assert refused({"type": "object", "properties": []}) == ["/properties"]


@pytest.mark.parametrize(
    "keyword",
    [
        "$ref",
        "$dynamicRef",
        "$defs",
        "if",
        "not",
        "allOf",
        "anyOf",
        "writeOnly",
        "const",
        "patternProperties",
        "x-other",
    ],
)
def test_a_keyword_outside_the_subset_is_refused_with_its_place(keyword):
    field = {"type": "string", "title": "A", keyword: "https://example.com/"}
    assert refused(form(a=field)) == [f"/properties/a/{keyword}"]
    assert refused(form() | {keyword: {}}) == [f"/{keyword}"]
    assert f"/properties/g/properties/a/{keyword}" in refused(
        form(g={"type": "object", "title": "G", "properties": {"a": field}})
    )


@pytest.mark.parametrize(
    ("field", "place"),
    [
        ({"type": "string"}, ""),
        ({"title": "A"}, "/type"),
        ({"title": "A", "type": ["string", "null"]}, "/type"),
        ({"title": "A", "type": "null"}, "/type"),
        ({"title": "A", "type": "choice"}, "/type"),
        ({"title": " A", "type": "string"}, "/title"),
        ({"title": "", "type": "string"}, "/title"),
        ({"title": 1, "type": "string"}, "/title"),
        ({"title": "A", "type": "string", "minimum": 1}, "/minimum"),
        ({"title": "A", "type": "string", "x-price": 1}, "/x-price"),
        ({"title": "A", "type": "string", "enum": ["a"]}, "/enum"),
        ({"title": "A", "type": "string", "minLength": -1}, "/minLength"),
        ({"title": "A", "type": "string", "maxLength": 1e9}, "/maxLength"),
        ({"title": "A", "type": "string", "minLength": 5, "maxLength": 4}, "/minLength"),
        ({"title": "A", "type": "string", "format": "regex"}, "/format"),
        ({"title": "A", "type": "string", "format": ["date"]}, "/format"),
        ({"title": "A", "type": "string", "x-pattern-message": "B"}, "/x-pattern-message"),
        ({"title": "A", "type": "string", "default": 1}, "/default"),
        ({"title": "A", "type": "string", "default": "\0"}, "/default"),
        ({"title": "A", "type": "string", "default": "\ud800"}, "/default"),
        ({"title": "A", "type": "string", "format": "date", "default": "2026-02-30"}, "/default"),
        ({"title": "A", "type": "integer", "minimum": 0.5}, "/minimum"),
        ({"title": "A", "type": "integer", "minimum": True}, "/minimum"),
        ({"title": "A", "type": "integer", "maximum": 10**16}, "/maximum"),
        ({"title": "A", "type": "number", "maximum": float("nan")}, "/maximum"),
        ({"title": "A", "type": "number", "maximum": float("inf")}, "/maximum"),
        ({"title": "A", "type": "number", "multipleOf": 0}, "/multipleOf"),
        ({"title": "A", "type": "number", "multipleOf": 1e-300}, "/multipleOf"),
        ({"title": "A", "type": "number", "minimum": 2, "maximum": 1}, "/minimum"),
        ({"title": "A", "type": "integer", "minimum": 11, "maximum": 19, "multipleOf": 10}, "/multipleOf"),
        ({"title": "A", "type": "integer", "minimum": 5, "default": 3}, "/default"),
        ({"title": "A", "type": "integer", "default": True}, "/default"),
        ({"title": "A", "type": "integer", "x-price": 1}, "/x-price"),
        ({"title": "A", "type": "integer", "x-price": 1, "minimum": -1, "maximum": 1}, "/x-price"),
        ({"title": "A", "type": "integer", "x-price": "99", "minimum": 0, "maximum": 10**12}, "/x-price"),
        ({"title": "A", "type": "boolean", "x-price": -1}, "/x-price"),
        ({"title": "A", "type": "boolean", "x-price": "1.00001"}, "/x-price"),
        ({"title": "A", "type": "boolean", "x-price": "1e3"}, "/x-price"),
        ({"title": "A", "type": "boolean", "x-price": True}, "/x-price"),
        ({"title": "A", "type": "boolean", "default": "yes"}, "/default"),
        ({"title": "A", "oneOf": []}, "/oneOf"),
        ({"title": "A", "oneOf": {}}, "/oneOf"),
        ({"title": "A", "oneOf": [1]}, "/oneOf/0"),
        ({"title": "A", "oneOf": [{"const": "a"}]}, "/oneOf/0"),
        ({"title": "A", "oneOf": [{"title": "A"}]}, "/oneOf/0"),
        ({"title": "A", "oneOf": [{"const": " a", "title": "A"}]}, "/oneOf/0/const"),
        ({"title": "A", "oneOf": [{"const": True, "title": "A"}]}, "/oneOf/0/const"),
        (
            {"title": "A", "oneOf": [{"const": "a", "title": "A"}, {"const": 1, "title": "B"}]},
            "/oneOf/1/const",
        ),
        (
            {"title": "A", "oneOf": [{"const": "a", "title": "A"}, {"const": "a", "title": "B"}]},
            "/oneOf/1/const",
        ),
        (
            {"title": "A", "oneOf": [{"const": "a", "title": "A"}, {"const": "b", "title": "a"}]},
            "/oneOf/1/title",
        ),
        ({"title": "A", "oneOf": [{"const": "a", "title": "A", "$ref": "b"}]}, "/oneOf/0/$ref"),
        ({"title": "A", "oneOf": [{"const": "a", "title": "A", "x-price": "free"}]}, "/oneOf/0/x-price"),
        ({"title": "A", "type": "boolean", "oneOf": CHOICES}, "/type"),
        ({"title": "A", "oneOf": CHOICES, "default": "m"}, "/default"),
        ({"title": "A", "type": "array"}, "/items"),
        ({"title": "A", "type": "array", "items": {}}, "/items"),
        ({"title": "A", "type": "array", "items": {"type": "string"}}, "/items"),
        ({"title": "A", "type": "array", "items": {"enum": [[]]}}, "/items/enum/0"),
        ({"title": "A", "type": "array", "items": {"enum": ["a", "a"]}}, "/items/enum/1"),
        ({"title": "A", "type": "array", "items": {"enum": ["a"], "items": {}}}, "/items/items"),
        ({"title": "A", "type": "array", "items": {"enum": ["a"]}, "minItems": 2}, "/minItems"),
        ({"title": "A", "type": "array", "items": {"enum": ["a"]}, "default": ["b"]}, "/default"),
        ({"title": "A", "type": "array", "items": {"enum": ["a"]}, "uniqueItems": False}, "/uniqueItems"),
        ({"title": "A", "type": "object", "properties": {}, "default": {}}, "/default"),
        (
            {"title": "A", "type": "object", "properties": {}, "additionalProperties": True},
            "/additionalProperties",
        ),
        ({"title": "A", "type": "object", "properties": {}, "required": ["b"]}, "/required/0"),
        ({"title": "A", "type": "object", "properties": {}, "required": "b"}, "/required"),
    ],
)
def test_a_field_outside_the_subset_is_refused_with_its_place(field, place):
    assert f"/properties/a{place}" in refused(form(a=field))


def test_groups_are_one_level_deep():
    inner = {"type": "object", "title": "Inner", "properties": {}}
    outer = {"type": "object", "title": "Outer", "properties": {"inner": inner}}
    assert refused(form(outer=outer)) == ["/properties/outer/properties/inner/type"]


@pytest.mark.parametrize("name", ["A", "1a", "a-b", "a b", "", "_a", "a" * 41, "__proto__", "ä", "a\n", "a/b"])
def test_field_names_are_plain(name):
    place = "/properties/" + name.replace("/", "~1")
    assert place in refused(form(**{name: {"type": "string", "title": "A"}}))


@pytest.mark.parametrize(
    "pattern",
    [
        "(?=a)b",
        r"(a)\1",
        "(",
        "[",
        "a{1001}",
        "(a{900}){900}",
        "(((a{100}){100}){100}){100}",
        r"\p{L}{1000}",
        "(?<!a)b",
    ],
)
def test_a_pattern_that_is_not_linear_or_too_large_is_refused(pattern):
    schema = form(a={"type": "string", "title": "A", "pattern": pattern})
    started = time.process_time()
    assert refused(schema) == ["/properties/a/pattern"]
    assert time.process_time() - started < 0.5


def test_a_pattern_that_explodes_elsewhere_is_matched_in_linear_time():
    schema = form(a={"type": "string", "title": "A", "pattern": "^(a+)+$"})
    assert parameters.check_schema(schema) == []
    started = time.process_time()
    assert parameters.clean(schema, {"a": "a" * 60_000 + "!"})[1]
    assert time.process_time() - started < 0.5


def test_a_form_nested_ten_thousand_deep_is_refused_at_once():
    schema = leaf = {}
    for _ in range(10_000):
        leaf["properties"] = {"a": {}}
        leaf = leaf["properties"]["a"]
    started = time.process_time()
    assert refused(schema) == [""]
    assert time.process_time() - started < 0.5


@pytest.mark.parametrize(
    "schema",
    [
        form(**{f"a{number}": {"type": "string", "title": "x" * 1000} for number in range(5000)}),
        form(a={"type": "string", "title": "x" * 5_000_000}),
        {"type": "object", "properties": {"a": {"x" * 5_000_000: 1}}},
        form(a={"title": "A", "oneOf": [{"const": number, "title": "x"} for number in range(200_000)]}),
        form(a={"type": "integer", "title": "A", "default": 10**200_000}),
    ],
    ids=["many fields", "long text", "long key", "many choices", "long number"],
)
def test_a_form_of_megabytes_is_refused_at_once(schema):
    started = time.process_time()
    assert len(refused(schema)) == 1
    assert time.process_time() - started < 0.5


def test_a_form_that_holds_itself_is_refused():
    schema = form()
    schema["properties"]["a"] = schema
    assert refused(schema) == [""]


def test_a_form_has_at_most_sixty_fields_with_those_of_groups():
    text = {"type": "string", "title": "A"}
    many = form(**{f"a{number}": text for number in range(60)})
    assert refused(many) == []
    many["properties"]["a0"] = {"type": "object", "title": "G", "properties": {"b": text}}
    assert refused(many) == ["/properties"]


@settings(max_examples=200, deadline=None)
@given(JSON)
def test_any_json_is_checked_without_an_exception(anything):
    refused(anything)
    refused(form(a=anything))
    refused(form(a={"title": "A", "oneOf": anything}))
    refused(form(a={"title": "A", "type": "array", "items": anything}))
    refused(form(a={"title": "A", "type": "integer", "minimum": anything, "default": anything}))


def places(item, path=()):
    """Yield the path of everything inside `item`."""
    for key, below in item.items() if isinstance(item, dict) else enumerate(item) if isinstance(item, list) else ():
        yield (*path, key)
        yield from places(below, (*path, key))


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(sorted(places(FORM), key=str)), JSON)
def test_a_form_with_any_one_part_replaced_is_refused_or_usable(path, anything):
    schema = copy.deepcopy(FORM)
    part = schema
    for key in path[:-1]:
        part = part[key]
    part[path[-1]] = anything
    if not parameters.check_schema(schema):
        use(schema, GOOD)
        use(schema, {"name": anything, "labels": [anything]})
