"""An order form as HTML fields, and what a browser sends of them back as values."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from django.http import QueryDict

from core import money
from core.parameters import values as entered
from core.parameters.bounds import legible, step
from core.parameters.values import Errors, Schema, Values

MAX_RADIOS = 5
MAX_SELECT = 30
MAX_LINE = 200  # a text that may be longer gets a textarea
MAX_SENT = 70_000  # of one field's text we keep this much: over the limit of all, so that the limit speaks
_WHOLE = re.compile(r"[+-]?[0-9]{1,16}")
_DECIMAL = re.compile(r"[+-]?[0-9]{1,16}\.[0-9]{1,12}")
_KINDS = {
    "boolean": "checkbox",
    "integer": "number",
    "number": "number",
    "array": "checkboxes",
    "object": "group",
}
_INPUTS = {"date": "date", "email": "email", "uri": "url"}


@dataclass(frozen=True)
class Choice:
    """One option of a field, as the page shows it. `price` says what it adds, such as "+$20.00 a month"."""

    value: str
    label: str
    hint: str = ""
    price: str = ""
    selected: bool = False


@dataclass
class Field:
    """One field as the page shows it; a `group` holds `fields`.

    `kind` is one of radios, select, datalist, checkboxes, checkbox, number, text, textarea, date, email, url
    and group.
    `price` says what one unit of a number, or a ticked box, adds.
    """

    name: str
    id: str
    label: str
    kind: str
    hint: str = ""
    required: bool = False
    value: Any = ""
    error: str = ""
    unit: str = ""
    price: str = ""
    attrs: dict[str, str] = field(default_factory=dict)
    choices: list[Choice] = field(default_factory=list)
    fields: "list[Field]" = field(default_factory=list)

    @property
    def describedby(self) -> str:
        """The ids of what explains the field, for `aria-describedby`."""
        parts = {"hint": self.hint or self.price, "error": self.error}
        return " ".join(f"{self.id}-{part}" for part, there in parts.items() if there)


def fields(
    schema: Schema,
    values: Values | None = None,
    errors: Errors | None = None,
    prefix: str = "",
    currency: str = "",
) -> list[Field]:
    """Give the fields of an order form, in its order.

    Args:
        schema: the order form.
        values: what to show, as `parse` or `clean` gave it; None shows the defaults.
        errors: JSON pointer -> sentence, as `clean` gave them.
        prefix: put before each name, and into each id (`f-<prefix><name>`): two forms fit on one page.
        currency: code of the currency in which prices are shown; without it they are not shown.

    """
    shown = entered.defaults(schema) if values is None else values
    return list(_fields(schema, shown, errors or {}, _Place(prefix, "", currency)))


@dataclass(frozen=True)
class _Place:
    """Where on the page and in the values a field stands."""

    prefix: str
    pointer: str
    currency: str


def problems(shown: list[Field], errors: Mapping[str, str]) -> list[tuple[str, str]]:
    """Give the error summary: id of the field (empty where an error belongs to none) and sentence."""
    linked = [(one.id, one.error) for one in _flat(shown) if one.error]
    told = {sentence for _, sentence in linked}
    return linked + [("", sentence) for sentence in dict.fromkeys(errors.values()) if sentence not in told]


def _flat(shown: list[Field]) -> Iterator[Field]:
    for one in shown:
        yield one
        yield from _flat(one.fields)


def _fields(schema: Schema, values: Values, errors: Errors, place: _Place) -> Iterator[Field]:
    for name, spec in schema["properties"].items():
        here, value, prefix = step(place.pointer, name), values.get(name), place.prefix
        one = Field(
            name=prefix + name,
            id=f"f-{prefix}{name}",
            label=spec["title"],
            kind=_kind(spec),
            hint=spec.get("description", ""),
            required=name in schema.get("required", ()) or _always_has_value(spec),
            error=_error(errors, here, group=spec.get("type") == "object"),
            unit=spec.get("x-unit", ""),
            price=_effect(spec, place.currency),
            attrs=_attrs(spec),
        )
        if one.kind == "group":
            inner = value if isinstance(value, dict) else {}
            below = _Place(f"{prefix}{name}-", here, place.currency)
            one.fields = list(_fields(spec, inner, errors, below))
        elif one.kind in {"radios", "select", "datalist", "checkboxes"}:
            one.choices = _choices(spec, value, one, place.currency)
            one.value = next((choice.label for choice in one.choices if choice.selected), _text(value))
        else:
            one.value = value is True if one.kind == "checkbox" else _text(value)
        yield one


def _kind(spec: Schema) -> str:
    if "oneOf" in spec:
        count = len(spec["oneOf"])
        return "radios" if count <= MAX_RADIOS else "select" if count <= MAX_SELECT else "datalist"
    if spec["type"] == "string":
        plain = "textarea" if spec.get("maxLength", 0) > MAX_LINE else "text"
        return _INPUTS.get(spec.get("format", ""), plain)
    return _KINDS[spec["type"]]


def _always_has_value(spec: Schema) -> bool:
    """Say whether a field cannot be left empty because its default steps in: not of free texts and lists."""
    return "default" in spec and spec.get("type") != "array" and not _is_free_text(spec)


def _is_free_text(spec: Schema) -> bool:
    return spec.get("type") == "string" and "oneOf" not in spec and "format" not in spec


def _error(errors: Errors, pointer: str, *, group: bool) -> str:
    """Give the error of the field at `pointer`; a list also speaks for what lies in it, a group does not."""
    if group or pointer in errors:
        return errors.get(pointer, "")
    return next((sentence for at, sentence in errors.items() if at.startswith(pointer + "/")), "")


def _attrs(spec: Schema) -> dict[str, str]:
    """Give the attributes that help a browser: it counts steps from `min`, so `min` is itself a step."""
    attrs: dict[str, str] = {}
    if spec.get("type") in {"integer", "number"} and "oneOf" not in spec:
        if "minimum" in spec:
            attrs["min"] = entered.plain(entered.smallest(spec))
        if "maximum" in spec:
            attrs["max"] = entered.plain(spec["maximum"])
        attrs["step"] = entered.plain(spec.get("multipleOf", 1 if spec["type"] == "integer" else "any"))
    elif "maxLength" in spec:
        attrs["maxlength"] = str(spec["maxLength"])
    return attrs


def _choices(spec: Schema, value: Any, one: Field, currency: str) -> list[Choice]:
    taken = value if isinstance(value, list) else [value]
    made = [
        Choice(
            value=entered.plain(choice["const"]),
            label=choice["title"],
            hint=choice.get("description", ""),
            price=_effect(choice, currency),
            selected=any(entered.same(choice["const"], const) for const in taken),
        )
        for choice in entered.choices(spec)
    ]
    if one.kind == "select" and "default" not in spec:
        made.insert(0, Choice("", "Choose one" if one.required else "None"))
    elif one.kind == "radios" and not one.required:
        made.append(Choice("", "None", selected=value is None))
    return made


def _effect(spec: Schema, currency: str) -> str:
    """Say what a choice, a unit of a number or a ticked box adds to the price."""
    amount = entered.price(spec)
    if not amount or not currency:
        return ""
    per = f" per {spec.get('x-unit', 'unit')}" if spec.get("type") in {"integer", "number"} else ""
    return f"+{money.format_amount(amount, currency, exact=True)} a month{per}"


def _text(value: Any) -> str:
    """Give the text that a field shows: of a number without exponent, of anything else as it was typed."""
    if value is None or isinstance(value, dict | list):
        return ""
    return legible(entered.plain(value))


def parse(schema: Schema, post: QueryDict, prefix: str = "") -> Values:
    """Read back what a browser sent for the fields that `fields` gave with the same `prefix`.

    Judges nothing: a number that is none stays the text that was typed, so that `clean` speaks and the page
    shows it again. An empty optional field is left out; where a default would step in for it unasked, it is
    kept as an empty text. What was not sent at all, but for boxes, is left out.
    """
    values: Values = {}
    for name, spec in schema["properties"].items():
        value = _read(spec, post, prefix + name)
        kept = "default" in spec or name in schema.get("required", ())
        never_sent = value == "" and prefix + name not in post
        if value not in ("", [], {}) or (kept and not never_sent):
            values[name] = value
    return values


def _read(spec: Schema, post: QueryDict, name: str) -> Any:
    """Read one field; empty is an empty text, list or group."""
    kind = spec.get("type")
    if kind == "object":
        return _group(spec, parse(spec, post, f"{name}-"))
    if kind == "array":
        return [_const(spec, sent) for sent in post.getlist(name)]
    sent = post.get(name, "")[:MAX_SENT]
    if kind == "boolean":
        return sent == "on"
    if "oneOf" in spec:
        return _const(spec, sent.strip())
    typed = sent.replace("\r\n", "\n").strip()
    return _number(typed) if kind in {"integer", "number"} else typed


def _group(spec: Schema, inner: Values) -> Values:
    """Give the entries of a group; none where all is as it was before anyone touched it."""
    touched = any(not _untouched(spec["properties"][name], value) for name, value in inner.items())
    return inner if touched else {}


def _untouched(spec: Schema, value: Any) -> bool:
    if value in ("", [], False):
        return not spec.get("default")
    return entered.same(value, spec.get("default"))


def _const(spec: Mapping[str, Any], sent: str) -> Any:
    """Give what `sent` stands for: the value of a choice, or its title, which a list to type in shows."""
    offered = entered.choices(spec)
    for choice in offered:
        if entered.plain(choice["const"]) == sent:
            return choice["const"]
    for choice in offered:
        if choice["title"].casefold() == sent.casefold():
            return choice["const"]
    return sent


def _number(typed: str) -> Any:
    if _WHOLE.fullmatch(typed):
        return int(typed)
    return float(typed) if _DECIMAL.fullmatch(typed) else typed
