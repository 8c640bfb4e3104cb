"""A real Redis for one machine: on loopback only, with a password, keeping what it is told."""

import contextlib
import hashlib
import secrets
import shutil
import signal
from pathlib import Path

from config.embedded.errors import EmbeddedError
from config.embedded.place import Place, choose, redis_program
from config.embedded.process import Server, end_orphans, running_pid, spawn, start_on_a_port, still_serves
from config.embedded.records import read_record, write_record

# Setting and user, by server. Greenlane's own has one user, the default one.
USERS = {"redis": ("REDIS_URL", "default"), "backends/redis": ("REDIS_BACKEND_URL", "admin")}
CONFIGURATION = """\
bind 127.0.0.1
port {port}
dir "{data}"
aclfile "{data}/users.acl"
daemonize no
save ""
appendonly {appendonly}
maxmemory-policy noeviction
"""


class NoRedisError(EmbeddedError):
    """There is no Redis server on this machine that can be used."""


def start_redis(root: Path, name: str = "redis", *, throw_away: bool = False, die_with_parent: bool = False) -> Server:
    """Start a Redis, or return the one that runs already.

    Raises NoRedisError where the machine has none, EmbeddedError otherwise, with a plain sentence.

    Args:
        root: the checkout; data lie under its `var/` (or where `place.choose` says).
        name: `redis` (Greenlane's own) or `backends/redis` (holds what is delivered).
        throw_away: for tests: keep nothing on disk but the users; implies the next.
        die_with_parent: the server ends when the thread that calls this does.

    """
    place = choose(root)
    program = redis_program(place)
    if not program:
        raise NoRedisError("No Redis server was found: install redis-server, or set REDIS_URL.")
    _make(place, name)
    running = find_redis(place, name)
    if running and still_serves(running, _answers):
        return running
    data = place.folder(name) / "data"
    end_orphans(data, "redis")

    def launch(port: int) -> Server:
        text = CONFIGURATION.format(port=port, data=data, appendonly="no" if throw_away else "yes")
        # The configuration comes on its input: nothing to see in the list of processes.
        argv = [str(program), "-"]
        pid = spawn(place, name, argv, text=text, death_signal="TERM" if die_with_parent or throw_away else "")
        return _server(place, name, pid)

    return start_on_a_port(place, name, launch, _answers)


def find_redis(place: Place, name: str) -> Server | None:
    """Return the server of that name if it runs."""
    pid = running_pid(place, name, "redis")
    return _server(place, name, pid) if pid else None


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
    user, password = USERS[name][1], secrets.token_urlsafe(24)
    lines = [f"user {user} on #{hashlib.sha256(password.encode()).hexdigest()} ~* &* +@all"]
    if user != "default":
        lines += ["user default off -@all"]
    users = data / "users.acl"
    users.write_text("\n".join(lines) + "\n")
    users.chmod(0o600)
    place.give(users)
    write_record(fresh, {"port": 0, "pid": 0, "passwords": {user: password}})
    fresh.rename(target)


def _answers(server: Server) -> bool:
    import redis  # noqa: PLC0415 (stopping and resetting need no client)

    with contextlib.suppress(redis.RedisError), redis.Redis.from_url(server.url, socket_timeout=2) as client:
        return bool(client.ping())
    return False


def _server(place: Place, name: str, pid: int) -> Server:
    folder = place.folder(name)
    record = read_record(folder)
    setting, user = USERS[name]
    urls = {setting: f"redis://{user}:{record['passwords'][user]}@127.0.0.1:{record['port']}/0"}
    return Server("Redis", name, folder / "data", "redis", pid, record["port"], urls, signal.SIGTERM)
