"""The systems that workflows reach: where they are and how one signs in there."""

import uuid
from typing import Any, ClassVar

from django.core.validators import RegexValidator
from django.db import models
from django.db.models.functions import Now


class BackEnd(models.Model):
    """One system that a connector speaks to. Its credentials are stored encrypted, written and never shown."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(
        max_length=60,
        unique=True,
        validators=[RegexValidator(r"\A[a-z0-9][a-z0-9-]{0,58}\Z", "Use lower-case letters, digits and hyphens.")],
        help_text="How workflows name it.",
    )
    name = models.CharField(max_length=80)
    connector = models.CharField(max_length=40)
    address = models.CharField(max_length=500, blank=True, help_text="For example https://broker.example:8443/.")
    config = models.JSONField(default=dict, blank=True, help_text="What the connector needs besides; no secrets.")
    # The credentials as encrypted JSON, bound to this row and to the host that they were entered for.
    credentials = models.BinaryField(null=True, editable=False)
    limit = models.PositiveSmallIntegerField(
        "calls at a time", null=True, blank=True, help_text="Empty: as many as there are places."
    )
    is_active = models.BooleanField("in use", default=True)
    created_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar[list[Any]] = ["slug"]
        verbose_name = "back end"

    def __str__(self) -> str:
        return self.name
