"""Every worker looks for due steps by itself, one worker at a time: a lost message costs seconds."""

import logging
import os
import threading
import time

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection, transaction

from core import bell, seals
from core.models import Pulse
from core.tasks import run_due_jobs

logger = logging.getLogger(__name__)

SWEEP_LOCK = 4_102_001
# Without a broker the sweep slows down, but still seals in time and says that it is there.
MAX_PAUSE_SECONDS = 10.0
WORKABLE = "state IN ('ready', 'retry', 'running', 'polling') AND due_at <= statement_timestamp()"
DUE = f"""
    (SELECT id, queue FROM provisioning_step WHERE {WORKABLE} AND queue <> 'long' ORDER BY urgency, due_at LIMIT %s)
    UNION ALL
    (SELECT id, queue FROM provisioning_step WHERE {WORKABLE} AND queue = 'long' ORDER BY urgency, due_at LIMIT 2)
"""  # noqa: S608 (constants of this file)
# Behind an open breaker nothing is late: it is not to be called.
OLDEST_DUE = f"""
    SELECT coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)
    FROM provisioning_step
    WHERE {WORKABLE} AND queue <> 'long'
      AND back_end NOT IN (SELECT back_end FROM provisioning_breaker WHERE state = 'open')
"""  # noqa: S608 (constants of this file)
# How long a worker may say nothing before it counts as lost, and before it is forgotten.
SILENT_SECONDS, FORGOTTEN_SECONDS = 25, 300
WORKER = "worker:"


def start(slots: int = 2, name: str = "") -> threading.Thread:
    """Start the sweeping thread of the worker `name`, which has `slots` places for steps."""
    thread = threading.Thread(target=_sweep_for_ever, args=(slots, name), name="sweeper", daemon=True)
    thread.start()
    return thread


def _sweep_for_ever(slots: int, name: str) -> None:
    pause = float(settings.SWEEP_SECONDS)
    while True:
        started = time.monotonic()
        try:
            sign_on(name, slots)
            rang_all = sweep(slots)
            pause = float(settings.SWEEP_SECONDS) if rang_all else min(MAX_PAUSE_SECONDS, pause * 2)
        except (DatabaseError, InterfaceError) as error:
            logger.warning("The sweep could not reach the database: %s", error)
            connection.close()
        except Exception:
            logger.exception("The sweep failed; it goes on.")
        time.sleep(max(0.1, pause - (time.monotonic() - started)))


def sweep(slots: int) -> bool:
    """Ring for due steps, seal the audit trail, run calendar jobs; tell whether the broker took every ring.

    Only one worker's sweep runs at a time; the others come back at once.
    """
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SWEEP_LOCK])
        if not cursor.fetchone()[0]:
            return True
        cursor.execute(DUE, [2 * slots])
        due = cursor.fetchall()
        seals.seal_events()
    rang_all = all(bell.publish(str(step_id), queue) for step_id, queue in due)
    run_due_jobs()
    _beat(broker_takes=rang_all)
    return rang_all


def _beat(*, broker_takes: bool) -> None:
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO core_pulse (role, at, facts)
               VALUES ('sweeper', clock_timestamp(), jsonb_build_object('broker', %s::text, 'pid', %s::int))
               ON CONFLICT (role) DO UPDATE SET at = excluded.at, facts = excluded.facts""",
            ["ok" if broker_takes else "degraded", os.getpid()],
        )


def sign_on(name: str, slots: int) -> None:
    """Say that this worker is there and how many places it has; forget those that have been silent for long."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO core_pulse (role, at, facts)
               VALUES (%s, clock_timestamp(), jsonb_build_object('places', %s::int, 'pid', %s::int))
               ON CONFLICT (role) DO UPDATE SET at = excluded.at, facts = excluded.facts""",
            [f"{WORKER}{name}", slots, os.getpid()],
        )
        cursor.execute(
            "DELETE FROM core_pulse WHERE role LIKE %s AND at < clock_timestamp() - make_interval(secs => %s)",
            [f"{WORKER}%", FORGOTTEN_SECONDS],
        )


def sign_off(name: str) -> None:
    """Say that this worker has ended as it was asked to."""
    try:
        Pulse.objects.filter(role=f"{WORKER}{name}").delete()
    except (DatabaseError, InterfaceError) as error:
        logger.warning("The worker could not sign off: %s", error)


def workers() -> list[tuple[str, float, int]]:
    """List the workers as (name, seconds since it last said something, places)."""
    with connection.cursor() as cursor:
        cursor.execute(
            """SELECT substr(role, %s), extract(epoch FROM clock_timestamp() - at), (facts->>'places')::int
               FROM core_pulse WHERE role LIKE %s ORDER BY role""",
            [len(WORKER) + 1, f"{WORKER}%"],
        )
        return [(name, float(age), places) for name, age, places in cursor]


def seconds_since_sweep() -> float | None:
    """Tell how long ago any worker swept, by the database's clock; None where none ever did."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT extract(epoch FROM clock_timestamp() - at) FROM core_pulse WHERE role = 'sweeper'")
        row = cursor.fetchone()
    return float(row[0]) if row else None


def oldest_due_seconds() -> float:
    """Tell how long the oldest due step has waited; 0 where none is due."""
    with connection.cursor() as cursor:
        cursor.execute(OLDEST_DUE)
        return float(cursor.fetchone()[0])


def last_pulse() -> Pulse | None:
    """Give what the last sweep said."""
    return Pulse.objects.filter(role="sweeper").first()
