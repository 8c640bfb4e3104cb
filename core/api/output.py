"""What goes out: times in UTC, money as decimal text, answers that nobody keeps for others."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from drf_spectacular.types import OpenApiTypes
from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers
from rest_framework.request import Request
from rest_framework.response import Response

from core import money


@extend_schema_field(OpenApiTypes.DATETIME)
class Moment(serializers.Field[Any, Any, str, Any]):
    """A time as RFC 3339 says it, in UTC whatever zone the site keeps its books in."""

    def __init__(self, **options: Any) -> None:
        super().__init__(read_only=True, **options)

    def to_representation(self, value: datetime) -> str:
        """Give `2026-11-24T09:30:00.000000Z`."""
        return value.astimezone(UTC).replace(tzinfo=None).isoformat(timespec="microseconds") + "Z"


@extend_schema_field({"type": "string", "pattern": r"^-?[0-9]+(\.[0-9]+)?$", "examples": ["38.00"]})
class Amount(serializers.CharField):
    """An amount of money as decimal text, with the digits of its currency."""


class Money(serializers.Serializer[Any]):
    """What it costs: once, and each month."""

    one_off = Amount()
    monthly = Amount()
    currency = serializers.CharField(help_text="ISO 4217, such as USD.")


def amount(value: Decimal, currency: str) -> str:
    """Write `value` with the digits of `currency`: "38.00"."""
    return f"{money.quantize(value, currency):f}"


class Own:
    """A view whose answers are one person's own: no cache on the way keeps them."""

    def finalize_response(self, request: Request, response: Response, *args: Any, **kwargs: Any) -> Response:
        """Say so in each answer, refusals too."""
        answer: Response = super().finalize_response(request, response, *args, **kwargs)  # type: ignore[misc]
        answer["Cache-Control"] = "no-store"
        return answer
