"""Calendar jobs: each runs once a slot, whoever comes first, however many schedulers there are."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import cast

from celery import shared_task
from django.db import connection, transaction

from core.models import JobSlot

logger = logging.getLogger(__name__)

KEPT = timedelta(days=14)
Job = Callable[[], object]
_jobs: dict[str, tuple[timedelta, Job]] = {}


def every(period: timedelta, name: str, job: Job) -> None:
    """Have `job` run once in each `period`; `config` fills this table once all apps are loaded."""
    _jobs[name] = (period, job)


def run_due_jobs(now: datetime | None = None) -> list[str]:
    """Run the jobs whose slot nobody has taken yet, each in its own transaction; give their names."""
    now = now or _database_time()
    ran = []
    for name, (period, job) in _jobs.items():
        slot = datetime.fromtimestamp(now.timestamp() // period.total_seconds() * period.total_seconds(), UTC)
        if JobSlot.objects.filter(job=name, slot_start=slot).exists():
            continue
        try:
            with transaction.atomic():
                _, mine = JobSlot.objects.get_or_create(job=name, slot_start=slot)
                if mine:
                    job()
                    ran.append(name)
        except Exception:
            logger.exception("The job %s failed; the next sweep tries again.", name)
    return ran


def forget_old_slots() -> int:
    """Forget when jobs ran weeks ago; the slot of the longest period is never that old."""
    longest = max((period for period, _ in _jobs.values()), default=timedelta())
    deleted, _ = JobSlot.objects.filter(slot_start__lt=_database_time() - longest - KEPT).delete()
    return deleted


def _database_time() -> datetime:
    """Everybody's clock: workers whose own ones differ would run a job in two slots at once."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT clock_timestamp()")
        return cast("datetime", cursor.fetchone()[0])


@shared_task(name="core.tasks.housekeeping")
def housekeeping() -> None:
    """Beat's ring: run what is due now."""
    run_due_jobs()
