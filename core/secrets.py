"""Secrets at rest: encrypted, bound to the row that holds them, and kept out of the logs."""

import json
import logging
import secrets
import string
from collections import deque
from functools import lru_cache
from typing import Any

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings

ALPHABET = string.ascii_letters + string.digits


class Unreadable(Exception):  # noqa: N818 (what the ciphertext is)
    """None of ENCRYPTION_KEYS opens this, or it was moved here from another row."""


@lru_cache(maxsize=4)
def _box(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(key) for key in keys])


def _keys() -> MultiFernet:
    return _box(tuple(settings.ENCRYPTION_KEYS))


def generate(length: int = 28) -> str:
    """Make a password of letters and digits; 28 of them are 166 bits."""
    value = "".join(secrets.choice(ALPHABET) for _ in range(length))
    remember(value)
    return value


def encrypt(value: str, *, bound_to: Any) -> bytes:
    """Encrypt `value` with the first key so that it opens only together with `bound_to` (the row's id)."""
    return _keys().encrypt(json.dumps([str(bound_to), value]).encode())


def decrypt(ciphertext: bytes | memoryview, *, bound_to: Any) -> str:
    """Open what `encrypt` made. Raises Unreadable for a wrong key or a ciphertext of another row."""
    try:
        owner, value = json.loads(_keys().decrypt(bytes(ciphertext)))
    except InvalidToken as error:
        raise Unreadable("None of ENCRYPTION_KEYS opens this secret.") from error
    if owner != str(bound_to):
        raise Unreadable("This secret belongs to another row.")
    remember(value)
    return str(value)


def rotate(ciphertext: bytes | memoryview) -> bytes:
    """Encrypt anew with the first key what any key opens. Raises Unreadable where none does."""
    try:
        return _keys().rotate(bytes(ciphertext))
    except InvalidToken as error:
        raise Unreadable("None of ENCRYPTION_KEYS opens this secret.") from error


# Back ends call all sorts of values credentials, ports and switches too.
SHORTEST = 6

_seen: deque[str] = deque(maxlen=500)


def remember(value: str) -> None:
    """Keep `value` in this process's memory so that `scrub` takes it out of whatever is written.

    What is shorter than SHORTEST ("3306", "true", nothing at all) stands in any text by chance and is left there.
    """
    if len(value) >= SHORTEST and value not in _seen:
        _seen.append(value)


def scrub(text: str) -> str:
    """Replace every secret that this process has handled lately by stars."""
    for value in tuple(_seen):
        if value in text:
            text = text.replace(value, "********")
    return text


class Scrubber(logging.Filter):
    """Takes secrets out of log lines by value, whatever the line is about."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the line where it holds a secret; never drop it."""
        if _seen:
            message = record.getMessage()
            clean = scrub(message)
            if clean != message:
                record.msg, record.args = clean, ()
            if record.exc_info and not record.exc_text:
                record.exc_text = scrub(logging.Formatter().formatException(record.exc_info))
        return True
