"""Who may start or stop the servers of a checkout now, and whether its demo runs."""

import contextlib
import fcntl
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from config.embedded.errors import EmbeddedError
from config.embedded.place import choose
from config.embedded.process import wait_until
from config.embedded.records import read_env

# The demo may wait for a running order; it kills what takes longer.
DEMO_END_SECONDS = 90


@contextlib.contextmanager
def servers_lock(root: Path) -> Iterator[None]:
    """Let one process at a time start or stop the servers of a checkout; the others wait."""
    choose(root)
    with (root / "var" / "run" / "servers.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


@contextlib.contextmanager
def demo_lock(root: Path) -> Iterator[None]:
    """Be the one demo of a checkout. Raises EmbeddedError where one runs already."""
    choose(root)
    with _lock_file(root).open("a+") as file:
        if not _take(file):
            address = read_env(root).get("PUBLIC_URL", "its address comes in a moment")
            raise EmbeddedError(f"The demo of this folder runs already ({address}, process {_holder(file)}).")
        file.truncate(0)
        file.write(f"{os.getpid()}\n")
        file.flush()
        yield


def demo_pid(root: Path) -> int:
    """Return the process id of the demo that runs in a checkout, else 0."""
    if not _lock_file(root).exists():
        return 0
    with _lock_file(root).open("a+") as file:
        return 0 if _take(file) else _holder(file)


def end_demo(root: Path) -> None:
    """Stop the demo of a checkout if it runs, as Ctrl-C would, and wait for its end."""
    pid = demo_pid(root)
    if not pid:
        return
    os.kill(pid, signal.SIGTERM)
    if not wait_until(lambda: not demo_pid(root), DEMO_END_SECONDS):
        raise EmbeddedError(f"The demo (process {pid}) did not stop; end it and try again.")


def _lock_file(root: Path) -> Path:
    return root / "var" / "run" / "demo.lock"


def _take(file: IO[str]) -> bool:
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(file: IO[str]) -> int:
    file.seek(0)
    return int(file.read().strip() or 0)
