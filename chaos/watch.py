"""Who looks on: at the database past the application, and at the clock."""

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterable
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime
from http import HTTPStatus
from typing import Any

import psycopg2

from tests.processes import Web

# Away for a moment, as every other client of the database.
AWAY = (psycopg2.OperationalError, psycopg2.InterfaceError)
GIVE_UP_SECONDS = 90.0
# Recoveries with nothing else going on so long before and after are counted apart.
BEFORE_SECONDS, AFTER_SECONDS = 7.0, 6.0
HELD = """
    SELECT step_id, id FROM provisioning_stepattempt
    WHERE outcome = 'running' AND worker = ANY(%s)
"""
# When a worker went on with a step whose worker was killed: by another attempt, or by settling it.
GONE_ON = """
    SELECT coalesce(min(following.started_at), lost.finished_at)
    FROM provisioning_stepattempt AS lost
    LEFT JOIN provisioning_stepattempt AS following
        ON following.step_id = lost.step_id AND following.id > lost.id
    WHERE lost.id = %s AND lost.outcome = 'lost'
    GROUP BY lost.id
"""
CLAIMED = "SELECT min(started_at) FROM provisioning_stepattempt WHERE step_id = %s AND started_at >= %s"
WORKABLE = "state IN ('ready', 'retry', 'running', 'polling') AND due_at <= clock_timestamp()"
DUE = f"SELECT id FROM provisioning_step WHERE {WORKABLE} AND lease_token IS NULL"  # noqa: S608 (constants)
# Behind an open breaker nothing is late: it is not to be called.
OLDEST_DUE = f"""
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0) FROM provisioning_step
    WHERE {WORKABLE} AND back_end NOT IN (SELECT back_end FROM provisioning_breaker WHERE state = 'open')
"""  # noqa: S608 (constants)


@dataclass(frozen=True)
class Kill:
    """A worker or one of its places was killed over a step."""

    kind: str
    at: datetime
    attempt: int


@dataclass(frozen=True)
class Emptied:
    """Redis lost all while a step waited."""

    how: str
    at: datetime
    step: str


@dataclass
class Seen:
    """What a round showed: seconds, by what they are of."""

    recoveries: list[float] = field(default_factory=list)
    lonely_recoveries: list[float] = field(default_factory=list)
    after_loss_of_redis: list[float] = field(default_factory=list)
    after_restart_of_postgres: list[float] = field(default_factory=list)
    oldest_due: float = 0.0
    oldest_due_with_all_up: float = 0.0

    def add(self, other: "Seen") -> None:
        """Put the figures of another round to these."""
        self.recoveries += other.recoveries
        self.lonely_recoveries += other.lonely_recoveries
        self.after_loss_of_redis += other.after_loss_of_redis
        self.after_restart_of_postgres += other.after_restart_of_postgres
        self.oldest_due = max(self.oldest_due, other.oldest_due)
        self.oldest_due_with_all_up = max(self.oldest_due_with_all_up, other.oldest_due_with_all_up)


class Watch:
    """Looks on during one round."""

    def __init__(self, url: str, client: Callable[[], Web]) -> None:
        self.url, self.client = url, client
        self.seen = Seen()
        self.disturbances: list[tuple[str, datetime]] = []
        self._kills: list[Kill] = []
        self._emptied: list[Emptied] = []
        self._waiting: list[threading.Thread] = []
        self._next_sample = self._up_since = 0.0

    def ask(self, query: str, *values: Any) -> list[Any]:
        """Give the rows of a query. Raises one of AWAY where the database does not answer."""
        with closing(psycopg2.connect(self.url, connect_timeout=2)) as session:
            session.autocommit = True
            with session.cursor() as cursor:
                cursor.execute(query, values or None)
                return cursor.fetchall() if cursor.description else []

    def steps_held_by(self, pids: Iterable[int]) -> list[int]:
        """List the attempts that these processes are making."""
        workers = [f"{socket.gethostname()}:{pid}" for pid in pids]
        with contextlib.suppress(*AWAY):
            return [attempt for _, attempt in self.ask(HELD, workers)]
        return []

    def steps_due(self) -> list[str]:
        """List the steps that wait for a worker."""
        with contextlib.suppress(*AWAY):
            return [row[0] for row in self.ask(DUE)]
        return []

    def note_disturbance(self, name: str, at: datetime) -> None:
        """Note that something begins to go wrong."""
        self.disturbances.append((name, at))

    def note_kill(self, kind: str, attempts: list[int]) -> None:
        """Note that whoever made these attempts is dead now."""
        self._kills += [Kill(kind, datetime.now(UTC), attempt) for attempt in attempts]

    def note_emptied(self, how: str, steps: list[str]) -> None:
        """Note that Redis has forgotten all while these steps waited."""
        self._emptied += [Emptied(how, datetime.now(UTC), step) for step in steps]

    def wait_for_service(self, started: float) -> None:
        """Measure, aside, how long after `started` (monotonic) the web process serves with its database."""

        def wait() -> None:
            while time.monotonic() < started + GIVE_UP_SECONDS:
                with contextlib.suppress(OSError, ValueError):
                    if self.client().request("GET", "/readyz")[0] == HTTPStatus.OK:
                        break
                time.sleep(0.05)
            self.seen.after_restart_of_postgres.append(time.monotonic() - started)

        thread = threading.Thread(target=wait, daemon=True)
        thread.start()
        self._waiting.append(thread)

    def sample(self, *, is_up: bool) -> None:
        """Look once a second how long the oldest due step waits; `is_up`: Redis and a worker are there and awake."""
        self._up_since = (self._up_since or time.monotonic()) if is_up else 0.0
        if time.monotonic() < self._next_sample:
            return
        self._next_sample = time.monotonic() + 1.0
        with contextlib.suppress(*AWAY):
            waited = float(self.ask(OLDEST_DUE)[0][0])
            up = time.monotonic() - self._up_since if self._up_since else 0.0
            self.seen.oldest_due = max(self.seen.oldest_due, waited)
            self.seen.oldest_due_with_all_up = max(self.seen.oldest_due_with_all_up, min(waited, up))

    def conclude(self) -> Seen:
        """Add up what the round showed, once it is over."""
        for thread in self._waiting:
            thread.join()
        for kill in self._kills:
            rows = self.ask(GONE_ON, kill.attempt)
            if rows and rows[0][0]:
                seconds = (rows[0][0] - kill.at).total_seconds()
                self.seen.recoveries.append(seconds)
                if self._was_lonely(kill.at):
                    self.seen.lonely_recoveries.append(seconds)
        for emptied in self._emptied:
            ((claimed,),) = self.ask(CLAIMED, emptied.step, emptied.at)
            if claimed:
                self.seen.after_loss_of_redis.append((claimed - emptied.at).total_seconds())
        return self.seen

    def _was_lonely(self, at: datetime) -> bool:
        """Tell whether nothing else went wrong around a kill."""
        distances = [(other - at).total_seconds() for _, other in self.disturbances]
        return len([one for one in distances if -BEFORE_SECONDS < one < AFTER_SECONDS]) == 1
