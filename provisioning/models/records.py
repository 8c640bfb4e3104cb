"""What is written down about steps and the back ends that they called."""

import uuid
from typing import ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import BrinIndex
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now

from provisioning.models.instances import ServiceInstance
from provisioning.models.runs import Step


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
        # Attempts are made in the order of time, so that the coarsest index finds the last hour.
        indexes: ClassVar = [BrinIndex(fields=["started_at"], name="attempts_by_time", autosummarize=True)]

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


class Breaker(models.Model):
    """How a back end has answered lately; one row a back end that ever failed or was slow.

    Open: nothing is sent there but one probe at a time, and no order loses attempts over it.
    """

    class State(models.TextChoices):
        CLOSED = "closed", "Working"
        OPEN = "open", "Not answering"

    back_end = models.CharField(primary_key=True, max_length=60)
    state = models.CharField(max_length=10, choices=State, default=State.CLOSED)
    failures = models.PositiveIntegerField(default=0, help_text="One after the other.")
    opened_at = models.DateTimeField(null=True)
    probe_at = models.DateTimeField(null=True, help_text="When it is tried again.")
    slow_at = models.DateTimeField(null=True, help_text="When a call last took long.")
    last_error = models.CharField(max_length=500, blank=True)

    class Meta:
        ordering: ClassVar = ["back_end"]

    def __str__(self) -> str:
        return f"{self.back_end}: {self.get_state_display().lower()}"


class Callback(models.Model):
    """One piece of signed news from a back end about a step. Kept, so that the same one counts once."""

    back_end = models.CharField(max_length=60)
    webhook_id = models.CharField(max_length=200)
    step = models.ForeignKey(Step, on_delete=models.PROTECT, null=True, related_name="callbacks")
    body = models.JSONField(default=dict)
    received_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["id"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["back_end", "webhook_id"], name="one_callback_an_id")]

    def __str__(self) -> str:
        return f"{self.back_end} {self.webhook_id}"


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
