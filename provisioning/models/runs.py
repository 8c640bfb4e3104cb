"""The work that makes, changes and removes services. The database is the queue."""

import uuid
from typing import Any, ClassVar

from django.db import models
from django.db.models import Case, F, Q, When
from django.db.models.functions import Now

from core import tracing
from provisioning.models.instances import ServiceInstance, sees_all_work


class RunQuerySet(models.QuerySet["Run"]):
    """Runs by who looks."""

    def visible_to(self, person: Any) -> "RunQuerySet":
        """Those of the services that he may look at."""
        if sees_all_work(person) and person.is_active:
            return self
        return self.filter(instance__in=ServiceInstance.objects.visible_to(person).values("pk"))


class Run(models.Model):
    """One execution of a workflow for a service instance: setting up, a change, a new password, removal."""

    class State(models.TextChoices):
        RUNNING = "running", "Running"
        COMPENSATING = "compensating", "Being undone"
        SUCCEEDED = "succeeded", "Succeeded"
        COMPENSATED = "compensated", "Undone"
        COMPENSATION_FAILED = "compensation_failed", "Undoing failed"
        ABANDONED = "abandoned", "Abandoned"

    class Kind(models.TextChoices):
        PROVISION = "provision", "Setting up"
        UPDATE = "update", "Changing"
        ROTATE = "rotate", "New password"
        RETIRE = "retire", "Removing"

    MOVES: ClassVar = {
        # A removal is itself an undoing: where it does not work, that is what has failed.
        State.RUNNING: {State.SUCCEEDED, State.COMPENSATING, State.COMPENSATION_FAILED, State.ABANDONED},
        State.COMPENSATING: {State.COMPENSATED, State.COMPENSATION_FAILED, State.ABANDONED},
        State.COMPENSATION_FAILED: {State.RUNNING, State.COMPENSATING, State.ABANDONED},
    }
    OPEN: ClassVar = [State.RUNNING, State.COMPENSATING]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    instance = models.ForeignKey(ServiceInstance, on_delete=models.PROTECT, related_name="runs")
    kind = models.CharField(max_length=10, choices=Kind, default=Kind.PROVISION)
    state = models.CharField(max_length=20, choices=State, default=State.RUNNING)
    # The order that caused it; a new password has none.
    order_ref = models.UUIDField(null=True, db_index=True)
    # What the steps may read: name, plan limits, parameters, requester. Fixed when the run starts.
    context = models.JSONField(default=dict)
    # W3C trace context: from the request that ordered to the back end's log.
    trace_id = models.CharField(max_length=32, default=tracing.new_trace_id, db_default="")
    reason = models.CharField(max_length=500, blank=True)
    created_at = models.DateTimeField(db_default=Now())
    finished_at = models.DateTimeField(null=True)

    objects = RunQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                fields=["instance"],
                condition=Q(state__in=["running", "compensating"]),
                name="one_open_run_an_instance",
            )
        ]
        indexes: ClassVar = [models.Index(fields=["state", "-created_at", "-id"])]

    def __str__(self) -> str:
        return f"{self.get_kind_display()}: {self.instance_id}"


class StepQuerySet(models.QuerySet["Step"]):
    """Steps by what stands with them."""

    def orphans(self) -> "StepQuerySet":
        """Those that should be gone from a back end and are not yet: undoing that was tried without success."""
        return self.filter(
            kind=Step.Kind.COMPENSATE,
            started_at__isnull=False,
            state__in=[
                Step.State.READY, Step.State.RUNNING, Step.State.POLLING, Step.State.RETRY,
                Step.State.WAITING_FOR_PERSON, Step.State.OUTCOME_UNKNOWN, Step.State.COMPENSATION_FAILED,
            ],
        )  # fmt: skip


class Step(models.Model):
    """One thing to do at a back end, or to undo there. Workers claim due rows; see services/claims.py."""

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

    class OnFailure(models.TextChoices):
        UNDO = "undo", "Undo what was done"
        WAIT = "wait", "Keep it and wait for an operator"

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
            State.SKIPPED,
        }
    )
    MOVES: ClassVar = {
        State.PENDING: {State.READY, State.CANCELED, State.SKIPPED},
        State.READY: {State.RUNNING, State.CANCELED, State.SKIPPED},
        State.RETRY: {State.RUNNING, State.CANCELED, State.FAILED, State.SKIPPED},
        State.RUNNING: _WORK,
        State.POLLING: _WORK,
        State.WAITING_FOR_PERSON: {State.SUCCEEDED, State.FAILED, State.CANCELED, State.SKIPPED},
        State.OUTCOME_UNKNOWN: {State.SUCCEEDED, State.FAILED, State.CANCELED, State.READY, State.SKIPPED},
        State.SUCCEEDED: {State.COMPENSATED},
        # A failed step that waits for an operator: tried again, or left out.
        State.FAILED: {State.READY, State.SKIPPED, State.CANCELED},
        State.COMPENSATION_FAILED: {State.READY, State.SKIPPED, State.CANCELED},
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
    # What limits and the breaker count by: the back end that the workflow names, or the connector where it names none.
    back_end = models.CharField(max_length=60, default="", db_default="")
    operation = models.CharField(max_length=10, default="start")
    inputs = models.JSONField(default=dict)
    when = models.CharField(
        max_length=2000,
        blank=True,
        default="",
        db_default="",
        help_text="Done only where this is true; see docs/workflows.md.",
    )
    on_failure = models.CharField(max_length=4, choices=OnFailure, default=OnFailure.UNDO, db_default="undo")
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
    # When a worker may take it: when its turn comes, or when the lease of a lost worker has run out.
    due_at = models.GeneratedField(
        expression=Case(When(lease_token__isnull=True, then=F("next_run_at")), default=F("lease_expires_at")),
        output_field=models.DateTimeField(null=True),
        db_persist=True,
    )
    # A person asked to look what came of it: `describe` is called instead of the operation.
    look_again = models.BooleanField(default=False, db_default=False)
    # What failed is known to have left nothing behind: nothing to undo.
    left_nothing = models.BooleanField(default=False, db_default=False)
    # What the back end calls its work on it, or how far the connector has got there.
    external_ref = models.TextField(blank=True)
    idempotency_key = models.UUIDField(unique=True, default=uuid.uuid4)
    outputs = models.JSONField(default=dict)
    detail = models.CharField(max_length=300, blank=True, help_text="What came of it, for the person who ordered.")
    error = models.CharField(max_length=1000, blank=True, help_text="What went wrong, for IT.")
    created_at = models.DateTimeField(db_default=Now())
    started_at = models.DateTimeField(null=True)
    finished_at = models.DateTimeField(null=True)

    # What its claim found; no columns: failures of the back end in a row, and whether this is a probe of a silent one.
    breaker_failures = 0
    is_probe = False

    objects = StepQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["run", "generation", "seq"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["run", "kind", "seq", "generation"], name="one_step_a_place"),
        ]
        indexes: ClassVar = [
            models.Index(
                fields=["urgency", "due_at"],
                condition=Q(state__in=["ready", "retry", "running", "polling"]),
                name="due_steps",
            ),
            models.Index(
                fields=["back_end", "urgency", "due_at"],
                condition=Q(state__in=["ready", "retry", "running", "polling"]),
                name="due_steps_by_back_end",
            ),
            models.Index(fields=["back_end"], condition=Q(lease_token__isnull=False), name="steps_under_way"),
            models.Index(
                fields=["created_at"],
                condition=Q(kind="compensate") & ~Q(state__in=["succeeded", "canceled", "skipped"]),
                name="steps_to_undo",
            ),
        ]

    def __str__(self) -> str:
        return self.name
