"""What every app writes to: the audit trail, its seals, and which calendar job has run."""

from typing import Any, ClassVar

import pgtrigger
from django.db import models
from django.db.models.functions import Now
from psycopg2.extras import Json

# A row that says what happened is never changed: refused for every role, owner included.
APPEND_ONLY: list[pgtrigger.Trigger] = [
    pgtrigger.Protect(name="append_only", operation=pgtrigger.Update | pgtrigger.Delete),
    pgtrigger.Trigger(
        name="no_truncate",
        level=pgtrigger.Statement,
        when=pgtrigger.Before,
        operation=pgtrigger.Truncate,
        func="RAISE EXCEPTION 'the table % is append-only', TG_TABLE_NAME;",
    ),
]


class OrderedJSONField(models.JSONField):
    """JSON whose names keep the order in which they were written: a form's fields are shown in it."""

    def db_type(self, connection: Any) -> str:
        """PostgreSQL's `json` keeps the text, `jsonb` sorts the names."""
        return "json"

    def from_db_value(self, value: Any, expression: Any, connection: Any) -> Any:
        """The driver parses `json` columns by itself."""
        return super().from_db_value(value, expression, connection) if isinstance(value, str) else value

    def get_db_prep_value(self, value: Any, connection: Any, prepared: bool = False) -> Any:  # noqa: FBT001, FBT002 (Django's signature)
        """Send plain `json`: Django's own adapter casts to `jsonb`, which would sort the names on the way."""
        sent = super().get_db_prep_value(value, connection, prepared)
        return Json(sent.adapted) if isinstance(sent, Json) else sent


class Event(models.Model):
    """One fact: what happened to which row, through whom, with the numbers of the moment."""

    at = models.DateTimeField(db_default=Now())
    # Plain values, not foreign keys: the trail outlives people and rows, and core knows no other app.
    actor_id = models.UUIDField(null=True)
    actor = models.CharField(max_length=150, default="system")
    name = models.CharField(max_length=100)
    subject_type = models.CharField(max_length=100)
    subject_id = models.UUIDField(null=True)
    facts = models.JSONField(default=dict)

    class Meta:
        """Found by subject; never changed."""

        indexes: ClassVar = [models.Index(fields=["subject_id", "id"]), models.Index(fields=["name", "id"])]
        triggers: ClassVar = APPEND_ONLY

    def __str__(self) -> str:
        """As a log line would say it."""
        return f"{self.name} {self.subject_id} by {self.actor}"


class EventSeal(models.Model):
    """One sealed event: its place in the gap-free chain and the hash that covers all before it."""

    seq = models.BigIntegerField(primary_key=True)
    event = models.OneToOneField(Event, on_delete=models.PROTECT, related_name="seal", db_constraint=False)
    prev_hash = models.CharField(max_length=64)
    row_hash = models.CharField(max_length=64)

    class Meta:
        """Never changed."""

        triggers: ClassVar = APPEND_ONLY

    def __str__(self) -> str:
        """Its place in the chain."""
        return f"seal {self.seq}"


class JobSlot(models.Model):
    """One run of a calendar job: whoever inserts the row runs it, so two schedulers do no harm."""

    job = models.CharField(max_length=60)
    slot_start = models.DateTimeField()
    ran_at = models.DateTimeField(db_default=Now())

    class Meta:
        """Once a job and slot."""

        constraints: ClassVar = [models.UniqueConstraint(fields=["job", "slot_start"], name="one_run_a_slot")]

    def __str__(self) -> str:
        """Which job, which slot."""
        return f"{self.job} {self.slot_start:%Y-%m-%d %H:%M}"


class Pulse(models.Model):
    """The last time that the sweeper of some worker did its round; one row a role."""

    role = models.CharField(primary_key=True, max_length=30)
    at = models.DateTimeField(db_default=Now())
    facts = models.JSONField(default=dict)

    def __str__(self) -> str:
        """Who beat when."""
        return f"{self.role} at {self.at}"


class StoredFile(models.Model):
    """One uploaded file, kept in the database so that any host can serve it; at most 10 MiB."""

    MAX_BYTES = 10 * 1024 * 1024

    name = models.CharField(max_length=200)
    content_type = models.CharField(max_length=100)
    sha256 = models.CharField(max_length=64)
    content = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        """The name under which it was uploaded."""
        return self.name
