"""What people asked of service brokers' catalogs."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from catalog.models import BackEnd, Category


class BrokerImport(models.Model):
    """One import of a broker's catalog into draft offerings: who asked for it, and what came of it."""

    class State(models.TextChoices):
        QUEUED = "queued", "Waiting for a worker"
        RUNNING = "running", "In progress"
        DONE = "done", "Done"
        FAILED = "failed", "Failed"

    MOVES: ClassVar = {
        State.QUEUED: {State.RUNNING},
        State.RUNNING: {State.DONE, State.FAILED},
    }
    OPEN: ClassVar = [State.QUEUED, State.RUNNING]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    back_end = models.ForeignKey(BackEnd, on_delete=models.PROTECT, related_name="imports")
    # For offerings that are new; those imported before keep theirs.
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="+")
    service_owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    requested_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+")
    state = models.CharField(max_length=8, choices=State, default=State.QUEUED)
    attempt = models.PositiveSmallIntegerField(default=0)
    requested_at = models.DateTimeField(db_default=Now())
    # When a worker last took it, by the true clock; who finishes it must have been the last.
    claimed_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)
    # Slugs by `created`, `updated`, `unchanged`; `problems` as sentences.
    result = models.JSONField(default=dict)
    error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ["-requested_at", "-id"]
        verbose_name = "import"
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["back_end"], condition=Q(state__in=["queued", "running"]), name="one_open_import_a_back_end"
            )
        ]
        indexes: ClassVar = [models.Index(fields=["back_end", "-requested_at", "-id"])]

    def __str__(self) -> str:
        return f"{self.back_end}: {self.get_state_display().lower()}"
