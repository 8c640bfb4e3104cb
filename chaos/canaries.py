"""I8: what is secret stands nowhere in the clear: not in logs, not in Redis, not in any column of the database."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import redis
from django.db import connection

from core import secrets
from provisioning.models import Secret, ServiceInstance

SAMPLED = 5


def drawn_for(instances: Iterable[ServiceInstance]) -> list[str]:
    """Give some of the passwords that belong to these services, in the clear."""
    rows = Secret.objects.filter(instance__in=list(instances)).order_by("?")[:SAMPLED]
    return [secrets.decrypt(row.ciphertext, bound_to=row.pk) for row in rows]


def found_in_clear(needles: list[str], logs: Iterable[Path], redis_url: str) -> Iterator[str]:
    """Say where one of `needles` stands."""
    for log in logs:
        text = log.read_text(errors="replace")
        for _ in (needle for needle in needles if needle in text):
            yield f"I8: a secret stands in the log {log.name}"
    for key, value in _everything_in(redis_url):
        if any(needle in value for needle in needles):
            yield f"I8: a secret stands in Redis at {key}"
    yield from _in_database(needles)


def _everything_in(url: str) -> Iterator[tuple[str, str]]:
    readers: dict[str, Any] = {
        "string": lambda client, key: client.get(key),
        "list": lambda client, key: client.lrange(key, 0, -1),
        "set": lambda client, key: client.smembers(key),
        "hash": lambda client, key: client.hgetall(key),
        "zset": lambda client, key: client.zrange(key, 0, -1),
    }
    with redis.Redis.from_url(url, socket_timeout=5) as client:
        for key in client.scan_iter():
            kind = client.type(key).decode()
            if kind in readers:
                yield key.decode(errors="replace"), repr(readers[kind](client, key))


def _in_database(needles: list[str]) -> Iterator[str]:
    """Read every row of every table as text; encrypted columns are bytes, which show as hexadecimal digits."""
    patterns = [f"%{needle}%" for needle in needles]
    with connection.cursor() as cursor:
        cursor.execute("SELECT quote_ident(tablename) FROM pg_tables WHERE schemaname = 'public'")
        for (table,) in cursor.fetchall():
            cursor.execute(
                f"SELECT count(*) FROM {table} AS row WHERE row::text LIKE ANY(%s)",  # noqa: S608 (the catalog's name)
                [patterns],
            )
            (number,) = cursor.fetchone()
            if number:
                yield f"I8: a secret stands in {number} rows of the table {table}"
