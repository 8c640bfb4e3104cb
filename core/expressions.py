"""Conditions and rules over facts in the Common Expression Language (CEL): one function that fails closed.

`check` judges an expression when somebody saves it, `holds` answers it. The library gives errors back as values
that Python takes for true, so an answer counts only where it has the type BOOL and is True or False itself.
All sizes are bounded: 2 kB of expression, 64 kB of facts, no macro within a macro and none that builds new lists, so
that an answer takes a few milliseconds at most, whatever was written.
"""

import math
import re
from collections.abc import Collection, Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import lru_cache
from typing import Any
from uuid import UUID

from cel_expr_python import cel

MAX_LENGTH = 2000  # characters
MAX_FACTS = 64 * 1024  # about as many bytes of JSON
MAX_TEXT = 10_000  # characters of one text
MAX_VALUES = 2000
MAX_DEPTH = 10
_TYPES = {
    "any": cel.Type.DYN,
    "bool": cel.Type.BOOL,
    "int": cel.Type.INT,
    "double": cel.Type.DOUBLE,
    "string": cel.Type.STRING,
    "list": cel.Type.List(cel.Type.DYN),
    "map": cel.Type.Map(cel.Type.STRING, cel.Type.DYN),
}
# What is known of a variable: its type (a key of _TYPES); or the names that it holds, None for any.
Declared = str | Collection[str] | None

_QUOTED = re.compile(r"\"\"\".*?\"\"\"|'''.*?'''|\"(?:\\.|[^\"\\\n])*\"|'(?:\\.|[^'\\\n])*'|//[^\n]*", re.DOTALL)
_MACRO = re.compile(r"\.\s*(all|exists|exists_one|filter|map|matches)\s*\(|[()]")
_USE = re.compile(r"(?<![\w.])([A-Za-z_]\w*)\s*\.\s*([A-Za-z_]\w*)(?!\w)(?!\s*\()")
_POSITION = re.compile(r"<input>:(\d+):(\d+): (.*)")
_UNREADABLE = re.compile("[\0\ud800-\udfff]")
# The largest whole number that CEL has: 64 bits with sign.
_MAX_INT = 2**63


class Unanswered(Exception):  # noqa: N818 (what the question is)
    """The expression has no answer of yes or no for these facts: whoever asked must not go on as if it said yes."""


def check(expression: str, declared: Mapping[str, Declared]) -> str:
    """Say what keeps `expression` from being a condition over `declared` variables; an empty text for nothing.

    The sentence names line and column where it is a matter of place. Never raises, whatever the text is.
    """
    if not expression.strip():
        return "Enter a condition."
    if len(expression) > MAX_LENGTH:
        return f"A condition may have at most {MAX_LENGTH} characters."
    if not _is_storable(expression):
        return "The condition has a character that cannot be read (NUL or half of a surrogate pair)."
    bare = _without_texts(expression)
    problem = _macro_problem(bare)
    if problem:
        return problem
    try:
        compiled = _compiled(expression, frozenset((name, _type_name(kind)) for name, kind in declared.items()))
    except Unanswered as error:
        return str(error)
    if compiled.return_type() not in (cel.Type.BOOL, cel.Type.DYN):
        return f"A condition must be true or false; this one gives {str(compiled.return_type()).lower()}."
    return _unknown_name(bare, declared)


def holds(expression: str, facts: Mapping[str, Any]) -> bool:
    """Answer `expression` for `facts`: True only where it is exactly true.

    Facts are JSON values; besides them decimals (read as `double`), UUIDs (as text), dates and times (as RFC 3339
    text in UTC, for `timestamp(...)`; a date is its midnight), tuples and sets (as lists; sets sorted). Raises
    Unanswered for everything that is neither true nor false: a missing value, a wrong type, too much work, facts or
    expression beyond the bounds.
    """
    if len(expression) > MAX_LENGTH or not _is_storable(expression):
        raise Unanswered(f"A condition may have at most {MAX_LENGTH} readable characters.")
    problem = _macro_problem(_without_texts(expression))
    if problem:
        raise Unanswered(problem)
    plain = _Facts().plain(facts, "", 0)
    compiled = _compiled(expression, frozenset((name, "any") for name in plain))
    try:
        answer = compiled.eval(data=plain)
        kind, value = answer.type(), answer.value()
    except RuntimeError as error:
        raise Unanswered(_tidy(str(error))) from error
    if kind == cel.Type.ERROR:
        raise Unanswered(_tidy(str(value)))
    if kind != cel.Type.BOOL or not isinstance(value, bool):
        raise Unanswered(f"The answer is {str(kind).lower()}, not true or false.")
    return value is True


def named(expression: str) -> list[tuple[str, str]]:
    """List what `expression` names below its variables, such as ("parameters", "size"); not its calls and texts."""
    return [found.groups() for found in _USE.finditer(_without_texts(expression))]  # type: ignore[misc]


def _type_name(declared: Declared) -> str:
    return declared if isinstance(declared, str) else "map"


@lru_cache(maxsize=512)
def _compiled(expression: str, variables: frozenset[tuple[str, str]]) -> cel.Expression:
    """Compile once per expression and set of variables. Raises Unanswered with line and column."""
    try:
        environment = cel.NewEnv(variables={name: _TYPES[kind] for name, kind in variables})
        return environment.compile(expression)
    except RuntimeError as error:
        raise Unanswered(_compile_problem(expression, str(error))) from error


def _compile_problem(expression: str, report: str) -> str:
    """Word the first error that the compiler reports; it counts lines and columns from 1."""
    found = _POSITION.search(report)
    if found is None:
        return "This condition is nested too deeply." if "recursion" in report else _tidy(report)
    line, column, message = int(found[1]), int(found[2]), found[3]
    if line < 1:
        return "This condition is nested too deeply." if "recursion" in message else _tidy(message)
    message = re.sub(r" \(in container ''\)", "", message).removesuffix(" [INVALID_ARGUMENT]")
    message = re.sub(r", expecting \{.*| expecting \{.*", "", message)
    where = f"Line {line}, column {column}" if "\n" in expression.strip() else f"Column {column}"
    return f"{where}: {message.removeprefix('Syntax error: ')}."


def _tidy(report: str) -> str:
    """Take the library's status words off a message."""
    report = re.sub(r"^[A-Z_]+: |\s*\[[A-Z_]+\]$", "", report.strip())
    return report[:300] or "It could not be answered."


def _without_texts(expression: str) -> str:
    """Blank out texts and comments, so that what is left can be searched for names; places stay the same."""
    return _QUOTED.sub(lambda found: " " * len(found.group()), expression)


def _macro_problem(bare: str) -> str:
    """Refuse what could take long: macros and patterns within macros, and `map`, whose results can double."""
    within: list[bool] = []
    for found in _MACRO.finditer(bare):
        if found.group() == ")":
            if within:
                within.pop()
            continue
        macro = found.group(1)
        if macro == "map":
            return f"Column {found.start() + 1}: “map” is not available here."
        if macro and any(within):
            return f"Column {found.start() + 1}: “{macro}” may not stand within another “all”, “exists” or “filter”."
        within.append(macro not in {None, "matches"})
    return ""


def _unknown_name(bare: str, declared: Mapping[str, Declared]) -> str:
    """Find `root.name` where `root` holds no such name; the compiler sees only that `root` is an object."""
    for found in _USE.finditer(bare):
        root, name = found.groups()
        known = declared.get(root)
        if known is None or isinstance(known, str) or name in known:
            continue
        listed = f" Known: {', '.join(sorted(known))}." if known else ""
        return f"Column {found.start(2) + 1}: “{root}” has nothing named “{name}”.{listed}"
    return ""


def _is_storable(text: str) -> bool:
    return not _UNREADABLE.search(text)


class _Facts:
    """Turns facts into what the library reads as values, and counts how much they are."""

    def __init__(self) -> None:
        self.left, self.values = MAX_FACTS, MAX_VALUES

    def plain(self, value: Any, place: str, depth: int) -> Any:
        """Give `value` as JSON values and times. Raises Unanswered for what is too large or is no value."""
        self.values -= 1
        if self.values < 0 or depth > MAX_DEPTH:
            raise Unanswered("The facts are too many or nested too deeply to be judged.")
        if isinstance(value, Mapping):
            return {
                self._text(key, place): self.plain(inner, f"{place}.{key}", depth + 1) for key, inner in value.items()
            }
        if isinstance(value, list | tuple):
            return self._listed(value, place, depth)
        if isinstance(value, set | frozenset):
            return self._listed(sorted(value, key=str), place, depth)
        return self._scalar(value, place)

    def _listed(self, values: Iterable[Any], place: str, depth: int) -> list[Any]:
        return [self.plain(inner, f"{place}[{number}]", depth + 1) for number, inner in enumerate(values)]

    def _scalar(self, value: Any, place: str) -> Any:
        if value is None or isinstance(value, bool):
            return value
        if isinstance(value, str):
            return self._text(value, place)
        if isinstance(value, int) and -_MAX_INT <= value < _MAX_INT:
            return int(value)
        if isinstance(value, float | Decimal) and math.isfinite(value):
            return float(value)
        if isinstance(value, UUID):
            return str(value)
        if isinstance(value, datetime):
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        if isinstance(value, date):
            return f"{value.isoformat()}T00:00:00Z"
        raise Unanswered(f"The value of {place.removeprefix('.')} cannot be judged.")

    def _text(self, value: Any, place: str) -> str:
        if not isinstance(value, str) or len(value) > MAX_TEXT or not _is_storable(value):
            raise Unanswered(f"A text of {place.removeprefix('.') or 'the facts'} cannot be judged.")
        self.left -= len(value) + 2
        if self.left < 0:
            raise Unanswered("The facts are too large to be judged.")
        return str(value)
