"""The places of this worker: how many of them may do work that takes minutes."""

import fcntl
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Set in the process that forks the pool; its children inherit it.
_places = 1


def set_places(places: int) -> None:
    """Note how many steps this worker does at a time. Call it before the pool is forked."""
    global _places  # noqa: PLW0603 (one worker a process)
    _places = max(places, 1)


@contextmanager
def for_long_work() -> Iterator[bool]:
    """Take a place for long work, and tell whether one was free: one place always stays for quick work.

    The operating system gives a place back when the process that took it is gone, however it ended.
    """
    for number in range(max(1, _places - 1)):
        path = Path(tempfile.gettempdir()) / f"greenlane-{os.getppid()}-long-{number}"
        handle = os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(handle)
            continue
        try:
            yield True
        finally:
            path.unlink(missing_ok=True)
            os.close(handle)
        return
    yield False
