"""Conditions are answered with yes only where they are exactly true; whatever goes wrong is no answer."""

import threading
import time
from contextlib import suppress
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.expressions import Unanswered, check, holds

DECLARED: dict[str, Any] = {
    "parameters": ["size", "backup", "zones"],
    "order": {"plan": "string"},
    "outputs": None,
    "price": "double",
    "tags": "list",
}
FACTS: dict[str, Any] = {
    "parameters": {"size": 20, "backup": True, "zones": ["a", "b"], "name": "x", "none": None},
    "order": {"plan": "small"},
    "price": Decimal("38.50"),
    "asked_at": datetime(2026, 11, 24, 12, tzinfo=UTC),
    "until": date(2026, 12, 31),
    "id": UUID("0ff1ce00-0000-4000-8000-000000000000"),
    "pair": (1, 2),
    "roles": {"owner", "approver"},
}


@pytest.mark.parametrize(
    ("expression", "answer"),
    [
        ("parameters.backup", True),
        ("parameters.backup == false", False),
        ("parameters.size > 10 && order.plan == 'small'", True),
        ("parameters.size > 10.5", True),
        ("has(parameters.color)", False),
        ("has(parameters.color) && parameters.color == 'red'", False),
        ("'b' in parameters.zones", True),
        ("parameters.zones.exists(zone, zone == 'c')", False),
        ("parameters.zones.filter(zone, zone != 'a').size() == 1 && parameters.zones.all(zone, zone != '')", True),
        ("parameters.none == null", True),
        ("price * 12.0 > 400.0", True),
        ("timestamp(asked_at) < timestamp(until)", True),
        ("id.startsWith('0ff1ce')", True),
        ("pair == [1, 2] && roles == ['approver', 'owner']", True),
        ("parameters.name.matches('^(a+)+$')", False),
    ],
)
def test_a_condition_is_answered_for_the_facts(expression, answer):
    assert holds(expression, FACTS) is answer


@pytest.mark.parametrize(
    "expression",
    [
        "parameters.color == 'red'",
        "parameters.size == nope",
        "nope",
        "parameters.name",
        "parameters.size",
        "parameters.none",
        "!parameters.name",
        "parameters.zones",
        "1 + 1",
        "parameters.size / 0 == 1",
        "parameters.name > 3",
        "parameters.size.x",
        "'error'",
        "",
        "true true",
        "int(parameters.name) == 1",
        "(" * 40 + "true" + ")" * 40,
        "true || " * 400 + "true",
        "true\0",
        "parameters.zones.map(x, x) == []",
        "parameters.zones.all(a, parameters.zones.all(b, true))",
    ],
)
def test_what_is_not_exactly_true_or_false_is_no_answer(expression):
    with pytest.raises(Unanswered) as refusal:
        holds(expression, FACTS)
    assert str(refusal.value)


@pytest.mark.parametrize(
    "value",
    [
        float("nan"),
        float("inf"),
        2**70,
        Decimal("NaN"),
        object(),
        b"bytes",
        "x\0",
        "\ud800",
        "x" * 20_000,
        ["y" * 9000] * 20,
        list(range(5000)),
        {"deep": [[[[[[[[[[[[1]]]]]]]]]]]]},
        {1: "number as key"},
    ],
    ids=lambda value: str(type(value)),
)
def test_a_fact_that_cannot_be_judged_is_no_answer_even_where_it_does_not_matter(value):
    with pytest.raises(Unanswered):
        holds("true", {"fact": value})


@pytest.mark.parametrize(
    ("expression", "part"),
    [
        ("", "Enter a condition"),
        ("  ", "Enter a condition"),
        ("parameters.size >", "Column 18"),
        ("parameters.size > 1\n  && nope", "Line 2, column 6: undeclared reference to 'nope'"),
        ("parameters.sise > 1", "Column 12: “parameters” has nothing named “sise”. Known: backup, size, zones."),
        ("order.owner == 'x'", "“order” has nothing named “owner”. Known: plan."),
        ("'x' + price == 'y'", "Column 5: found no matching overload"),
        ("price + 1.0", "must be true or false; this one gives double"),
        ("'text'", "must be true or false; this one gives string"),
        ("x" * 2001, "at most 2000 characters"),
        ("tags.map(x, x + x) == []", "Column 5: “map” is not available"),
        ("tags.all(a, tags.exists(b, a == b))", "may not stand within another"),
        ("tags.all(a, a.matches('x'))", "“matches” may not stand within another"),
        ("(" * 40 + "true" + ")" * 40, "nested too deeply"),
        ("true\0", "cannot be read"),
        ("\ud800", "cannot be read"),
        ("parameters.size = 1", "Column 17"),
    ],
)
def test_what_keeps_a_text_from_being_a_condition_is_said_with_its_place(expression, part):
    assert part in check(expression, DECLARED)


@pytest.mark.parametrize(
    "expression",
    [
        "parameters.size > 1",
        "parameters.backup",
        "parameters.size() > 0 && has(outputs.any)",
        "outputs.whatever.deeper == 'parameters.unknown' // order.nothing",
        "price > 5.0 && order.plan != ''",
        "tags.exists(tag, tag == \"order.x\") || tags.filter(t, t != '(').size() == 0",
        "parameters['size'] == 1",
    ],
)
def test_a_condition_over_what_is_declared_passes(expression):
    assert check(expression, DECLARED) == ""


@given(st.text(max_size=60) | st.text(alphabet="porder.size()&|'\"[]{}=!<>1 \n", max_size=60))
def test_whatever_is_written_gets_a_sentence_or_an_answer_and_never_an_error(text):
    assert isinstance(check(text, DECLARED), str)
    with suppress(Unanswered):
        assert holds(text, FACTS) in {True, False}


@pytest.mark.parametrize(
    "expression",
    [
        "+".join(["s"] * 30) + " == s",
        "many.all(x, s + s + s + s != s)",
        "many.all(x, !s.contains('ab'))",
        "s.matches('(a|b|ab)*c') || s.matches('(a?){50}a{50}b')",
        "many.exists(x, x < 0) || many.exists(x, x < 1 && s < s) || many.all(x, x == s)",
    ],
)
def test_the_worst_that_passes_takes_no_time(expression):
    facts = {"s": "a" * 10_000, "many": list(range(1900))}
    began = time.process_time()
    with suppress(Unanswered):
        holds(expression, facts)
    assert time.process_time() - began < 1


def test_threads_may_ask_at_once():
    wrong: list[int] = []

    def ask(number: int) -> None:
        question = "n == turn || name == 'x'"
        wrong.extend(
            turn
            for turn in range(300)
            if holds(question, {"n": number, "turn": turn, "name": str(turn)}) is not (number == turn)
        )

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
