"""A user of its own on a shared Redis (6.2 or later), fenced to keys and channels with a prefix.

The user carries the instance's id in a channel pattern: a user of the same name without it is somebody
else's and is never touched.
"""

import hashlib
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from django.conf import settings
from redis import Redis, exceptions
from redis.backoff import NoBackoff
from redis.connection import parse_url
from redis.retry import Retry as ClientRetry

from provisioning.connectors.base import Answer, Call, Connector, Done, Failed, Missing, Retry, Working
from provisioning.connectors.names import name_for

CONNECT_SECONDS, ANSWER_SECONDS = 3.0, 5.0
# Keys are deleted for so long in one call; the next goes on from the same place.
PURGE_SECONDS, PURGE_BATCH = 3.0, 500
# All that works on one's own keys and channels. Not what reads or stops the whole server, names other people's
# keys (SCAN, RANDOMKEY, DBSIZE, PUBSUB), leaves database 0, or keeps functions that all users share.
COMMANDS = [
    "-@all",
    *(f"+@{name}" for name in ("read", "write", "pubsub", "transaction", "connection", "scripting")),
    *(f"-@{name}" for name in ("admin", "dangerous", "scripting")),
    *(f"-{name}" for name in ("scan", "randomkey", "dbsize", "pubsub", "select", "move", "copy", "memory")),
    *(f"+{name}" for name in ("eval", "evalsha", "script|load", "script|exists")),
    *(f"+{name}" for name in ("client|getname", "client|setname", "client|id")),
]


class RedisAcl(Connector):
    """Delivers a fenced user on a Redis server."""

    idempotency = "lookup"

    def start(self, call: Call) -> Done:
        """Make the user, or make the one that an earlier attempt made the same again."""
        name = _name(call)
        with _server(call) as server:
            if _find(server, call, name) is False:
                raise Failed(f"There is a user {name} on the Redis server that Greenlane did not make.")
            rules = ["reset", "on", _hashed(call), f"~{name}:*", "resetchannels", f"&{name}:*", _mark(call)]
            _ask(server, call, "ACL", "SETUSER", name, *rules, *COMMANDS)
            _save_users(server, call)
        target = _address()
        return Done(
            outputs={
                "host": target.get("host", "localhost"),
                "port": int(target.get("port", 6379)),
                "username": name,
                "key_prefix": f"{name}:",
            },
            detail=f"User {name}, for keys and channels that begin with {name}:",
            external_ref=name,
        )

    def update(self, call: Call) -> Done:
        """See that the user is there: no plan or parameter makes a difference to him."""
        name = _name(call)
        with _server(call) as server:
            if not _find(server, call, name):
                raise Missing(f"There is no user {name} that Greenlane made.", left_nothing=True)
        return Done(detail="There was nothing to change.", external_ref=name)

    def undo(self, call: Call) -> Answer:
        """Remove the user, which ends his connections, then his keys, batch by batch."""
        name = _name(call)
        with _server(call) as server:
            found = _find(server, call, name)
            if found is False:
                return Done(detail="There was no user to remove.")
            if found:
                _ask(server, call, "ACL", "DELUSER", name)
                _save_users(server, call)
                call.log(f"Removed the user {name}.")
            return _purge(server, call, name, cursor=0)

    def last_operation(self, call: Call) -> Answer:
        """Go on deleting the keys of a removed user."""
        with _server(call) as server:
            cursor = call.external_ref.removeprefix("scan:")
            return _purge(server, call, _name(call), cursor=int(cursor) if cursor.isdecimal() else 0)

    def describe(self, call: Call) -> Done:
        """Sign in as the user, and look for a key of his."""
        name = _name(call)
        with _server(call) as server:
            if not _find(server, call, name):
                raise Missing(f"There is no user {name} that Greenlane made.")
        with _server(call, username=name, password=call.secrets["password"]) as server:
            _ask(server, call, "PING")
            _ask(server, call, "EXISTS", f"{name}:")
        return Done(detail="Signed in with the new password.")

    def rotate(self, call: Call) -> Done:
        """Replace the password; connections that are open stay open."""
        name = _name(call)
        with _server(call) as server:
            if not _find(server, call, name):
                raise Failed(f"There is no user {name} that Greenlane made.")
            _ask(server, call, "ACL", "SETUSER", name, "resetpass", _hashed(call))
            _save_users(server, call)
        return Done(detail="The new password is set; connections that are open stay open.")


def _address() -> dict[str, Any]:
    if not settings.REDIS_BACKEND_URL:
        raise Failed("No Redis server is set up to deliver users on: set REDIS_BACKEND_URL.")
    return dict(parse_url(settings.REDIS_BACKEND_URL))


def _name(call: Call) -> str:
    return name_for(call.instance_name, call.instance_id)


def _mark(call: Call) -> str:
    return f"&greenlane-service:{call.instance_id}"


def _hashed(call: Call) -> str:
    """Give the password as Redis keeps it, so that it never travels in clear."""
    return f"#{hashlib.sha256(call.secrets['password'].encode()).hexdigest()}"


@contextmanager
def _server(call: Call, **account: str) -> Iterator[Redis]:
    """Connect for the length of the block, as Greenlane's own user or as `account`. Tries nothing twice."""
    seconds = call.remaining()
    client = Redis(
        **(
            _address()
            | account
            | {
                "db": 0,
                "protocol": 2,
                "retry": ClientRetry(NoBackoff(), 0),
                "socket_connect_timeout": min(CONNECT_SECONDS, seconds),
                "socket_timeout": min(ANSWER_SECONDS, seconds),
                "decode_responses": True,
                "driver_info": None,
            }
        )
    )
    try:
        yield client
    finally:
        client.close()


def _ask(server: Redis, call: Call, *words: str | int) -> Any:
    """Send one command if this worker may still act. Raises LeaseLost, Retry or Failed."""
    call.remaining()
    try:
        return server.execute_command(*words)
    except exceptions.AuthenticationError as error:
        raise Failed("The Redis server refuses the password.") from error
    except (exceptions.ConnectionError, exceptions.TimeoutError) as error:
        raise Retry(f"The Redis server cannot be reached: {type(error).__name__}.") from error
    except (exceptions.ReadOnlyError, exceptions.OutOfMemoryError, exceptions.TryAgainError) as error:
        raise Retry(f"The Redis server takes no changes now: {error}") from error
    except exceptions.RedisError as error:
        if str(error).startswith(("LOADING", "BUSY", "MISCONF", "MASTERDOWN", "NOREPLICAS")):
            raise Retry(f"The Redis server is busy: {error}") from error
        raise Failed(f"The Redis server says: {error}") from error


def _find(server: Redis, call: Call, name: str) -> bool | None:
    """Tell whether the user is there and ours (True), somebody else's (False), or not there (None)."""
    rules = _ask(server, call, "ACL", "LIST")
    line = next((rule for rule in rules if rule.split()[1] == name), None)
    return None if line is None else _mark(call) in line.split()


def _save_users(server: Redis, call: Call) -> None:
    """Write the users to the server's file, if it has one: otherwise a restart would lose them."""
    try:
        _ask(server, call, "ACL", "SAVE")
    except Failed:
        call.log("The Redis server has no file for its users: they would not outlive its restart.")


def _purge(server: Redis, call: Call, name: str, *, cursor: int) -> Answer:
    """Delete the keys of `name` from where the last call stopped, as long as one call may."""
    ends_at = time.monotonic() + PURGE_SECONDS
    while True:
        found, keys = _ask(server, call, "SCAN", cursor, "MATCH", f"{name}:*", "COUNT", PURGE_BATCH)
        if keys:
            _ask(server, call, "UNLINK", *keys)
        cursor = int(found)
        if cursor == 0:
            return Done(detail=f"Removed the user {name} and his keys.", external_ref=name)
        if time.monotonic() >= ends_at:
            return Working(after=0.2, detail="Deleting keys.", external_ref=f"scan:{cursor}")
