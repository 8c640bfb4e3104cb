"""Decisions: kept for good, with what they were made of."""

import uuid
from typing import ClassVar

from django.db import models
from django.db.models.functions import Now

from core.models import APPEND_ONLY


class Decision(models.Model):
    """One answer to one order: every rule that was asked, its version, what it read and what it said."""

    class Outcome(models.TextChoices):
        ALLOWED = "allowed", "Allowed"
        DENIED = "denied", "Denied"

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    # Orders stand above, so there is no foreign key.
    order_ref = models.UUIDField(db_index=True)
    outcome = models.CharField(max_length=20, choices=Outcome)
    reasons = models.JSONField()
    facts = models.JSONField()
    facts_hash = models.CharField(max_length=64)
    decided_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["-decided_at", "-id"]
        triggers: ClassVar = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.get_outcome_display()} ({self.order_ref})"
