"""Throw-away servers for the tests: real ones, of this run alone, gone when the run is.

`start_for_tests` serves the whole run. A test that kills or hangs a server starts its own with `own_root`.
"""

import contextlib
import fcntl
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from config import embedded

PREFIX = "greenlane-tests-"
# Values that a demo running in this checkout, or the person's own shell, must not bring into a test.
FIXED = {
    "PORT": "8000",
    "PUBLIC_URL": "http://127.0.0.1:8000",
    "ALLOWED_HOSTS": "127.0.0.1,localhost,testserver",
    "DEMO_PASSWORD": "a-demo-password-for-tests",
    "DEBUG": "off",
    "DEMO_NAMES_URL": "",
    "DEMO_NAMES_TOKEN": "",
    "EGRESS_ALLOW": "",
    "EMAIL_URL": "memorymail://",
    "LEASE_SECONDS": "2",
    "SWEEP_SECONDS": "1",
}
# The template for third parties stands in the contract test as any other connector, beside those to be tested.
TEMPLATE = "examples.connector.folder.CONNECTORS"
_running: dict[Path, IO[str]] = {}


def start_for_tests() -> dict[str, str]:
    """Start both PostgreSQL and both Redis, put their addresses into the environment and return them.

    Call it in the process that outlives all tests (pytest-xdist's controller): the servers die with it.
    """
    _remove_leftovers()
    root = _new_root()
    _servers, values = embedded.start(root, say=lambda _line: None, environ={}, throw_away=True)
    if "REDIS_BACKEND_URL" not in values:
        stop_for_tests()
        sys.exit("The tests need a Redis server: install redis-server (6.2 or newer).")
    others = [name for name in os.environ.get("EXTRA_CONNECTORS", "").split(",") if name and name != TEMPLATE]
    values |= FIXED | {"EXTRA_CONNECTORS": ",".join([TEMPLATE, *others])}
    os.environ.update(values)
    return values


def stop_for_tests() -> None:
    """End what `start_for_tests` started and remove its data."""
    for root in list(_running):
        _remove(root)


@contextlib.contextmanager
def own_root() -> Iterator[Path]:
    """Give a test a folder for servers of its own, for `embedded.start_redis` and the like."""
    root = _new_root()
    try:
        yield root
    finally:
        _remove(root)


def _new_root() -> Path:
    root = Path(tempfile.mkdtemp(prefix=PREFIX))
    root.chmod(0o755)  # as root the servers run as another user, who must pass
    lock = (root / "in-use").open("w")
    fcntl.flock(lock, fcntl.LOCK_EX)
    _running[root] = lock
    return root


def _remove(root: Path) -> None:
    embedded.reset(root)
    shutil.rmtree(root)
    _running.pop(root).close()


def _remove_leftovers() -> None:
    """Remove the folders of runs that were killed: nobody holds their lock any more."""
    for root in Path(tempfile.gettempdir()).glob(f"{PREFIX}*"):
        if root.lstat().st_uid != os.geteuid():
            continue  # another person's
        with contextlib.suppress(OSError, embedded.EmbeddedError), (root / "in-use").open("r+") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            embedded.reset(root)
            shutil.rmtree(root)
