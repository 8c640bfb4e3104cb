"""What a Celery message makes a worker do: look for due steps. The message itself decides nothing."""

from uuid import UUID

from celery import shared_task

from provisioning.services import execution, imports, places, reconcile

# A child process may take an hour; a network call never does (config/celery.py has its limits).
LONG_SOFT_LIMIT, LONG_LIMIT = 3600, 3660


@shared_task(name="provisioning.tasks.advance")
def advance(step_id: str) -> None:
    """Do the named step if it is due, and whatever else is. A forged or stale id does nothing."""
    execution.work(_named(step_id))


@shared_task(name="provisioning.tasks.advance_long", soft_time_limit=LONG_SOFT_LIMIT, time_limit=LONG_LIMIT)
def advance_long(step_id: str) -> None:
    """Do one due step that may take minutes, where that leaves a place of this worker for quick ones."""
    with places.for_long_work() as is_free:
        if is_free:
            execution.work(_named(step_id), queue="long")


@shared_task(name=reconcile.TASK)
def look_at_services() -> None:
    """Look for a while whether what was delivered is still there, and ring for the rest."""
    if not reconcile.reconcile(seconds=reconcile.GO_ON_SECONDS).is_over:
        reconcile.ring()


@shared_task(name=imports.TASK)
def import_catalogs() -> None:
    """Import one broker's catalog that somebody asked for, and ring for the next."""
    if imports.work_off_imports():
        imports.ring()


def _named(step_id: str) -> UUID | None:
    try:
        return UUID(str(step_id))
    except ValueError:
        return None
