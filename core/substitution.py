"""Values put into templates: `${root.name}`. Names and places only; no code, no filters.

A template is any JSON value. In its texts, `${parameters.size}` stands for a value, `${outputs.hosts[0]}` for an
entry of a list, and `$${` is a literal `${`. A text that is exactly one placeholder becomes the value itself, of
whatever type; within a longer text it is written out. Keys of objects are literal. There is one pass: what a value
contains is never looked at again, so that nothing a person typed can name anything.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from core.parameters.bounds import MAX_BYTES, MAX_POINTER, Fault, faults, legible, step

# What may be named below a name: None is anything, a mapping says the same of each name in it, any other
# collection lists the names alone.
Names = Collection[str] | None

# Deeper than an order form: what a container of a Kubernetes manifest takes lies 12 levels down.
MAX_DEPTH = 20

_NAME = r"[A-Za-z_][A-Za-z0-9_-]*"
_PATH = re.compile(rf"{_NAME}(?:\.{_NAME}|\[[0-9]{{1,4}}\])*")
_PART = re.compile(rf"({_NAME})|\[([0-9]+)\]")
# The literal, a whole placeholder, or one that is not closed.
_MARK = re.compile(r"\$\$\{|\$\{([^}]*)\}|\$\{")
_BOUNDS = {
    "size": "The template may have at most 64 kB.",
    "depth": "The template may be nested at most 20 levels deep.",
    "text": "A text has a character that cannot be stored (NUL or half of a surrogate pair).",
    "number": "A number has more than 15 digits.",
    "type": "This is not a JSON value.",
}


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong in a template: its JSON pointer (RFC 6901), and a sentence."""

    pointer: str
    message: str


class Unfilled(Exception):  # noqa: N818 (what the template is)
    """A template names a value that is not there: `pointer` says where, `message` what."""

    def __init__(self, pointer: str, message: str) -> None:
        super().__init__(f"{pointer}: {message}" if pointer else message)
        self.pointer = pointer
        self.message = message


def check(template: Any, roots: Mapping[str, Names]) -> list[Problem]:
    """List what is wrong in `template`, where only `roots` and the names below them may be named.

    Takes any Python value and never raises. Bounds: 64 kB, 20 levels.
    """
    broken = faults(template, max_depth=MAX_DEPTH)
    if broken:
        return [Problem(fault.pointer, _BOUNDS[fault.kind]) for fault in broken]
    return [
        Problem(pointer, message)
        for pointer, text in _texts(template, "")
        for path in _placeholders(text)
        if (message := _problem(path, roots))
    ]


def named(template: Any) -> list[tuple[str, list[str | int]]]:
    """List what `template` names: the JSON pointer of each text, and the path in it, such as ["outputs", "hosts", 0].

    What is not well written is left out; `check` tells of it. Raises ValueError for what is too large or too deep.
    """
    _bounded(template)
    return [
        (pointer, _parts(path))
        for pointer, text in _texts(template, "")
        for path in _placeholders(text)
        if path is not None and _PATH.fullmatch(path)
    ]


def fill(template: Any, values: Mapping[str, Any], *, paths: Collection[str] = ()) -> Any:
    """Give a copy of `template` with its values put in; what it holds besides stays as it is.

    The texts at the JSON pointers `paths` are paths of addresses: what is put into them is percent-encoded
    (RFC 3986, 2.1), so that a value is one part of a path and never leads to another place.
    Raises Unfilled for what is not there and for what `check` would have refused.
    """
    fault = _first_fault(template)
    if fault:
        raise Unfilled(fault.pointer, _BOUNDS[fault.kind])
    return _filled(template, values, "", paths)


def _first_fault(template: Any) -> Fault | None:
    return next(iter(faults(template, max_depth=MAX_DEPTH)), None)


def _bounded(template: Any) -> None:
    if _first_fault(template):
        raise ValueError(f"A template has at most {MAX_BYTES} bytes, {MAX_DEPTH} levels, and JSON values.")


def _texts(template: Any, pointer: str) -> Iterator[tuple[str, str]]:
    """Yield each text of the template with its JSON pointer."""
    if isinstance(template, str):
        yield pointer, template
    elif isinstance(template, dict):
        for key, inner in template.items():
            yield from _texts(inner, step(pointer, key))
    elif isinstance(template, list):
        for number, inner in enumerate(template):
            yield from _texts(inner, step(pointer, number))


def _placeholders(text: str) -> Iterator[str | None]:
    """Yield what stands in each placeholder of `text`; None for one that is not closed."""
    for mark in _MARK.finditer(text):
        if mark.group() != "$${":
            yield mark.group(1)


def _problem(path: str | None, roots: Mapping[str, Names]) -> str:
    """Say what is wrong with one placeholder; an empty text for nothing."""
    if path is None:
        return "“${” is not closed by “}”. Write “$${” for a literal “${”."
    if not _PATH.fullmatch(path):
        return (
            f"“{_shown(path)}” is not the name of a value. Write, for example, ${{parameters.size}} or "
            f"${{outputs.hosts[0]}}; “$${{” is a literal “${{”."
        )
    below: Names = roots
    said = ""
    for part in _parts(path):
        if below is None or isinstance(part, int):
            return ""
        if part not in below:
            return _unknown(said, part, below)
        said = f"{said}.{part}" if said else part
        below = below[part] if isinstance(below, Mapping) else None
    if said in roots:
        return f"“{said}” alone is no value. Name one of it: {_listed(roots[said])}."
    return ""


def _unknown(said: str, part: str, known: Collection[str]) -> str:
    if not said:
        return f"There is nothing named “{_shown(part)}”. Known: {_listed(known)}."
    if not known:
        return f"“{said}” has nothing named “{_shown(part)}”."
    return f"“{said}” has nothing named “{_shown(part)}”. Known: {_listed(known)}."


def _listed(known: Names) -> str:
    return ", ".join(sorted(known)) if known else "any name"


def _shown(text: str) -> str:
    return legible(text[:MAX_POINTER])


def _parts(path: str) -> list[str | int]:
    return [int(number) if number else name for name, number in _PART.findall(path)]


def _filled(template: Any, values: Mapping[str, Any], pointer: str, paths: Collection[str]) -> Any:
    if isinstance(template, str):
        fill_text = _filled_path if pointer in paths else _filled_text
        return fill_text(template, values, pointer)
    if isinstance(template, dict):
        return {key: _filled(inner, values, step(pointer, key), paths) for key, inner in template.items()}
    if isinstance(template, list):
        return [_filled(inner, values, step(pointer, number), paths) for number, inner in enumerate(template)]
    return template


def _filled_path(text: str, values: Mapping[str, Any], pointer: str) -> str:
    def part(mark: re.Match[str]) -> str:
        if mark.group() == "$${":
            return "${"
        written = _written(_value(mark.group(1), values, pointer))
        if not written and "?" not in text[: mark.start()]:
            raise Unfilled(pointer, f"${{{_shown(mark.group(1))}}} is empty, and would lead to another place.")
        return quote(written, safe="")

    return _MARK.sub(part, text)


def _filled_text(text: str, values: Mapping[str, Any], pointer: str) -> Any:
    whole = _MARK.fullmatch(text)
    if whole and whole.group() != "$${":
        return _value(whole.group(1), values, pointer)
    return _MARK.sub(
        lambda mark: "${" if mark.group() == "$${" else _written(_value(mark.group(1), values, pointer)), text
    )


def _value(path: str | None, values: Mapping[str, Any], pointer: str) -> Any:
    """Look up what one placeholder names. Raises Unfilled."""
    if path is None or not _PATH.fullmatch(path):
        raise Unfilled(pointer, f"“${{{_shown(path or '')}” does not name a value.")
    found: Any = values
    for part in _parts(path):
        try:
            found = _below(found, part)
        except LookupError as error:
            raise Unfilled(pointer, f"There is no value for ${{{_shown(path)}}}.") from error
    return found


def _below(value: Any, part: str | int) -> Any:
    """Give one entry of an object or a list, and of nothing else: no attribute of any Python object."""
    if isinstance(part, int):
        if isinstance(value, list | tuple):
            return value[part]
    elif isinstance(value, Mapping):
        return value[part]
    raise LookupError(part)


def _written(value: Any) -> str:
    """Write a value out within a text: decimals plain, no value as nothing, lists and objects as JSON."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, Decimal):
        return f"{value:f}"
    if isinstance(value, float):
        return f"{Decimal(repr(value)):f}"
    if isinstance(value, Mapping | list | tuple):
        return json.dumps(value, ensure_ascii=False, default=_written)
    return str(value)
