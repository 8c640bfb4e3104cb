"""What every route of the API shares: strict JSON in, problem+json out, pages by cursor."""

import json
import logging
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import Http404
from rest_framework import exceptions, pagination, parsers, status
from rest_framework.response import Response
from rest_framework.views import set_rollback

from core.problems import Conflict, Invalid
from core.states import IllegalMove
from core.transactions import Busy, is_unreachable

logger = logging.getLogger(__name__)

MAX_BODY_BYTES = 256 * 1024
MAX_DEPTH = 20


class TooLarge(exceptions.APIException):
    """The body is larger than any route takes."""

    status_code = status.HTTP_413_REQUEST_ENTITY_TOO_LARGE
    default_detail = f"The body is larger than {MAX_BODY_BYTES // 1024} KiB."
    default_code = "too-large"


class StrictJSONParser(parsers.BaseParser):
    """JSON as RFC 8259 means it: one value a name, no NaN, nothing that the database cannot hold."""

    media_type = "application/json"

    def parse(self, stream: Any, media_type: str | None = None, parser_context: Any = None) -> Any:
        """Give the parsed body. Raises ParseError or Invalid with the pointer of what is wrong."""
        raw = stream.read(MAX_BODY_BYTES + 1)
        if len(raw) > MAX_BODY_BYTES:
            raise TooLarge
        try:
            value = json.loads(
                raw.decode("utf-8"),
                object_pairs_hook=_distinct,
                parse_constant=_no_constant,
                parse_int=_bounded_int,
            )
        except UnicodeDecodeError as error:
            raise exceptions.ParseError("The body is not UTF-8.") from error
        except (ValueError, RecursionError) as error:
            raise exceptions.ParseError(f"The body is not valid JSON: {_first_line(error)}") from error
        _check_text(value, "", 0)
        if not isinstance(value, dict | list):
            raise exceptions.ParseError("The body must be a JSON object.")
        return value


def _first_line(error: Exception) -> str:
    if isinstance(error, RecursionError):
        return "it is nested too deeply."
    return (str(error).splitlines() or ["?"])[0].encode("ascii", "backslashreplace").decode()[:200]


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise ValueError("a name stands twice in one object.")
    return value


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a JSON number.")


def _bounded_int(digits: str) -> int:
    if len(digits) > 40:  # noqa: PLR2004 (far beyond any number that a form takes)
        raise ValueError("a number has too many digits.")
    return int(digits)


def _check_text(value: Any, pointer: str, depth: int) -> None:
    """Refuse strings with NUL or lone surrogates, and nesting that no route needs."""
    if depth > MAX_DEPTH:
        raise exceptions.ParseError("The body is nested too deeply.")
    if isinstance(value, str):
        if "\0" in value or any("\ud800" <= character <= "\udfff" for character in value):
            raise Invalid({pointer or "": "This text has a character that cannot be stored."})
    elif isinstance(value, dict):
        for name, item in value.items():
            if "\0" in name or any("\ud800" <= character <= "\udfff" for character in name):
                raise Invalid({pointer: "A name in this object has a character that cannot be stored."})
            _check_text(item, f"{pointer}/{name.replace('~', '~0').replace('/', '~1')}", depth + 1)
    elif isinstance(value, list):
        for index, item in enumerate(value):
            _check_text(item, f"{pointer}/{index}", depth + 1)


class KeysetPagination(pagination.CursorPagination):
    """Pages by next and previous: equally fast on the last page as on the first, and no total."""

    ordering = ("-created_at", "-id")
    page_size_query_param = "page_size"
    max_page_size = 200


class ProblemResponse(Response):
    """An answer of type application/problem+json (RFC 9457)."""

    def __init__(self, status_code: int, title: str, detail: str, *, code: str = "", **more: Any) -> None:
        body = {
            "type": f"urn:greenlane:problem:{code}" if code else "about:blank",
            "title": title,
            "status": status_code,
        }
        super().__init__(
            {**body, "detail": detail, **more}, status=status_code, content_type="application/problem+json"
        )


TITLES = {
    400: "Your input is not valid",
    401: "Sign in first",
    403: "Not allowed",
    404: "Not found",
    405: "Method not allowed",
    406: "Not acceptable",
    409: "Not possible now",
    413: "Too large",
    415: "Unsupported media type",
    422: "This key was used for something else",
    429: "Too many requests",
    503: "Not available right now",
}


def problem(error: Exception, context: dict[str, Any]) -> Response | None:
    """Turn whatever a view raises into problem+json; None (a 500) for what nobody foresaw."""
    set_rollback()
    if isinstance(error, Invalid):
        return invalid(error.errors)
    if isinstance(error, Conflict):
        response = ProblemResponse(error.status, TITLES[error.status], str(error), code=error.code)
        return _retry_after(response, error.retry_after)
    if isinstance(error, IllegalMove):
        return ProblemResponse(409, TITLES[409], str(error), code="illegal-move")
    if isinstance(error, Busy):
        return _retry_after(ProblemResponse(503, TITLES[503], str(error), code="busy"), error.retry_after)
    if isinstance(error, DatabaseError | InterfaceError) and is_unreachable(error):
        logger.error("The database cannot be reached: %s", error)
        return _retry_after(
            ProblemResponse(503, TITLES[503], "The database cannot be reached.", code="busy"), 2
        )
    if isinstance(error, Http404):
        error = exceptions.NotFound("There is nothing here that you may see.")
    elif isinstance(error, PermissionDenied):
        error = exceptions.PermissionDenied(str(error) or None)
    if isinstance(error, exceptions.ValidationError):
        return invalid(dict(_pointers(error.detail)))
    if isinstance(error, exceptions.APIException):
        return _api_exception(error)
    return None


def invalid(errors: dict[str, str]) -> ProblemResponse:
    """Give the 400 that names every field by JSON pointer."""
    listed = [{"pointer": pointer, "detail": sentence} for pointer, sentence in errors.items()]
    return ProblemResponse(400, TITLES[400], " ".join(errors.values()), code="invalid", errors=listed)


def _api_exception(error: exceptions.APIException) -> Response:
    code = error.get_codes() if isinstance(error.detail, str) else error.default_code
    response = ProblemResponse(
        error.status_code,
        TITLES.get(error.status_code, "Error"),
        str(error.detail),
        code=str(code).replace("_", "-"),
    )
    if auth_header := getattr(error, "auth_header", None):
        response["WWW-Authenticate"] = auth_header
    return _retry_after(response, getattr(error, "wait", None))


def _retry_after(response: Response, seconds: float | None) -> Response:
    if seconds is not None:
        response["Retry-After"] = str(max(1, int(seconds)))
    return response


def _pointers(detail: Any, pointer: str = "") -> list[tuple[str, str]]:
    """Flatten a serializer's errors into (JSON pointer, sentence)."""
    if isinstance(detail, dict):
        found = []
        for name, inner in detail.items():
            step = "" if name == "non_field_errors" else f"/{name}"
            found += _pointers(inner, pointer + step)
        return found
    if isinstance(detail, list):
        if all(isinstance(item, str) for item in detail):
            return [(pointer, " ".join(str(item) for item in detail))]
        return [pair for index, item in enumerate(detail) for pair in _pointers(item, f"{pointer}/{index}")]
    return [(pointer, str(detail))]
