"""What a call to the outside gives, and the ways in which it gives nothing."""

import json
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, NoReturn

UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class EgressError(Exception):
    """A call gave no answer; `str()` says why, without path, query or headers of the call.

    `sent`: the far side may have acted on it. False: it has certainly not heard of it.
    """

    sent = False

    def __init__(self, reason: str, *, sent: bool | None = None) -> None:
        super().__init__(reason)
        if sent is not None:
            self.sent = sent


class Refused(EgressError):  # noqa: N818 (what became of it)
    """The address or the request is not allowed: trying again does not help, and nothing was sent."""


class Unreachable(EgressError):  # noqa: N818 (what the far side is)
    """The far side could not be reached, or broke off (then `sent`)."""


class TooSlow(EgressError):  # noqa: N818 (what the far side is)
    """The whole answer was not there in time."""

    sent = True


class TooLarge(EgressError):  # noqa: N818 (what the answer is)
    """The answer is larger than allowed, packed or unpacked, or its headers are."""

    sent = True


class BadAnswer(EgressError):  # noqa: N818 (what came)
    """What came back is no HTTP, or not what it says it is."""

    sent = True


class Canceled(EgressError):  # noqa: N818 (what became of it)
    """Who made the call may not go on with it."""

    sent = True


@dataclass(frozen=True)
class Answer:
    """One HTTP answer, whatever its status. `headers` are read in any case; several of one name are joined."""

    status: int
    headers: Mapping[str, str]
    body: bytes = field(repr=False)

    def json(self) -> Any:
        """Read the body as JSON (RFC 8259) in UTF-8 that can be stored. Raises BadAnswer for anything else."""
        try:
            value = json.loads(self.body.decode("utf-8-sig"), parse_constant=_no_number)
        except (ValueError, RecursionError) as error:
            raise BadAnswer(f"The answer with status {self.status} is no JSON.") from error
        if not _is_storable(value):
            raise BadAnswer(f"The answer with status {self.status} has characters that cannot be stored.")
        return value

    def text(self) -> str:
        """Give the body as text, with what is no UTF-8 or cannot be stored replaced."""
        return UNSTORABLE.sub("\N{REPLACEMENT CHARACTER}", self.body.decode("utf-8", "replace"))


def _no_number(name: str) -> NoReturn:
    raise ValueError(f"{name} is no JSON number")


def _is_storable(value: object) -> bool:
    """Tell whether PostgreSQL can store every text in `value`. Walks without recursion."""
    stack = [value]
    while stack:
        item = stack.pop()
        if isinstance(item, dict):
            stack += [*item.keys(), *item.values()]
        elif isinstance(item, list):
            stack += item
        elif isinstance(item, str):
            if UNSTORABLE.search(item):
                return False
        elif isinstance(item, float) and math.isinf(item):  # 1e400
            return False
    return True
