"""How back ends have answered lately, so that a silent one costs no attempts and a slow one holds up nobody else.

After FAILURES failures in a row the breaker opens: one probe at a time is sent, at growing distances, until one
is answered. A failed probe does not count as an attempt of the step that made it.
"""

from typing import Any

from django.db import connection

from core import events
from core.permissions import require
from core.secrets import scrub
from provisioning.models import Breaker

FAILURES = 5
SLOW_SECONDS = 2.0

# One statement, since many workers hear of the same outage at the same moment.
NOTE_FAILURE = """
    INSERT INTO provisioning_breaker AS breaker (back_end, state, failures, last_error)
    VALUES (%(back_end)s, 'closed', 1, %(error)s)
    ON CONFLICT (back_end) DO UPDATE
    SET failures = breaker.failures + 1,
        last_error = excluded.last_error,
        state = CASE WHEN breaker.failures + 1 >= %(failures)s THEN 'open' ELSE breaker.state END,
        opened_at = CASE WHEN breaker.failures + 1 >= %(failures)s THEN coalesce(breaker.opened_at, now()) END,
        probe_at = CASE WHEN breaker.failures + 1 >= %(failures)s
            THEN clock_timestamp() + (0.75 + random() / 2)
                 * make_interval(secs => least(60, 2 ^ least(breaker.failures + 1 - %(failures)s, 10)))
            END
    RETURNING state = 'open' AND opened_at = now()
"""


def note_failure(back_end: str, error: str) -> None:
    """Count a call that `back_end` did not answer, or answered with a fault of its own."""
    with connection.cursor() as cursor:
        cursor.execute(NOTE_FAILURE, {"back_end": back_end, "error": scrub(error)[:500], "failures": FAILURES})
        has_just_opened = cursor.fetchone()[0]
    if has_just_opened:
        _record("breaker.open", back_end, error=scrub(error)[:200])


def note_answer(back_end: str) -> None:
    """Note that `back_end` answers again, whatever it said."""
    row = Breaker.objects.filter(back_end=back_end)
    is_closing = row.filter(state=Breaker.State.OPEN).update(
        state=Breaker.State.CLOSED, failures=0, opened_at=None, probe_at=None
    )
    if is_closing:
        _record("breaker.closed", back_end)
    else:
        row.update(failures=0)


def note_slow(back_end: str) -> None:
    """Note that a call there took long: for a while it gets half of the workers' places at most."""
    with connection.cursor() as cursor:
        cursor.execute(
            """INSERT INTO provisioning_breaker (back_end, state, failures, last_error, slow_at)
               VALUES (%s, 'closed', 0, '', clock_timestamp())
               ON CONFLICT (back_end) DO UPDATE SET slow_at = excluded.slow_at""",
            [back_end],
        )


def probe_now(back_end: str, *, actor: Any) -> None:
    """Let the next step try a silent back end at once."""
    require(actor, "provisioning.operate_run")
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE provisioning_breaker SET probe_at = clock_timestamp() WHERE back_end = %s AND state = 'open'",
            [back_end],
        )
    _record("breaker.probed", back_end, actor=actor)


def _record(name: str, back_end: str, *, actor: Any = None, **facts: Any) -> None:
    # A breaker is named, not numbered: the trail finds it by the name of the back end.
    row = Breaker()
    row.pk = None
    events.record(name, row, actor=actor, back_end=back_end, **facts)
