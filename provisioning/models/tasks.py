"""What people do by hand."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from accounts.models import Role
from provisioning.models.runs import Step


class ManualTaskQuerySet(models.QuerySet["ManualTask"]):
    """Tasks by who looks."""

    def visible_to(self, person: Any) -> "ManualTaskQuerySet":
        """Those that he may do: of his role, given to him, or of his offering."""
        if not person.is_active:
            return self.none()
        if person.is_superuser or person.roles & {Role.PLATFORM_ADMIN, Role.AUDITOR}:
            return self
        return self.filter(
            Q(role__in=person.roles)
            | Q(assignee=person)
            | Q(step__run__instance__plan__version__offering__service_owner=person)
        )


class ManualTask(models.Model):
    """One thing that a person does by hand for a service instance."""

    class State(models.TextChoices):
        OPEN = "open", "Open"
        DONE = "done", "Done"
        CANCELED = "canceled", "Canceled"

    MOVES: ClassVar = {State.OPEN: {State.DONE, State.CANCELED}}

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    step = models.OneToOneField(Step, on_delete=models.PROTECT, related_name="task")
    state = models.CharField(max_length=10, choices=State, default=State.OPEN)
    title = models.CharField(max_length=120)
    instructions = models.TextField(blank=True)
    role = models.CharField(max_length=30, choices=Role, default=Role.IT_ADMIN)
    assignee = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="tasks")
    output_fields = models.JSONField(default=list)
    due_at = models.DateTimeField(null=True)
    created_at = models.DateTimeField(db_default=Now())
    done_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")
    done_at = models.DateTimeField(null=True)
    outputs = models.JSONField(default=dict)

    objects = ManualTaskQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["due_at", "created_at", "id"]
        verbose_name = "task"

    def __str__(self) -> str:
        return self.title
