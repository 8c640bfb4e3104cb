"""What a Celery message makes a worker do: look for due steps. The message itself decides nothing."""

from uuid import UUID

from celery import shared_task

from provisioning.services import execution


@shared_task(name="provisioning.tasks.advance")
def advance(step_id: str) -> None:
    """Do the named step if it is due, and whatever else is. A forged or stale id does nothing."""
    try:
        named: UUID | None = UUID(str(step_id))
    except ValueError:
        named = None
    execution.work(named)
