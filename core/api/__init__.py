"""What every route of the API shares: strict JSON in, problem+json out, pages by cursor, its own description."""

from core.api.input import (
    MAX_BODY_BYTES,
    StrictJSONParser,
    StrictSerializer,
    TextField,
    TooLarge,
    no_body,
    query_of,
)
from core.api.output import Amount, Moment, Money, Own, amount
from core.api.pages import KeysetPagination
from core.api.problems import ProblemResponse, invalid, problem
from core.api.schema import Schema, is_of_the_api

__all__ = [
    "MAX_BODY_BYTES",
    "Amount",
    "KeysetPagination",
    "Moment",
    "Money",
    "Own",
    "ProblemResponse",
    "Schema",
    "StrictJSONParser",
    "StrictSerializer",
    "TextField",
    "TooLarge",
    "amount",
    "invalid",
    "is_of_the_api",
    "no_body",
    "problem",
    "query_of",
]
