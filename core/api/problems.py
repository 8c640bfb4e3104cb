"""Refusals as problem+json (RFC 9457), whatever raised them."""

import logging
import math
from typing import Any

from django.core.exceptions import PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import Http404
from rest_framework import exceptions
from rest_framework.response import Response

from core.parameters.bounds import step
from core.problems import Conflict, Invalid
from core.states import IllegalMove
from core.transactions import Busy, is_unreachable

logger = logging.getLogger(__name__)


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
        return _retry_after(ProblemResponse(503, TITLES[503], "The database cannot be reached.", code="busy"), 2)
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
        response["Retry-After"] = str(max(1, math.ceil(seconds)))
    return response


def _pointers(detail: Any, pointer: str = "") -> list[tuple[str, str]]:
    """Flatten a serializer's errors into (JSON pointer, sentence)."""
    if isinstance(detail, dict):
        found = []
        for name, inner in detail.items():
            found += _pointers(inner, pointer if name == "non_field_errors" else step(pointer, name))
        return found
    if isinstance(detail, list):
        if all(isinstance(item, str) for item in detail):
            return [(pointer, " ".join(str(item) for item in detail))]
        return [pair for index, item in enumerate(detail) for pair in _pointers(item, step(pointer, index))]
    return [(pointer, str(detail))]
