"""A real PostgreSQL and a real Redis for one machine, started by `make demo` and by the tests.

Two of each: Greenlane's own, and the back ends that hold what is delivered. No Django in here: settings read
the addresses that this package writes into var/env. `python -m config.embedded` is its command line.
"""

import contextlib
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from config.embedded import records
from config.embedded.errors import EmbeddedError
from config.embedded.place import Place, choose, outside_path
from config.embedded.postgres import find_postgres, make_postgres, start_postgres
from config.embedded.process import Server
from config.embedded.redis import NoRedisError, find_redis, start_redis

__all__ = [
    "EmbeddedError",
    "Server",
    "ensure",
    "find",
    "make_postgres",
    "reset",
    "servers",
    "start",
    "start_postgres",
    "start_redis",
    "stop",
]

NAMES = ("postgres", "redis", "backends/postgres", "backends/redis")
# The setting that, when given in the environment, makes the server of that name unnecessary.
ASKED_BY = dict(
    zip(NAMES, ("DATABASE_URL", "REDIS_URL", "POSTGRESQL_BACKEND_URL", "REDIS_BACKEND_URL"), strict=True)
)


def ensure(root: Path, *, say: Callable[[str], None] = print) -> dict[str, str]:
    """Start what is not running and return the environment values by which all is reached.

    A server whose address is set in the environment is not started. Raises EmbeddedError with a plain sentence.
    """
    return start(root, say=say)[1]


def start(
    root: Path,
    *,
    say: Callable[[str], None] = print,
    environ: Mapping[str, str] = os.environ,
    throw_away: bool = False,
    die_with_parent: bool = False,
) -> tuple[list[Server], dict[str, str]]:
    """Start what is not running; return the servers and the environment values (see `ensure`).

    Args:
        root: the checkout.
        say: gets one sentence for each thing done.
        environ: addresses set in it are used as they are.
        throw_away: for tests: fast, not safe against power cuts.
        die_with_parent: the servers end when the calling thread's process does.
    """
    place = choose(root)
    options = {"throw_away": throw_away, "die_with_parent": die_with_parent}
    running: list[Server] = []
    values: dict[str, str] = {}
    with _lock(root):
        for name in NAMES:
            if environ.get(ASKED_BY[name]):
                continue
            begin = start_postgres if "postgres" in name else start_redis
            try:
                server = begin(root, name, **options)
            except NoRedisError:
                values |= _without_redis(root, name, say)
                continue
            _point_to(place, name)
            running.append(server)
            values |= server.urls
        if not environ.get("GIT_BACKEND_ROOT"):
            repositories = root / "var" / "backends" / "git"
            repositories.mkdir(parents=True, exist_ok=True)
            values["GIT_BACKEND_ROOT"] = str(repositories)
        records.update_env(root, values)
        values = records.add_keys(root) | values
    for server in running:
        say(f"{'PostgreSQL' if 'postgres' in server.name else 'Redis'} ({server.name}) on port {server.port}")
    return running, values


def find(root: Path) -> list[Server]:
    """Return the servers of a checkout that run now."""
    place = choose(root)
    found = [find_postgres(place, name) if "postgres" in name else find_redis(place, name) for name in NAMES]
    return [server for server in found if server]


def stop(root: Path) -> None:
    """End all servers of a checkout cleanly and take their addresses out of var/env. Data stay."""
    with _lock(root):
        for server in reversed(find(root)):
            server.stop()
        records.forget_addresses(root)


def reset(root: Path) -> None:
    """End all servers of a checkout and remove var/ and the folder under /var/lib, if there is one."""
    if (root / "var").exists():
        stop(root)
    for folder in (root / "var", outside_path(root)):
        try:
            if folder.exists():
                shutil.rmtree(folder)
        except OSError as error:
            raise EmbeddedError(f"The folder {folder} cannot be removed ({error.strerror}).") from error


@contextlib.contextmanager
def servers(root: Path, *, say: Callable[[str], None] = print) -> Iterator[dict[str, str]]:
    """Run the servers for the length of a `with` block, which gets the environment values."""
    try:
        yield ensure(root, say=say)
    finally:
        stop(root)


def _without_redis(root: Path, name: str, say: Callable[[str], None]) -> dict[str, str]:
    """Return what serves instead: messages are only doorbells, so files under var/ carry them well enough."""
    if name != "redis":
        return {}
    folder = root / "var" / "broker"
    folder.mkdir(exist_ok=True)
    say(
        f"No redis-server here: the queue's messages go through files in {folder}, and no Redis can be ordered."
    )
    return {"REDIS_URL": f"filesystem://{folder}"}


def _point_to(place: Place, name: str) -> None:
    """Where data lie outside the checkout, leave a link in var/ that names the place."""
    link = place.root / "var" / name
    if place.base == place.root / "var" or (link.is_symlink() and link.readlink() == place.folder(name)):
        return
    link.parent.mkdir(exist_ok=True)
    if link.is_symlink():  # this checkout was copied or moved: the link names another one's place
        link.unlink()
    if not link.exists():
        link.symlink_to(place.folder(name))


@contextlib.contextmanager
def _lock(root: Path) -> Iterator[None]:
    """Let one process at a time start or stop the servers of a checkout."""
    choose(root)
    with (root / "var" / "run" / "servers.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield
