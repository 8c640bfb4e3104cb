"""What comes in: JSON without tricks, fields of the right type, no name that nobody knows."""

import json
import math
from typing import Any, TypeVar

from rest_framework import exceptions, parsers, serializers, status
from rest_framework.request import Request

from core.parameters.bounds import legible, step
from core.problems import Invalid

MAX_BODY_BYTES = 256 * 1024
MAX_DEPTH = 20
MAX_DIGITS = 40  # far beyond any number that a form takes
MAX_UNKNOWN = 20  # one answer names this many unknown fields
UNSTORABLE = "This text has a character that cannot be stored."

Query = TypeVar("Query", bound=serializers.Serializer)


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


class TextField(serializers.CharField):
    """Text that is text: no number or truth value is taken for one, and white space counts."""

    def __init__(self, **options: Any) -> None:
        options = {"trim_whitespace": False, "allow_blank": True, "max_length": 300} | options
        super().__init__(**options)

    default_error_messages = {
        "invalid": "This must be text.",
        "required": "This field is needed.",
        "null": "This must be text.",
        "max_length": "This must be {max_length} characters or fewer.",
    }

    def to_internal_value(self, data: Any) -> str:
        """Give the text as it is. Raises ValidationError for anything else."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class StrictSerializer(serializers.Serializer[Any]):
    """An object with the declared fields and no others. `refused` says why a known name is not taken yet."""

    refused: dict[str, str] = {}
    default_error_messages = {"invalid": "The body must be a JSON object."}

    def to_internal_value(self, data: Any) -> Any:
        """Give the values. Raises ValidationError with every fault, unknown names among them."""
        found: dict[str, Any] = {}
        values: Any = None
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            found = dict(error.detail)  # type: ignore[arg-type]
        if isinstance(data, dict):
            for name in [name for name in data if name not in self.fields][:MAX_UNKNOWN]:
                found[name] = [self.refused.get(name, f"There is no field named “{name[:60]}”.")]
        if found:
            raise serializers.ValidationError(found)
        return values


def no_body(request: Request) -> None:
    """Refuse a body where none is needed: nothing, or an empty object. Raises Invalid."""
    if request.data != {}:
        names = list(request.data) if isinstance(request.data, dict) else []
        raise Invalid(
            {step("", name): f"There is no field named “{name[:60]}”." for name in names[:MAX_UNKNOWN]}
            or {"": "The body must be an empty JSON object, or no body at all."}
        )


def query_of(request: Request, kind: type[Query], *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read what stands behind the `?` as `kind` says; `also` names parameters that someone else reads.

    Raises Invalid with each parameter that is unknown, stands twice or has no such value.
    """
    given = request.query_params
    errors = {}
    known = set(kind().fields) | set(also)
    for name, values in given.lists():
        if name not in known:
            errors[step("", name)] = f"There is no parameter “{legible(name[:60])}” here." + (
                f" There are: {', '.join(sorted(known))}." if known else ""
            )
        elif len(values) > 1:
            errors[step("", name)] = f"The parameter “{name}” stands twice."
    read = kind(data={name: given[name] for name in given if name in known and name not in also})
    if not read.is_valid():
        errors |= {step("", name): " ".join(map(str, faults)) for name, faults in read.errors.items()}
    if errors:
        raise Invalid(dict(list(errors.items())[:MAX_UNKNOWN]))
    return dict(read.validated_data)
