"""What the answer of a REST back end says: values by JSON pointer (RFC 6901), passwords, sentences."""

import re
from collections.abc import Mapping
from typing import Any

from core import egress, secrets
from provisioning.connectors.base import Failed
from provisioning.connectors.http_requests import Poll


def document_of(answer: egress.Answer) -> Any:
    """Give the body as JSON, or None where it is none: whether one is needed, the step's pointers say."""
    try:
        return answer.json() if answer.body else None
    except egress.BadAnswer:
        return None


def found_at(document: Any, pointer: str) -> Any:
    """Give what stands at a JSON pointer (RFC 6901). Raises LookupError where nothing does."""
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if isinstance(document, list) and re.fullmatch("0|[1-9][0-9]{0,6}", key):
            document = document[int(key)]
        elif isinstance(document, dict):
            document = document[key]
        else:
            raise LookupError(pointer)
    return document


def read(document: Any, pointers: Mapping[str, str], *, known: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Read the value of each name's pointer; what is not there is taken from `known`. Raises Failed."""
    found: dict[str, Any] = {}
    for name, pointer in pointers.items():
        try:
            found[name] = found_at(document, pointer)
        except LookupError:
            if not known or name not in known:
                raise Failed(f"The answer has nothing at {pointer or 'all'} for “{name}”.") from None
            found[name] = known[name]
    return found


def read_secrets(document: Any, pointers: Mapping[str, str]) -> dict[str, str]:
    """Read passwords as `read` does, and keep them out of the logs from here on. Raises Failed."""
    found = {}
    for name, value in read(document, pointers).items():
        found[name] = text_of(value)
        secrets.remember(found[name])
    return found


def text_of(value: Any) -> str:
    """Give a text or whole number as text. Raises Failed for anything else."""
    if isinstance(value, bool) or not isinstance(value, str | int) or value == "":
        raise Failed("The answer has something else than text or a number where one is needed.")
    return str(value)


def told_by(document: Any, poll: Poll) -> str:
    """Give the back end's own sentence, with a colon before it, or nothing."""
    try:
        told = found_at(document, poll.detail) if poll.detail else ""
    except LookupError:
        return ""
    return f": {' '.join(told.split())[:280].rstrip('.')}" if isinstance(told, str) and told.strip() else ""
