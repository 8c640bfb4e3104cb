"""Templates take values by name, as data, in one pass."""

import json
from decimal import Decimal
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.substitution import Problem, Unfilled, check, fill, named

ROOTS: dict[str, Any] = {
    "order": ("id", "number"),
    "parameters": {"size": (), "network": {"zone": ()}, "tags": None},
    "outputs": None,
    "limits": (),
}
VALUES: dict[str, Any] = {
    "order": {"id": "7", "number": 12},
    "parameters": {"size": 20, "network": {"zone": "a"}, "tags": ["x", "y"], "share": 0.00001, "none": None},
    "outputs": {"hosts": [{"name": "db-1"}, {"name": "db-2"}], "price": Decimal("1E+3"), "ok": True},
}
json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**15), 10**15)
    | st.text(st.characters(codec="utf-8", exclude_characters="\0")),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8), inner, max_size=4)
    ),
    max_leaves=20,
)


def messages(template: Any) -> dict[str, str]:
    return {problem.pointer: problem.message for problem in check(template, ROOTS)}


@pytest.mark.parametrize(
    ("template", "filled"),
    [
        ("${parameters.size}", 20),
        ("${parameters.size} GiB", "20 GiB"),
        ("${order.number}-${parameters.network.zone}", "12-a"),
        ("${parameters.network}", {"zone": "a"}),
        ("${outputs.hosts[1].name}", "db-2"),
        ("in ${parameters.network}", 'in {"zone": "a"}'),
        ("${parameters.tags}!", '["x", "y"]!'),
        ("${outputs.ok} ${outputs.price} ${parameters.share}", "true 1000 0.00001"),
        ("${outputs.price}", Decimal("1E+3")),
        ("[${parameters.none}]", "[]"),
        ("${parameters.none}", None),
        ("$${parameters.size}", "${parameters.size}"),
        ("$$${parameters.size}", "$${parameters.size}"),
        ("costs $5 {x} $ {y} }", "costs $5 {x} $ {y} }"),
        ({"a": ["${order.id}", {"${order.id}": 1}], "n": None}, {"a": ["7", {"${order.id}": 1}], "n": None}),
    ],
)
def test_a_placeholder_becomes_the_value(template, filled):
    assert fill(template, VALUES) == filled
    assert type(fill(template, VALUES)) is type(filled)


@given(json_values)
def test_what_names_nothing_stays_as_it_is(value):
    template = json.loads(json.dumps(value).replace("$", "%"))
    try:
        assert fill(template, VALUES) == template
    except Unfilled as error:
        assert "20 levels" in error.message or "64 kB" in error.message  # noqa: PT017 (only bounds may refuse it)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\0")) | st.just("${order.id}"))
def test_what_a_person_typed_is_never_looked_at_again(typed):
    hostile = f"${{order.id}}{typed}$${{x}}"
    values = {**VALUES, "parameters": {"typed": hostile, "nested": [hostile]}}
    assert fill("${parameters.typed}", values) == hostile
    assert fill("<${parameters.typed}>", values) == f"<{hostile}>"
    assert fill("${parameters.nested}", values) == [hostile]


def test_a_template_is_not_changed_by_filling_it():
    template = {"list": ["${order.id}"]}
    fill(template, VALUES)
    assert template == {"list": ["${order.id}"]}


@pytest.mark.parametrize(
    ("template", "pointer", "part"),
    [
        ({"body": {"size": "${parameters.color}"}}, "/body/size", "nothing named “color”. Known: network, size, tags"),
        ({"body": ["x", "${secrets.password}"]}, "/body/1", "nothing named “secrets”. Known: limits, order, outputs"),
        ("${parameters.network.vlan}", "", "“parameters.network” has nothing named “vlan”"),
        ("${parameters.size.x}", "", "“parameters.size” has nothing named “x”"),
        ("${limits.x}", "", "“limits” has nothing named “x”"),
        ("${order}", "", "“order” alone is no value. Name one of it: id, number"),
        ("${parameters.size", "", "not closed"),
        ("${}", "", "not the name of a value"),
        ("${ order.id }", "", "not the name of a value"),
        ("${order.id|upper}", "", "not the name of a value"),
        ("${order.id()}", "", "not the name of a value"),
        ("${order['id']}", "", "not the name of a value"),
        ("${outputs.hosts[-1]}", "", "not the name of a value"),
        ("${outputs.__class__.__init__}x${outputs..a}", "", "not the name of a value"),
        ({"a/b": "${nope.x}"}, "/a~1b", "nothing named “nope”"),
        ("a\0b", "", "NUL"),
        (["x" * 70_000], "", "64 kB"),
    ],
)
def test_what_is_wrong_is_told_with_its_place(template, pointer, part):
    assert part in messages(template)[pointer]


@pytest.mark.parametrize(
    "template",
    [
        "${order.id}",
        "${parameters.tags[0]}",
        "${outputs.any-thing.below[3].x}",
        "${parameters.network}",
        "$${nope}",
        5,
        None,
    ],
)
def test_what_is_known_may_be_named(template):
    assert check(template, ROOTS) == []


def test_a_template_nested_too_deeply_is_refused_before_it_is_walked():
    template: Any = "x"
    for _ in range(5000):
        template = [template]
    assert check(template, ROOTS) == [Problem("", "The template may be nested at most 20 levels deep.")]
    with pytest.raises(Unfilled, match="20 levels"):
        fill(template, VALUES)


@pytest.mark.parametrize(
    "text",
    [
        "${parameters.gone}",
        "${outputs.hosts[7].name}",
        "${outputs.hosts.name}",
        "${order.id[0]}",
        "${order.id.upper}",
        "${outputs.__class__}",
        "${gone.x}",
        "${order.id",
        "${order.id()}",
    ],
)
def test_a_value_that_is_not_there_is_never_guessed(text):
    with pytest.raises(Unfilled) as refusal:
        fill({"body": {"x": text}}, VALUES)
    assert refusal.value.pointer == "/body/x"
    assert str(refusal.value).startswith("/body/x: ")


@pytest.mark.parametrize(
    ("typed", "filled"),
    [
        ("a b", "/things/a%20b"),
        ("../admin", "/things/..%2Fadmin"),
        ("x?y=1#z", "/things/x%3Fy%3D1%23z"),
        ("{external_ref}", "/things/%7Bexternal_ref%7D"),
        ("%2e%2e", "/things/%252e%252e"),
        ("ü", "/things/%C3%BC"),
        (7, "/things/7"),
        (True, "/things/true"),
    ],
)
def test_a_value_is_one_part_of_a_path_whatever_is_in_it(typed, filled):
    template = {"path": "/things/${parameters.name}", "body": {"path": "${parameters.name}"}}
    done = fill(template, {"parameters": {"name": typed}}, paths=["/path"])
    assert done == {"path": filled, "body": {"path": typed}}


def test_a_part_of_a_path_is_never_empty_but_a_query_may_be():
    values = {"parameters": {"name": ""}}
    assert fill({"path": "/things?name=${parameters.name}"}, values, paths=["/path"]) == {"path": "/things?name="}
    with pytest.raises(Unfilled, match="another place"):
        fill({"path": "/things/${parameters.name}?x"}, values, paths=["/path"])


def test_what_a_template_names_can_be_listed():
    template = {"a": "${parameters.size}-${outputs.hosts[0].name}", "b": "$${order.id} ${broken", "c": 1}
    assert named(template) == [("/a", ["parameters", "size"]), ("/a", ["outputs", "hosts", 0, "name"])]


@given(json_values | st.text(alphabet="${}.[]a0 ", max_size=40))
def test_whatever_is_written_is_judged_and_what_passes_can_be_filled_or_is_not_there(template):
    problems = check(template, ROOTS)
    try:
        fill(template, VALUES)
    except Unfilled as error:
        assert problems or "no value for" in error.message  # noqa: PT017 (which of the two is the point)
