"""What any JSON must keep to before we look at what it means: bounded, finite, and storable as text."""

import re
from collections.abc import Iterator
from dataclasses import dataclass

MAX_NUMBER = 10**15  # whole numbers up to here are exact in every JSON reader
MAX_BYTES = 64 * 1024
MAX_DEPTH = 10
MAX_POINTER = 200
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


@dataclass(frozen=True)
class Fault:
    """Where JSON breaks a bound, and which: `size`, `depth`, `text`, `number` or `type`."""

    pointer: str
    kind: str


def legible(text: str) -> str:
    """Give `text` with each NUL and lone surrogate replaced, so that it can be shown, sent and stored."""
    return text.replace("\0", "\N{REPLACEMENT CHARACTER}").encode("utf-8", "replace").decode()


def step(pointer: str, key: object) -> str:
    """Give the JSON pointer (RFC 6901) of `key` below `pointer`; a very long key is cut."""
    token = legible(str(key)[:MAX_POINTER]).replace("~", "~0").replace("/", "~1")
    return f"{pointer}/{token}"


def faults(value: object, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH) -> list[Fault]:
    """List where `value` breaks a bound. Walks with a stack of its own, so depth cannot exhaust Python's.

    A breach of size or depth ends the walk and is then the only fault, at the root.
    """
    found: list[Fault] = []
    stack: list[tuple[str, object, int]] = [("", value, 1)]
    size = 0
    while stack:
        pointer, item, depth = stack.pop()
        if isinstance(item, dict | list) and depth > max_depth:
            return [Fault("", "depth")]
        size += _weight(item)
        if size > max_bytes:
            return [Fault("", "size")]
        kind = _broken(item)
        if kind:
            found.append(Fault(pointer, kind))
        stack.extend((step(pointer, key), below, depth + 1) for key, below in _children(item))
    return found[::-1]


def _weight(item: object) -> int:
    """Give about as many bytes as `item` itself takes in JSON, without what lies in it."""
    if isinstance(item, str):
        return len(item) + 2
    if isinstance(item, int):
        return item.bit_length() // 3 + 1
    if isinstance(item, dict):
        return 2 + sum(len(key) + 4 if isinstance(key, str) else 1 for key in item)
    return 2 + len(item) if isinstance(item, list) else 4


def _children(item: object) -> Iterator[tuple[object, object]]:
    if isinstance(item, dict):
        yield from item.items()
    elif isinstance(item, list):
        yield from enumerate(item)


def _broken(item: object) -> str:
    """Name the bound that `item` itself breaks, or give an empty text."""
    if isinstance(item, str):
        return "" if _storable(item) else "text"
    if isinstance(item, dict):
        return "" if all(isinstance(key, str) and _storable(key) for key in item) else "text"
    if isinstance(item, int | float):  # booleans too, which pass
        return "" if abs(item) <= MAX_NUMBER else "number"  # false for not-a-number, too
    return "" if item is None or isinstance(item, list) else "type"


def _storable(text: str) -> bool:
    """Say whether PostgreSQL can store `text`: no NUL, and no half of a surrogate pair."""
    return not _UNSTORABLE.search(text)
