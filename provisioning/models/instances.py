"""What was delivered, whose it is and who pays."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from accounts.models import CostCenter, Role
from catalog.models import Plan


class ServiceInstanceQuerySet(models.QuerySet["ServiceInstance"]):
    """Service instances by who looks."""

    def visible_to(self, person: Any) -> "ServiceInstanceQuerySet":
        """One's own, those on a cost center that one owns, those of an offering that one owns; operators see all."""
        if not person.is_active:
            return self.none()
        if sees_all_work(person):
            return self
        return self.filter(
            Q(owner=person) | Q(cost_center__owner=person) | Q(plan__version__offering__service_owner=person)
        )


def sees_all_work(person: Any) -> bool:
    """Tell whether `person` looks at everybody's orders and services by role."""
    return person.is_superuser or bool(person.roles & {Role.IT_ADMIN, Role.AUDITOR, Role.FINANCE, Role.PLATFORM_ADMIN})


class ServiceInstance(models.Model):
    """One thing that was delivered, whose it is and who pays."""

    class State(models.TextChoices):
        PROVISIONING = "provisioning", "Being set up"
        ACTIVE = "active", "Active"
        UPDATING = "updating", "Being changed"
        SUSPENDED = "suspended", "Suspended"
        RETIRING = "retiring", "Being removed"
        RETIRED = "retired", "Removed"
        FAILED = "failed", "Failed"
        MISSING = "missing", "Missing"

    MOVES: ClassVar = {
        State.PROVISIONING: {State.ACTIVE, State.FAILED, State.RETIRED},
        State.ACTIVE: {State.UPDATING, State.SUSPENDED, State.RETIRING, State.MISSING},
        State.UPDATING: {State.ACTIVE, State.MISSING},
        State.SUSPENDED: {State.ACTIVE, State.RETIRING, State.MISSING},
        State.RETIRING: {State.RETIRED, State.ACTIVE, State.FAILED},
        State.MISSING: {State.ACTIVE, State.RETIRING, State.RETIRED},
        State.FAILED: {State.RETIRING, State.PROVISIONING},
    }
    ENDED: ClassVar = [State.RETIRED, State.FAILED]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    name = models.CharField(max_length=60)
    state = models.CharField(max_length=12, choices=State, default=State.PROVISIONING)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="instances")
    cost_center = models.ForeignKey(CostCenter, on_delete=models.PROTECT, related_name="instances")
    owner = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="instances")
    parameters = models.JSONField(default=dict)
    # The order that made it; orders stand above, so there is no foreign key.
    order_ref = models.UUIDField(db_index=True)
    outputs = models.JSONField(default=dict)
    created_at = models.DateTimeField(db_default=Now())
    active_at = models.DateTimeField(null=True)
    expires_at = models.DateTimeField(null=True)
    # When we last looked whether it is there; null: never yet.
    checked_at = models.DateTimeField(null=True)

    objects = ServiceInstanceQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        verbose_name = "service"
        constraints: ClassVar = [
            models.UniqueConstraint(
                "cost_center",
                Lower("name"),
                condition=~Q(state__in=["retired", "failed"]),
                name="live_name_in_cost_center",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["owner", "-created_at"]),
            models.Index(
                fields=["checked_at"], condition=Q(state__in=["active", "missing"]), name="instances_to_look_at"
            ),
        ]

    def __str__(self) -> str:
        return self.name
