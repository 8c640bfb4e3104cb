"""One connection to a PostgreSQL back end: no call on it outlives its time, and errors carry no secrets.

psycopg2 waits for ever on a server that hangs. So the connection is asynchronous and waits in small pieces
here; between them the lease is asked. What a lost attempt leaves running on the server, the next one ends.
"""

import select
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import psycopg2
from psycopg2 import extensions, sql

from provisioning.connectors.base import Call, Failed, Retry

CONNECT_SECONDS = 5.0
PIECE_SECONDS = 0.25
END_SESSION_MILLISECONDS = 5000
# Classes of SQLSTATE that pass: connection, transaction, resources, in use, operator, system, internal.
PASSING = {"08", "25", "40", "53", "55", "57", "58", "XX"}
# Someone made or dropped the same thing at the same moment: the next look finds it.
RACES = {"42710", "42P04", "42704", "3D000", "55006", "23505"}

# Sessions that an earlier attempt left, such as that of a killed worker whose statement still runs.
END_EARLIER_SESSIONS = """
    SELECT coalesce(bool_and(pg_terminate_backend(pid, %s)), true) FROM pg_stat_activity
    WHERE usename = current_user AND pid <> pg_backend_pid() AND application_name ~ %s
      AND substring(application_name FROM ' ([0-9]{1,18})$')::bigint < %s
"""


class Session:
    """An open connection for one call. Each act on it asks first whether this worker may still act."""

    def __init__(self, call: Call, address: str, purpose: str) -> None:
        self.call = call
        target = extensions.parse_dsn(address)
        self.place = f"{target.get('host', 'localhost')}:{target.get('port', 5432)}"
        self.label = f"greenlane {call.instance_id.hex} "
        try:
            self.connection = psycopg2.connect(
                address,
                async_=1,
                client_encoding="UTF8",
                application_name=f"{self.label}{call.fencing_token}" if purpose == "work" else "greenlane check",
            )
        except psycopg2.Error as error:
            raise self._explained(error) from error

    def open(self) -> None:
        """Wait for the server, and bound what it does for us. Raises Retry where it does not answer."""
        self._wait(min(CONNECT_SECONDS, self.call.remaining()))
        self.value(
            "SELECT set_config('statement_timeout', %s, false), set_config('search_path', 'pg_catalog', false)",
            [f"{max(1, int(self.call.remaining() * 1000))}ms"],
        )

    def end_earlier_sessions(self) -> None:
        """Make sure that no earlier attempt for this instance still acts here. Raises Retry where one does."""
        pattern = f"^{self.label}[0-9]+$"
        if not self.value(END_EARLIER_SESSIONS, [END_SESSION_MILLISECONDS, pattern, self.call.fencing_token]):
            raise Retry("An earlier attempt is still at work.")

    def row(self, query: str, values: list[Any]) -> tuple[Any, ...] | None:
        """Give the first row of a query, or None."""
        with self.connection.cursor() as cursor:
            self._execute(cursor, query, values)
            found: tuple[Any, ...] | None = cursor.fetchone()
        return found

    def value(self, query: str, values: list[Any]) -> Any:
        """Give the first value of a query, or None."""
        found = self.row(query, values)
        return found[0] if found else None

    def run(self, statement: str, **parts: sql.Composable) -> None:
        """Run one statement; `{name}` in it stands for an identifier or literal that is never parsed."""
        with self.connection.cursor() as cursor:
            self._execute(cursor, sql.SQL(statement).format(**parts), None)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Do all statements of the block or none: leaving by an error closes the connection before COMMIT."""
        self.run("BEGIN")
        yield
        self.run("COMMIT")

    def verifier(self, password: str, role: str) -> str:
        """Hash `password` here, so that it never travels or is logged in clear."""
        hashed: str = extensions.encrypt_password(password, role, self.connection, "scram-sha-256")
        return hashed

    def _execute(self, cursor: Any, statement: Any, values: list[Any] | None) -> None:
        seconds = self.call.remaining()
        try:
            cursor.execute(statement, values)
        except psycopg2.Error as error:
            raise self._explained(error) from error
        self._wait(seconds)

    def _wait(self, seconds: float) -> None:
        """Wait until the server has answered. Raises Retry after `seconds`, LeaseLost as soon as it is."""
        ends_at = time.monotonic() + seconds
        try:
            while (state := self.connection.poll()) != extensions.POLL_OK:
                self.call.check()
                left = ends_at - time.monotonic()
                if left <= 0:
                    raise Retry(f"The PostgreSQL server {self.place} did not answer in time.")
                ready = select.poll()
                ready.register(self.connection, select.POLLIN if state == extensions.POLL_READ else select.POLLOUT)
                ready.poll(min(left, PIECE_SECONDS) * 1000)
        except psycopg2.Error as error:
            self.call.check()
            raise self._explained(error) from error

    def _explained(self, error: psycopg2.Error) -> Failed | Retry:
        """Word an error of the server: its main message holds neither statements nor passwords."""
        code = error.pgcode or ""
        message = error.diag.message_primary or (str(error).strip().splitlines() or ["no reason given"])[0]
        if "password authentication failed" in message:
            return Failed(f"The PostgreSQL server {self.place} refuses the password.")
        if not code:
            return Retry(f"The PostgreSQL server {self.place} cannot be reached: {message}")
        sentence = f"The PostgreSQL server {self.place} says: {message} ({code})"
        return Retry(sentence) if code[:2] in PASSING or code in RACES else Failed(sentence)


@contextmanager
def session(call: Call, address: str, *, purpose: str = "work") -> Iterator[Session]:
    """Connect for the length of the block; `purpose` "work" ends what earlier attempts left.

    Raises LeaseLost, Retry (unreachable, busy, too slow) or Failed, worded for IT.
    """
    call.check()
    opened = Session(call, address, purpose)
    try:
        opened.open()
        if purpose == "work":
            opened.end_earlier_sessions()
        yield opened
    finally:
        opened.connection.close()
