"""A real Redis for one machine: on loopback only, with a password, keeping what it is told."""

import contextlib
import hashlib
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from config.embedded.errors import EmbeddedError
from config.embedded.place import Place, choose, redis_program
from config.embedded.process import (
    Server,
    end_orphans,
    free_port,
    is_free,
    last_lines,
    pids_in,
    spawn,
    wait_until,
)
from config.embedded.records import read_record, write_record

# Setting name and user by server. Greenlane's own has one user, the default one.
USERS = {"redis": ("REDIS_URL", "default"), "backends/redis": ("REDIS_BACKEND_URL", "admin")}
CONFIGURATION = """\
bind 127.0.0.1
port {port}
dir "{data}"
daemonize no
appendonly yes
save ""
maxmemory-policy noeviction
"""


class NoRedisError(EmbeddedError):
    """This machine has no Redis server that can be used."""


def start_redis(
    root: Path, name: str = "redis", *, throw_away: bool = False, die_with_parent: bool = False
) -> Server:
    """Start a Redis, or return the one that runs already.

    Args:
        root: the checkout; data lie under its `var/` (or where `place.choose` says).
        name: `redis` (Greenlane's own) or `backends/redis` (holds what is delivered).
        throw_away: keep nothing on disk but the users.
        die_with_parent: the server ends when the calling thread's process does.

    Raises NoRedisError where the machine has none, EmbeddedError otherwise, with a plain sentence.
    """
    place = choose(root)
    program = redis_program(place)
    if not program:
        raise NoRedisError("No Redis server was found: install redis-server, or set REDIS_URL.")
    _make(place, name)
    running = find_redis(place, name)
    if running:
        return running
    end_orphans(place.folder(name) / "data", "redis")
    for _attempt in range(5):
        server = _try_start(place, name, program, throw_away=throw_away, die_with_parent=die_with_parent)
        if server:
            return server
    raise EmbeddedError(f"Redis found no port to listen on; see {_log(place, name)}.")


def find_redis(place: Place, name: str) -> Server | None:
    """Return the server of that name if it runs."""
    pids = pids_in(place.folder(name) / "data", "redis")
    return _server(place, name, pids[0]) if pids else None


def _make(place: Place, name: str) -> None:
    target = place.folder(name)
    if target.exists():
        return
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    data = fresh / "data"
    data.mkdir(parents=True)
    data.chmod(0o700)
    place.give(data)
    password = secrets.token_urlsafe(24)
    users = data / "users.acl"
    digest = hashlib.sha256(password.encode()).hexdigest()
    everything = "~* &* +@all"
    users.write_text(
        f"user default on #{digest} {everything}\n"
        if name == "redis"
        else f"user default off -@all\nuser admin on #{digest} {everything}\n"
    )
    users.chmod(0o600)
    place.give(users)
    write_record(fresh, {"port": 0, "passwords": {USERS[name][1]: password}})
    fresh.rename(target)


def _try_start(
    place: Place, name: str, program: Path, *, throw_away: bool, die_with_parent: bool
) -> Server | None:
    folder = place.folder(name)
    data = folder / "data"
    record = read_record(folder)
    record["port"] = free_port(record["port"])
    write_record(folder, record)
    text = CONFIGURATION.format(port=record["port"], data=data) + f'aclfile "{data}/users.acl"\n'
    if throw_away:
        text = text.replace("appendonly yes", "appendonly no")
    # The configuration comes on its input: no file to keep, nothing to see in the list of processes.
    argv = [str(program), "-"]
    process = spawn(
        place, argv, log=_log(place, name), text=text, death_signal="TERM" if die_with_parent else ""
    )
    server = _server(place, name, process.pid, process)
    wait_until(lambda: process.poll() is not None or _answers(server.url), 60)
    if process.poll() is None:
        if _answers(server.url):
            return server
        process.kill()
        raise EmbeddedError(f"Redis did not answer within a minute; see {_log(place, name)}.")
    if is_free(record["port"]):
        raise EmbeddedError(f"Redis did not start: {last_lines(_log(place, name))}")
    return None  # another program was quicker on that port


def _answers(url: str) -> bool:
    import redis  # noqa: PLC0415 (stopping and resetting need no client)

    with contextlib.suppress(redis.RedisError):
        with redis.Redis.from_url(url, socket_timeout=2, socket_connect_timeout=2) as client:
            return bool(client.ping())
    return False


def _server(place: Place, name: str, pid: int, process: "subprocess.Popen[bytes] | None" = None) -> Server:
    folder = place.folder(name)
    record = read_record(folder)
    setting, user = USERS[name]
    url = f"redis://{user}:{record['passwords'][user]}@127.0.0.1:{record['port']}/0"
    return Server(
        name, folder / "data", "redis", pid, record["port"], {setting: url}, signal.SIGTERM, process
    )


def _log(place: Place, name: str) -> Path:
    return place.root / "var" / "log" / f"{name.replace('/', '-')}.log"
