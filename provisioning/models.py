"""Service instances, and the work that makes, changes and removes them. The database is the queue."""

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
        indexes: ClassVar = [models.Index(fields=["owner", "-created_at"])]

    def __str__(self) -> str:
        return self.name


class Run(models.Model):
    """One execution of a workflow for a service instance: setting up, a new password, removal."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        COMPENSATING = "compensating", "Being undone"
        SUCCEEDED = "succeeded", "Succeeded"
        COMPENSATED = "compensated", "Undone"
        COMPENSATION_FAILED = "compensation_failed", "Undoing failed"
        ABANDONED = "abandoned", "Abandoned"

    class Kind(models.TextChoices):
        PROVISION = "provision", "Setting up"
        ROTATE = "rotate", "New password"
        RETIRE = "retire", "Removing"

    MOVES: ClassVar = {
        State.RUNNING: {State.SUCCEEDED, State.COMPENSATING, State.ABANDONED},
        State.COMPENSATING: {State.COMPENSATED, State.COMPENSATION_FAILED, State.ABANDONED},
        State.COMPENSATION_FAILED: {State.COMPENSATING, State.ABANDONED},
    }
    OPEN: ClassVar = [State.RUNNING, State.COMPENSATING]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    instance = models.ForeignKey(ServiceInstance, on_delete=models.PROTECT, related_name="runs")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.PROVISION)
    state = models.CharField(max_length=20, choices=State, default=State.RUNNING)
    # What the steps may read: name, plan limits, parameters, requester. Fixed when the run starts.
    context = models.JSONField(default=dict)
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["instance"],
                condition=Q(state__in=["running", "compensating"]),
                name="one_open_run_an_instance",
            )
        ]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.instance_id}"


class Step(models.Model):
    """One thing to do at a back end, or to undo there. Workers claim due rows; see provisioning/engine."""

    class State(models.TextChoices):
        PENDING = "pending", "Waiting"
        READY = "ready", "Waiting for a worker"
        RUNNING = "running", "In progress"
        POLLING = "polling", "In progress"
        RETRY = "retry", "Will be tried again"
        WAITING_FOR_PERSON = "waiting_for_person", "Needs a person"
        OUTCOME_UNKNOWN = "outcome_unknown", "Needs a person"
        SUCCEEDED = "succeeded", "Done"
        FAILED = "failed", "Failed"
        SKIPPED = "skipped", "Skipped"
        COMPENSATED = "compensated", "Undone"
        COMPENSATION_FAILED = "compensation_failed", "Undoing failed"
        CANCELED = "canceled", "Canceled"

    class Kind(models.TextChoices):
        DO = "do", "Do"
        COMPENSATE = "compensate", "Undo"

    _WORK = frozenset(
        {
            State.RETRY,
            State.WAITING_FOR_PERSON,
            State.OUTCOME_UNKNOWN,
            State.SUCCEEDED,
            State.FAILED,
            State.CANCELED,
            State.POLLING,
            State.COMPENSATION_FAILED,
        }
    )
    MOVES: ClassVar = {
        State.PENDING: {State.READY, State.CANCELED, State.SKIPPED},
        State.READY: {State.RUNNING, State.CANCELED},
        State.RETRY: {State.RUNNING, State.CANCELED, State.FAILED},
        State.RUNNING: _WORK,
        State.POLLING: _WORK,
        State.WAITING_FOR_PERSON: {State.SUCCEEDED, State.FAILED, State.CANCELED},
        State.OUTCOME_UNKNOWN: {State.SUCCEEDED, State.FAILED, State.CANCELED, State.READY},
        State.SUCCEEDED: {State.COMPENSATED},
        State.FAILED: {State.READY},
        State.COMPENSATION_FAILED: {State.READY},
    }
    # In the hands of the workers: due at next_run_at, or lost when the lease runs out.
    WORKABLE: ClassVar = [State.READY, State.RETRY, State.RUNNING, State.POLLING]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    run = models.ForeignKey(Run, on_delete=models.PROTECT, related_name="steps")
    seq = models.PositiveSmallIntegerField()
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.DO)
    undoes = models.ForeignKey("self", on_delete=models.PROTECT, null=True, related_name="undone_by")
    name = models.CharField(max_length=80)
    connector = models.CharField(max_length=40)
    operation = models.CharField(max_length=10, default="start")
    inputs = models.JSONField(default=dict)
    state = models.CharField(max_length=20, choices=State, default=State.PENDING)
    urgency = models.PositiveSmallIntegerField(default=0, help_text="0: a person waits for it; larger: later.")
    queue = models.CharField(max_length=10, default="default")
    attempt = models.PositiveIntegerField(default=0)
    max_attempts = models.PositiveSmallIntegerField(default=5)
    timeout_seconds = models.PositiveIntegerField(default=600)
    generation = models.PositiveIntegerField(default=0)
    lease_token = models.BigIntegerField(null=True)
    lease_expires_at = models.DateTimeField(null=True)
    claimed_at = models.DateTimeField(null=True)
    heartbeat_at = models.DateTimeField(null=True)
    next_run_at = models.DateTimeField(null=True)
    deadline_at = models.DateTimeField(null=True)
    external_ref = models.CharField(max_length=200, blank=True)
    idempotency_key = models.UUIDField(unique=True, default=uuid.uuid4)
    outputs = models.JSONField(default=dict)
    detail = models.CharField(max_length=300, blank=True, help_text="What came of it, for the person who ordered.")
    error = models.CharField(max_length=1000, blank=True, help_text="What went wrong, for IT.")
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    class Meta:
        ordering: ClassVar = ["run", "generation", "seq"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "kind", "seq", "generation"], name="one_step_a_place"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["urgency", "next_run_at"],
                condition=Q(state__in=["ready", "retry", "running", "polling"]),
                name="due_steps",
            ),
        ]

    def __str__(self) -> str:
        return self.name


class StepAttempt(models.Model):
    """One claim of a step by a worker, and how it ended."""

    class Outcome(models.TextChoices):
        RUNNING = "running", "In progress"
        SUCCEEDED = "succeeded", "Succeeded"
        POLLING = "polling", "Not finished yet"
        RETRY = "retry", "Will be tried again"
        WAITING = "waiting", "Handed to a person"
        FAILED = "failed", "Failed"
        LOST = "lost", "Worker lost"
        UNKNOWN = "unknown", "Outcome unknown"

    step = models.ForeignKey(Step, on_delete=models.PROTECT, related_name="attempts")
    number = models.PositiveIntegerField()
    lease_token = models.BigIntegerField(unique=True)
    outcome = models.CharField(max_length=10, choices=Outcome, default=Outcome.RUNNING)
    worker = models.CharField(max_length=120)
    started_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=1000, blank=True)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return f"attempt {self.number}: {self.get_outcome_display()}"


class StepLine(models.Model):
    """One line of a step's technical log; secrets are taken out before it is written."""

    step = models.ForeignKey(Step, on_delete=models.PROTECT, related_name="lines")
    at = models.DateTimeField(db_default=Now())
    text = models.CharField(max_length=500)

    class Meta:
        ordering: ClassVar = ["id"]

    def __str__(self) -> str:
        return self.text


class Secret(models.Model):
    """One password of a service instance: encrypted, in force once its step is done, shown once."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    instance = models.ForeignKey(ServiceInstance, on_delete=models.PROTECT, related_name="secrets")
    step = models.ForeignKey(Step, on_delete=models.PROTECT, related_name="secrets")
    name = models.CharField(max_length=40)
    ciphertext = models.BinaryField()
    created_at = models.DateTimeField(db_default=Now())
    # Until the back end took it, the one before stays in force.
    in_force_at = models.DateTimeField(null=True)
    superseded_at = models.DateTimeField(null=True)
    revealed_at = models.DateTimeField(null=True)
    revealed_to = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, null=True, related_name="+")

    class Meta:
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["instance", "name"],
                condition=Q(in_force_at__isnull=False, superseded_at__isnull=True),
                name="one_secret_in_force",
            )
        ]

    def __str__(self) -> str:
        return f"{self.name} of {self.instance_id}"


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
