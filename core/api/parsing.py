"""JSON without tricks: what a body may be, before anybody looks at what it means."""

import json
import math
from typing import Any

from rest_framework import exceptions, parsers, status

from core.parameters.bounds import legible, step
from core.problems import Invalid

MAX_BODY_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_DIGITS = 40  # far beyond any number that a form takes
UNSTORABLE = "This text has a character that cannot be stored."


class TooLarge(exceptions.APIException):
    """The body is larger than any route takes."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {MAX_BODY_BYTES // 1024} KiB."
    default_code = "too-large"


class StrictJSONParser(parsers.BaseParser):
    """JSON as RFC 8259 means it: one value a name, no NaN, nothing that the database cannot hold."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Give the parsed body. Raises Invalid with the pointer of what is wrong, or TooLarge."""
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise TooLarge
        try:
            value = json.loads(
                raw.decode("utf-8"),
                object_pairs_hook=_distinct,
                parse_constant=_no_constant,
                parse_int=_bounded_int,
                parse_float=_finite_float,
            )
        except UnicodeDecodeError as error:
            raise Invalid({"": "The body is not UTF-8."}) from error
        except (ValueError, RecursionError) as error:
            raise Invalid({"": f"The body is not valid JSON: {_first_line(error)}"}) from error
        _check_text(value, "", 0)
        return value


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    return legible((str(error).splitlines() or ["?"])[0][:200])


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice in one object.")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number.")


def _bounded_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError("a number has too many digits.")
    return int(digits)


def _finite_float(digits: str) -> float:
    number = float(digits)
    if not math.isfinite(number):
        raise ValueError("a number is too large.")
    return number


def _check_text(value: Any, pointer: str, depth: int) -> None:
    """Refuse strings with NUL or lone surrogates, and nesting that no route needs."""
    if depth > MAX_DEPTH:
        raise Invalid({pointer: "The body is nested too deeply."})
    if isinstance(value, str):
        if not _storable(value):
            raise Invalid({pointer: UNSTORABLE})
    elif isinstance(value, dict):
        for name, item in value.items():
            if not _storable(name):
                raise Invalid({pointer: "A name in this object has a character that cannot be stored."})
            _check_text(item, step(pointer, name), depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_text(item, step(pointer, index), depth + 1)


def _storable(text: str) -> bool:
    return legible(text) == text
