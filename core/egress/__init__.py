"""The one way out: calls to addresses that may be reached, and to no others. docs/egress.md says the rules."""

from core.egress.answers import (
    Answer,
    BadAnswer,
    Canceled,
    EgressError,
    Refused,
    TooLarge,
    TooSlow,
    Unreachable,
)
from core.egress.client import MAX_BYTES, SECONDS, call
from core.egress.targets import Target, check, parse

__all__ = [
    "MAX_BYTES",
    "SECONDS",
    "Answer",
    "BadAnswer",
    "Canceled",
    "EgressError",
    "Refused",
    "Target",
    "TooLarge",
    "TooSlow",
    "Unreachable",
    "call",
    "check",
    "parse",
]
