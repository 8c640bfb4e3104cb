"""What an order form may be. All that lies outside the subset is refused with its place when it is saved."""

import json
import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import re2

from core.parameters import bounds, values
from core.parameters.bounds import step

DIALECT = "https://json-schema.org/draft/2020-12/schema"
MAX_FIELDS = 60
MAX_TEXT = 10_000  # characters that one field may ask for
MAX_EFFECT = 10**9  # what one entry may add to the price, per month
_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
_PRICE = re.compile(r"[0-9]{1,9}(\.[0-9]{1,4})?")


@dataclass(frozen=True)
class Problem:
    """One thing that an order form may not hold: its JSON pointer, and a sentence."""

    pointer: str
    message: str


def check_schema(schema: object) -> list[Problem]:
    """List what keeps `schema` from being an order form; an empty list means that it is one.

    Takes any Python value that may come out of JSON, of any size and depth, and never raises.
    """
    if not isinstance(schema, dict):
        return [Problem("", "The form must be a JSON object")]
    broken = bounds.faults(schema)
    if broken:
        return [Problem(fault.pointer, _BOUNDS[fault.kind]) for fault in broken]
    if len(json.dumps(schema, ensure_ascii=False).encode()) > bounds.MAX_BYTES:
        return [Problem("", _BOUNDS["size"])]
    found = list(_form(schema))
    if not found and not values.compiles(schema):
        return [Problem("", "The form cannot be compiled: its patterns may be too large together")]
    return found or list(_bad_defaults(schema, ""))


_BOUNDS = {
    "size": "The form may have at most 64 kB",
    "depth": "The form may be nested at most 10 levels deep",
    "text": "A text has a character that cannot be stored (NUL or half of a surrogate pair)",
    "number": "A number has more than 15 digits",
    "type": "This is not a JSON value",
}


# --- what one keyword may hold ----------------------------------------------------------------------


def _is_text(most: int, *, line: bool = True) -> Callable[[Any], bool]:
    def check(value: Any) -> bool:
        tidy = isinstance(value, str) and 0 < len(value) <= most and value == value.strip()
        return tidy and not (line and any(ord(letter) < ord(" ") for letter in value))

    return check


def _is_count(least: int, most: int) -> Callable[[Any], bool]:
    return lambda value: type(value) is int and least <= value <= most


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_step(value: Any) -> bool:
    return _is_number(value) and value >= 0.0001  # noqa: PLR2004 - finer steps than money has make no sense


def _is_price(value: Any) -> bool:
    """Take a decimal of at least 0 with at most four places, as text or number."""
    text = value if isinstance(value, str) else values.plain(value) if _is_number(value) else ""
    return bool(_PRICE.fullmatch(text))


_KEYWORDS: dict[str, tuple[Callable[[Any], bool], str]] = {
    "$schema": (lambda value: value == DIALECT, f"must be {DIALECT}"),
    "title": (_is_text(200), "must be one line of 1 to 200 characters, without spaces at its ends"),
    "description": (_is_text(2000, line=False), "must be text of 1 to 2000 characters"),
    "properties": (lambda value: isinstance(value, dict), "must be an object"),
    "required": (lambda value: isinstance(value, list), "must be a list of field names"),
    "additionalProperties": (lambda value: value is False, "must be false"),
    "oneOf": (lambda value: isinstance(value, list) and bool(value), "must be a list of choices"),
    "enum": (lambda value: isinstance(value, list) and bool(value), "must be a list of values"),
    "items": (lambda value: isinstance(value, dict), "must be an object"),
    "minimum": (_is_number, "must be a number"),
    "maximum": (_is_number, "must be a number"),
    "multipleOf": (_is_step, "must be a number of 0.0001 or more"),
    "minLength": (_is_count(0, MAX_TEXT), f"must be a whole number from 0 to {MAX_TEXT}"),
    "maxLength": (_is_count(1, MAX_TEXT), f"must be a whole number from 1 to {MAX_TEXT}"),
    "minItems": (_is_count(0, 1000), "must be a whole number from 0 to 1000"),
    "maxItems": (_is_count(1, 1000), "must be a whole number from 1 to 1000"),
    "uniqueItems": (lambda value: value is True, "must be true"),
    "pattern": (_is_text(500), "must be text of 1 to 500 characters"),
    "format": (lambda value: value in {"date", "email", "uri"}, "must be date, email or uri"),
    "x-price": (_is_price, "must be a price per month of 0 or more, with at most 4 decimals"),
    "x-unit": (_is_text(20), "must be 1 to 20 characters"),
    "x-pattern-message": (_is_text(200), "must be one line of 1 to 200 characters"),
}
_ALWAYS = {"type", "title", "description"}
_FITS = {
    "form": {"$schema", "properties", "required", "additionalProperties"},
    "object": {"properties", "required", "additionalProperties"},
    "choice": {"oneOf", "default"},
    "string": {"default", "minLength", "maxLength", "pattern", "format", "x-pattern-message"},
    "integer": {"default", "minimum", "maximum", "multipleOf", "x-unit", "x-price"},
    "number": {"default", "minimum", "maximum", "multipleOf", "x-unit", "x-price"},
    "boolean": {"default", "x-price"},
    "array": {"default", "items", "uniqueItems", "minItems", "maxItems"},
    "items": {"enum", "oneOf"},
}
_SCALARS = {"string": str, "integer": int, "number": int | float}


def _keywords(spec: dict[str, Any], kind: str, pointer: str) -> Iterator[Problem]:
    """Yield each keyword that is unknown, out of place, or holds what it may not hold."""
    for key, value in spec.items():
        here = step(pointer, key)
        if key not in _KEYWORDS and key not in {"type", "default"}:
            yield Problem(here, f"“{bounds.legible(key[:60])}” is not part of order forms")
        elif key not in _FITS[kind] | _ALWAYS:
            yield Problem(here, f"“{key}” has no place here: this is {_KINDS[kind]}")
        elif key in _KEYWORDS and not _holds(key, value):
            yield Problem(here, f"“{key}” {_KEYWORDS[key][1]}")


def _holds(key: str, value: Any) -> bool:
    check = _KEYWORDS[key][0]
    return not (key == "format" and not isinstance(value, str)) and check(value)


_KINDS = {
    "form": "the form itself",
    "object": "a group of fields",
    "choice": "a choice",
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "a yes or no",
    "array": "a list of choices",
    "items": "what a list may hold",
}


# --- the form, its fields, their parts --------------------------------------------------------------


def _form(schema: dict[str, Any]) -> Iterator[Problem]:
    if schema.get("type") != "object":
        yield Problem("/type", "“type” of the form must be object")
    yield from _object(schema, "form", "")
    if _count(schema) > MAX_FIELDS:
        yield Problem("/properties", f"A form may have at most {MAX_FIELDS} fields, those of groups included")


def _count(schema: dict[str, Any]) -> int:
    below = schema.get("properties")
    if not isinstance(below, dict):
        return 0
    return len(below) + sum(_count(spec) for spec in below.values() if isinstance(spec, dict))


def _object(spec: dict[str, Any], kind: str, pointer: str) -> Iterator[Problem]:
    yield from _keywords(spec, kind, pointer)
    below = spec.get("properties")
    if not isinstance(below, dict):
        if "properties" not in spec:
            yield Problem(pointer + "/properties", "“properties” is missing (it may be empty)")
        return
    yield from _required(spec.get("required", []), below, pointer + "/required")
    for name, inner in below.items():
        here = step(pointer + "/properties", name)
        if not _NAME.fullmatch(name):
            yield Problem(here, "A field name starts with a-z and has at most 40 of a-z, 0-9 and _")
        yield from _field(inner, here, nested=kind == "object")


def _required(names: Any, below: dict[str, Any], pointer: str) -> Iterator[Problem]:
    if not isinstance(names, list):
        return  # told already as a keyword that holds the wrong thing
    for number, name in enumerate(names):
        if not isinstance(name, str) or name not in below:
            yield Problem(step(pointer, number), "This is not the name of a field")
        elif name in names[:number]:
            yield Problem(step(pointer, number), "This field is named twice")


def _field(spec: Any, pointer: str, *, nested: bool) -> Iterator[Problem]:
    if not isinstance(spec, dict):
        yield Problem(pointer, "A field must be an object")
        return
    kind = _kind(spec)
    if not kind or (kind == "object" and nested):
        yield from (found for found in _keywords(spec, "choice", pointer) if "is not part" in found.message)
        yield Problem(pointer + "/type", _KIND_WANTED if not nested else _KIND_WANTED_IN_GROUP)
        return
    if "title" not in spec:
        yield Problem(pointer, "A field needs a “title”")
    if kind == "object":
        yield from _object(spec, "object", pointer)
        return
    found = list(_keywords(spec, kind, pointer))
    yield from found or (_CHECKS[kind](spec, pointer) if kind in _CHECKS else ())


def _kind(spec: dict[str, Any]) -> str:
    """Name the kind of a field, or give an empty text where it has none that a form knows."""
    if "oneOf" in spec:
        return "choice"
    wanted = spec.get("type")
    return wanted if isinstance(wanted, str) and wanted in _TYPES else ""


_TYPES = {"string", "integer", "number", "boolean", "array", "object"}

_KIND_WANTED_IN_GROUP = "A field needs “oneOf” or the type string, integer, number, boolean or array"
_KIND_WANTED = _KIND_WANTED_IN_GROUP + "; a group of fields has the type object, one level deep"


def _string(spec: dict[str, Any], pointer: str) -> Iterator[Problem]:
    yield from _ordered(spec, "minLength", "maxLength", pointer)
    if "pattern" in spec and not _compiles(spec["pattern"]):
        yield Problem(pointer + "/pattern", _PATTERN_REFUSED)
    if "x-pattern-message" in spec and "pattern" not in spec:
        yield Problem(pointer + "/x-pattern-message", "“x-pattern-message” needs a “pattern”")


_PATTERN_REFUSED = "The pattern is too large or asks for too much; limit lengths by “maxLength”"


def _compiles(pattern: str) -> bool:
    """Say whether both linear-time engines take `pattern`: RE2, and the one of the validator."""
    options = re2.Options()
    options.log_errors = False
    options.max_mem = values.PATTERN_BYTES
    try:
        re2.compile(pattern, options)
    except re2.error:
        return False
    return values.compiles({"type": "string", "pattern": pattern})


def _number(spec: dict[str, Any], pointer: str) -> Iterator[Problem]:
    if spec["type"] == "integer":
        for key in ("minimum", "maximum", "multipleOf"):
            if not isinstance(spec.get(key, 0), int):
                yield Problem(step(pointer, key), f"“{key}” of a whole number must be a whole number")
    yield from _ordered(spec, "minimum", "maximum", pointer)
    if "multipleOf" in spec and values.smallest(spec) > Decimal(str(spec.get("maximum", bounds.MAX_NUMBER))):
        yield Problem(pointer + "/multipleOf", "No multiple lies between “minimum” and “maximum”")
    if "x-price" in spec:
        if spec.get("minimum", -1) < 0 or "maximum" not in spec:
            yield Problem(pointer + "/x-price", "A number with a price needs a “minimum” of 0 or more and a “maximum”")
        elif values.price(spec) * Decimal(str(spec["maximum"])) > MAX_EFFECT:
            yield Problem(pointer + "/x-price", "“x-price” times “maximum” is more than a billion a month")


def _choice(spec: dict[str, Any], pointer: str) -> Iterator[Problem]:
    wanted = spec.get("type", _name_of(spec["oneOf"][0]))
    if not isinstance(wanted, str) or wanted not in _SCALARS:
        yield Problem(pointer + "/type", "The values of a choice are of type string, integer or number")
        return
    titles: set[str] = set()
    for number, choice in enumerate(spec["oneOf"]):
        here = step(pointer + "/oneOf", number)
        yield from _one_choice(choice, here)
        title = choice.get("title") if isinstance(choice, dict) else None
        if isinstance(title, str):
            if title.casefold() in titles:
                yield Problem(here + "/title", "Two choices have this title")
            titles.add(title.casefold())
    consts = [choice.get("const") if isinstance(choice, dict) else None for choice in spec["oneOf"]]
    yield from _constants(consts, wanted, pointer + "/oneOf", "/const")


def _name_of(choice: Any) -> str:
    """Name the type that the first choice sets for all where the form does not name it."""
    first = choice.get("const") if isinstance(choice, dict) else None
    return "string" if isinstance(first, str) or not _is_number(first) else "number"


def _one_choice(choice: Any, pointer: str) -> Iterator[Problem]:
    if not isinstance(choice, dict):
        yield Problem(pointer, "A choice must be an object with “const” and “title”")
        return
    for key in ("const", "title"):
        if key not in choice:
            yield Problem(pointer, f"A choice needs a “{key}”")
    for key, value in choice.items():
        if key not in {"const", "title", "description", "x-price"}:
            yield Problem(step(pointer, key), f"“{bounds.legible(key[:60])}” is not part of a choice")
        elif key != "const" and not _holds(key, value):
            yield Problem(step(pointer, key), f"“{key}” {_KEYWORDS[key][1]}")


def _constants(consts: list[Any], wanted: str, pointer: str, suffix: str) -> Iterator[Problem]:
    """Yield each value of a choice that a form could not send back unchanged, or that stands there twice."""
    seen: set[Any] = set()
    tidy = _is_text(200)
    for number, const in enumerate(consts):
        here = step(pointer, number) + suffix
        if isinstance(const, bool) or not isinstance(const, _SCALARS[wanted]):
            yield Problem(here, f"This must be a {wanted}: the values of a choice are all of one type")
        elif isinstance(const, str) and not tidy(const):
            yield Problem(here, "This must be one line of 1 to 200 characters, without spaces at its ends")
        elif const in seen:
            yield Problem(here, "This value is there twice")
        else:
            seen.add(const)


def _array(spec: dict[str, Any], pointer: str) -> Iterator[Problem]:
    items, here = spec.get("items"), pointer + "/items"
    if not isinstance(items, dict):
        yield Problem(here, "A list of choices needs “items” with “enum” or “oneOf”")
        return
    found = list(_keywords(items, "items", here))
    if not found and ("enum" in items) == ("oneOf" in items):
        found = [Problem(here, "“items” needs either “enum” or “oneOf”")]
    if found:
        yield from found
        return
    if "oneOf" in items:
        yield from _choice(items, here)
    else:
        wanted = items.get("type", _name_of({"const": items["enum"][0]}))
        known = isinstance(wanted, str) and wanted in _SCALARS
        yield from _constants(items["enum"], wanted if known else "string", here + "/enum", "")
    yield from _ordered(spec, "minItems", "maxItems", pointer)
    if spec.get("minItems", 0) > len(values.choices(items)):
        yield Problem(pointer + "/minItems", "“minItems” is more than there are choices")


def _ordered(spec: dict[str, Any], low: str, high: str, pointer: str) -> Iterator[Problem]:
    if low in spec and high in spec and spec[low] > spec[high]:
        yield Problem(step(pointer, low), f"“{low}” is more than “{high}”")


_CHECKS: dict[str, Callable[[dict[str, Any], str], Iterable[Problem]]] = {
    "choice": _choice,
    "string": _string,
    "integer": _number,
    "number": _number,
    "array": _array,
}


def _bad_defaults(schema: dict[str, Any], pointer: str) -> Iterator[Problem]:
    """Yield each default that the form itself would refuse, one field at a time."""
    for name, spec in schema["properties"].items():
        here = step(pointer + "/properties", name)
        if spec.get("type") == "object":
            yield from _bad_defaults(spec, here)
        elif "default" in spec:
            alone = {"type": "object", "properties": {name: spec}}
            for sentence in values.clean(alone, {})[1].values():
                yield Problem(here + "/default", f"The default does not fit: {sentence}")
