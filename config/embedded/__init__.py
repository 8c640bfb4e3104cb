"""A real PostgreSQL and a real Redis for one machine, started by `make demo` and by the tests.

Two of each: Greenlane's own, and the back ends that hold what is delivered. No Django in here: settings read
the addresses that this package writes into var/env. `python -m config.embedded` is its command line.
"""

import contextlib
import os
import shutil
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from config.embedded import records
from config.embedded.errors import EmbeddedError
from config.embedded.lock import servers_lock
from config.embedded.place import Place, choose, outside_path
from config.embedded.postgres import find_postgres, start_postgres
from config.embedded.process import Server
from config.embedded.redis import NoRedisError, find_redis, start_redis

__all__ = [
    "EmbeddedError",
    "Server",
    "ensure",
    "find",
    "reset",
    "servers",
    "start",
    "start_postgres",
    "start_redis",
    "stop",
]

# The setting that, when given in the environment, makes the server of that name unnecessary.
ASKED_BY = {
    "postgres": "DATABASE_URL",
    "redis": "REDIS_URL",
    "backends/postgres": "POSTGRESQL_BACKEND_URL",
    "backends/redis": "REDIS_BACKEND_URL",
}


def ensure(root: Path, *, say: Callable[[str], None] = print) -> dict[str, str]:
    """Start what is not running and return the environment values by which all is reached.

    A server whose address is set in the environment is not started, and with DATABASE_URL and REDIS_URL
    both set none is. Raises EmbeddedError.
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
        throw_away: for tests: fast, not safe against power cuts; implies the next.
        die_with_parent: the servers end when the thread that calls this does.

    """
    place = choose(root)
    options = {"throw_away": throw_away, "die_with_parent": die_with_parent}
    running: list[Server] = []
    values: dict[str, str] = {}
    with servers_lock(root):
        for name in _needed(environ, say):
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
        values = records.write_addresses(root, values) | values
    for server in running:
        say(str(server))
    return running, values


def _needed(environ: Mapping[str, str], say: Callable[[str], None]) -> list[str]:
    """Name the servers whose address is not given; none at all where Greenlane's own two are given."""
    if environ.get("DATABASE_URL") and environ.get("REDIS_URL"):
        missing = [setting for setting in ASKED_BY.values() if not environ.get(setting)]
        say("DATABASE_URL and REDIS_URL are set, so no server is started here.")
        if missing:
            say(f"Orders of what is delivered there need {' and '.join(missing)} too.")
        return []
    return [name for name, setting in ASKED_BY.items() if not environ.get(setting)]


def find(root: Path) -> list[Server]:
    """Return the servers of a checkout that run now."""
    place = choose(root)
    found = [find_postgres(place, name) if "postgres" in name else find_redis(place, name) for name in ASKED_BY]
    return [server for server in found if server]


def stop(root: Path) -> None:
    """End all servers of a checkout cleanly and take their addresses out of var/env. Data stay."""
    with servers_lock(root):
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
    say(f"No redis-server here: messages to the worker go through {folder}; a Redis cannot be ordered.")
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
