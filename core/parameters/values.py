"""What was entered in an order form: filled, judged in plain sentences, priced, put into words."""

import copy
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from decimal import ROUND_CEILING, Decimal
from functools import lru_cache
from typing import Any

import jsonschema_rs

from core.parameters.bounds import MAX_NUMBER, Fault, faults, legible, step

Schema = Mapping[str, Any]
Values = dict[str, Any]
Errors = dict[str, str]

MAX_NAMED = 8  # a sentence names this many choices; of more it gives the number
MAX_UNKNOWN = 20  # one answer names this many unknown fields
PATTERN_BYTES = 2 * 1024 * 1024  # memory of one compiled pattern, in both engines that read it
_WEB = re.compile(r"https?://[^/\s]", re.IGNORECASE)
_DROPPED = ("title", "description", "default", "$schema", "x-price", "x-unit", "x-pattern-message")


@dataclass(frozen=True)
class PriceLine:
    """What one entry adds to the price, per month, exact and not yet rounded to the currency."""

    label: str
    amount: Decimal


def defaults(schema: Schema) -> Values:
    """Give the values of a form that nobody has touched."""
    return fill(schema, {})


def fill(schema: Schema, values: Values) -> Values:
    """Give a copy of `values` with the default of each absent field.

    A group that is absent and optional is added only where its defaults alone complete it.
    """
    filled = dict(values)
    for name, spec in schema["properties"].items():
        if spec.get("type") == "object":
            _fill_group(filled, name, spec, required=name in schema.get("required", ()))
        elif name not in filled and "default" in spec:
            filled[name] = copy.deepcopy(spec["default"])
    return filled


def _fill_group(filled: Values, name: str, spec: Schema, *, required: bool) -> None:
    if name in filled:
        if isinstance(filled[name], dict):
            filled[name] = fill(spec, filled[name])
        return
    inner = fill(spec, {})
    complete = inner and all(needed in inner for needed in spec.get("required", ()))
    if required or complete:
        filled[name] = inner


def clean(schema: Schema, values: object) -> tuple[Values, Errors]:
    """Fill, normalize and judge `values`: the one way in for what a person or a program sends.

    Args:
        schema: an order form that `check_schema` found no problem in.
        values: any Python value that may come out of JSON.

    Returns:
        The values, usable only where there are no errors (`1.0` has become `1` where a number is asked for);
        and the errors: JSON pointer -> one sentence. Never raises, whatever the values are.

    """
    if not isinstance(values, dict):
        return {}, {"": "Parameters must be an object"}
    broken = faults(values)
    if broken:
        return {}, {fault.pointer: _bound_sentence(schema, fault) for fault in broken}
    filled = _normal(schema, fill(schema, values))
    return filled, validate(schema, filled)


def validate(schema: Schema, values: Values) -> Errors:
    """Judge `values` as they are: JSON pointer -> one sentence. For what comes from outside use `clean`.

    Stricter than JSON Schema in four points: no field but those of the form, a required text is not blank, a
    choice is ticked once, a web address is http or https.
    """
    errors = dict(_own_rules(schema, values, ""))
    for fault in _validator(schema).iter_errors(values):
        for pointer, sentence in _sentences(schema, fault):
            errors.setdefault(pointer, sentence)
    return errors


def choices(spec: Schema) -> list[dict[str, Any]]:
    """Give the choices of a field as `{const, title, ...}`, whichever way the form writes them."""
    if "items" in spec:
        return choices(spec["items"])
    if "enum" in spec:
        return [{"const": value, "title": str(value)} for value in spec["enum"]]
    return list(spec.get("oneOf", ()))


def same(one: object, other: object) -> bool:
    """Compare as JSON does: 1 is 1.0, but true is not 1."""
    return one == other and isinstance(one, bool) == isinstance(other, bool)


def _normal(spec: Schema, value: Any) -> Any:
    """Give the one way of writing `value`, so that equal orders look equal."""
    if isinstance(value, dict):
        return {name: _normal(spec.get("properties", {}).get(name, {}), inner) for name, inner in value.items()}
    if isinstance(value, list):
        return [_normal(spec.get("items", {}), inner) for inner in value]
    for choice in choices(spec) if "items" not in spec else ():
        if same(choice["const"], value):
            return choice["const"]
    if isinstance(value, float) and value.is_integer() and spec.get("type") in {"integer", "number"}:
        return int(value)
    return value


# --- judging --------------------------------------------------------------------------------------


def _validator(schema: Schema) -> jsonschema_rs.Draft202012Validator:
    return _compiled(json.dumps(_strict(schema)))


@lru_cache(maxsize=128)
def _compiled(text: str) -> jsonschema_rs.Draft202012Validator:
    """Compile once per form. Patterns run in linear time, and nothing is ever fetched."""
    return jsonschema_rs.Draft202012Validator(
        json.loads(text),
        validate_formats=True,
        offline=True,
        pattern_options=jsonschema_rs.RegexOptions(size_limit=PATTERN_BYTES, dfa_size_limit=PATTERN_BYTES),
    )


def compiles(schema: Schema) -> bool:
    """Say whether the validator accepts `schema`."""
    try:
        _validator(schema)
    except ValueError:
        return False
    return True


def _strict(spec: Schema) -> dict[str, Any]:
    """Give the schema that judges: no annotations, closed to unknown fields, each choice at most once."""
    if "oneOf" in spec or "enum" in spec:
        return {"enum": [choice["const"] for choice in choices(spec)]}
    strict = {key: value for key, value in spec.items() if key not in _DROPPED}
    if "items" in spec:
        strict |= {"items": _strict(spec["items"]), "uniqueItems": True}
    if "properties" in spec:
        inner = {name: _strict(below) for name, below in spec["properties"].items()}
        strict |= {"properties": inner, "additionalProperties": False}
    return strict


def _own_rules(schema: Schema, values: Values, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield what JSON Schema cannot say: blank texts, and web addresses of other kinds (`javascript:`)."""
    for name, spec in schema["properties"].items():
        value, here = values.get(name), step(pointer, name)
        if isinstance(value, dict) and spec.get("type") == "object":
            yield from _own_rules(spec, value, here)
        elif isinstance(value, str) and not value.strip() and _needs_text(schema, name, spec):
            yield here, _missing(spec)
        elif spec.get("format") == "uri" and isinstance(value, str) and not _WEB.match(value):
            yield here, _FORMATS["uri"](spec["title"])


def _needs_text(schema: Schema, name: str, spec: Schema) -> bool:
    """Say whether a blank text is no entry: where the field is required, or takes no free text at all."""
    free = spec.get("type") == "string" and "oneOf" not in spec and "format" not in spec
    return name in schema.get("required", ()) or not free


def _located(schema: Schema, path: Sequence[str | int]) -> Schema:
    """Give the part of `schema` that stands for the field at `path`, or an empty one where there is none."""
    spec = schema
    for key in path:
        spec = spec["properties"].get(key, {}) if "properties" in spec else spec
    return spec


def _pointer(path: Iterable[str | int]) -> str:
    pointer = ""
    for key in path:
        pointer = step(pointer, key)
    return pointer


def _sentences(schema: Schema, fault: jsonschema_rs.ValidationError) -> Iterator[tuple[str, str]]:
    """Yield pointer and sentence of one fault that the validator found."""
    path, kind = list(fault.instance_path), fault.kind.as_dict()
    pointer, spec = _pointer(path), _located(schema, path)
    if fault.kind.name == "required":
        name = kind["property"]
        yield step(pointer, name), _missing(spec["properties"][name])
    elif fault.kind.name == "additionalProperties":
        for name in kind["unexpected"][:MAX_UNKNOWN]:
            yield step(pointer, name), f"There is no field named “{legible(name[:60])}”"
    else:
        yield pointer, _sentence(spec, fault.kind.name)


def _sentence(spec: Schema, keyword: str) -> str:
    """Say in one sentence what is wrong with a field whose `keyword` is not met."""
    title = spec.get("title", "This field")
    if keyword == "enum" or "oneOf" in spec:
        return f"{title}: choose only from {_named(spec)}" if "items" in spec else _missing(spec)
    if keyword == "type":
        return f"{title} must be {_TYPES[spec['type']]}"
    if keyword == "format":
        return _FORMATS[spec["format"]](title)
    if keyword == "pattern":
        return str(spec.get("x-pattern-message", f"{title} is not in the right format"))
    return _LIMITS[keyword].format(title=title, limit=plain(spec.get(keyword)))


_TYPES = {
    "string": "text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
}
_FORMATS = {
    "date": "{} must be a real date, such as 2026-11-24".format,
    "email": "{} must be an email address, such as name@example.com".format,
    "uri": "{} must be a web address that starts with https:// or http://".format,
}
_LIMITS = {
    "minimum": "{title} must be {limit} or more",
    "maximum": "{title} must be {limit} or less",
    "multipleOf": "{title} must be a multiple of {limit}",
    "minLength": "{title} must be {limit} characters or more",
    "maxLength": "{title} must be {limit} characters or fewer",
    "minItems": "{title}: choose at least {limit}",
    "maxItems": "{title}: choose at most {limit}",
    "uniqueItems": "{title}: choose each one only once",
}


def _bound_sentence(schema: Schema, fault: Fault) -> str:
    if fault.kind in {"size", "depth"}:
        return "Parameters are too large" if fault.kind == "size" else "Parameters are nested too deeply"
    title = _located(schema, fault.pointer.split("/")[1:]).get("title", "This entry")
    return {
        "text": f"{title} contains a character that cannot be stored",
        "number": f"{title} must be a number of at most 15 digits",
        "type": f"{title} is not a JSON value",
    }[fault.kind]


def _missing(spec: Schema) -> str:
    """Say what to do where nothing usable was entered."""
    title = spec["title"]
    if "oneOf" in spec:
        return f"Choose one of {_named(spec)}"
    if spec["type"] == "array":
        return f"Choose {_lowered(title)}"
    return f"{title} must be true or false" if spec["type"] == "boolean" else f"Enter {_lowered(title)}"


def _lowered(title: str) -> str:
    """Give `title` as it stands inside a sentence: "Name" as "name", but "IP address" as it is."""
    return title[:1].lower() + title[1:] if title[1:2].islower() or title[1:2] == " " else title


def _named(spec: Schema) -> str:
    titles = [choice["title"] for choice in choices(spec)]
    if len(titles) > MAX_NAMED:
        return f"{', '.join(titles[:MAX_NAMED])} or {len(titles) - MAX_NAMED} others"
    return " or ".join(filter(None, [", ".join(titles[:-1]), titles[-1]]))


# --- price and words ------------------------------------------------------------------------------


def plain(number: Any) -> str:
    """Write a number as people do: no exponent, no `.0`, no grouping (it may be a port)."""
    if isinstance(number, float):
        number = Decimal(repr(number))
        number = number.to_integral_value() if number == number.to_integral_value() else number.normalize()
    return f"{number:f}" if isinstance(number, Decimal) else str(number)


def smallest(spec: Schema) -> Decimal:
    """Give the smallest number that a field takes: its minimum, raised to a multiple of its step."""
    low = Decimal(str(spec.get("minimum", -MAX_NUMBER)))
    if "multipleOf" not in spec:
        return low
    size = Decimal(str(spec["multipleOf"]))
    return (low / size).to_integral_value(ROUND_CEILING) * size


def price(spec: Schema) -> Decimal:
    """Give the `x-price` of a field or choice, per month; 0 where it has none."""
    return Decimal(str(spec.get("x-price", 0)))


def price_lines(schema: Schema, values: Values) -> list[PriceLine]:
    """List what the entries add to the price, per month: per choice, per unit of a number, for a ticked box.

    Entries that the form does not allow add nothing, so a live quote may ask before everything is right.
    """
    lines: list[PriceLine] = []
    for name, spec in schema["properties"].items():
        value = values.get(name)
        if spec.get("type") == "object" and isinstance(value, dict):
            lines += price_lines(spec, value)
        else:
            lines += [line for line in _effects(spec, value) if line.amount]
    return lines


def _effects(spec: Schema, value: Any) -> Iterator[PriceLine]:
    for choice in _chosen(spec, value):
        yield PriceLine(f"{spec['title']}: {choice['title']}", price(choice))
    if spec.get("type") in {"integer", "number"} and "x-price" in spec:
        if isinstance(value, int | float) and not isinstance(value, bool) and not faults(value) and value > 0:
            yield PriceLine(f"{spec['title']}: {_measured(spec, value)}", price(spec) * Decimal(str(value)))
    elif spec.get("type") == "boolean" and value is True:
        yield PriceLine(spec["title"], price(spec))


def _chosen(spec: Schema, value: Any) -> list[dict[str, Any]]:
    """Give the choices of `spec` that `value` takes, in the order of the form, each once."""
    taken = value if isinstance(value, list) and "items" in spec else [value]
    return [choice for choice in choices(spec) if any(same(choice["const"], one) for one in taken)]


def _measured(spec: Schema, number: Any) -> str:
    return f"{plain(number)} {spec.get('x-unit', '')}".strip()


def described(schema: Schema, values: Values) -> list[tuple[str, str]]:
    """Put values into words, for people: label and text of each entry, in the order of the form.

    Shows the title of a choice, never what stands for it in the data; a field of a group is "Group: Field".
    """
    words: list[tuple[str, str]] = []
    for name, spec in schema["properties"].items():
        if name not in values:
            continue
        value = values[name]
        if spec.get("type") == "object" and isinstance(value, dict):
            words += [(f"{spec['title']}: {label}", text) for label, text in described(spec, value)]
        else:
            words.append((spec["title"], _worded(spec, value)))
    return words


def _worded(spec: Schema, value: Any) -> str:
    if isinstance(value, bool):
        return "Yes" if value else "No"
    if isinstance(value, list):
        return ", ".join(choice["title"] for choice in _chosen(spec, value)) or "None"
    chosen = _chosen(spec, value)
    if chosen:
        return str(chosen[0]["title"])
    return _measured(spec, value) if isinstance(value, int | float) else legible(str(value))
