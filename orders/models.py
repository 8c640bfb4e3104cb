"""Orders, what was accepted with them, and the keys that make a repeated order the same order."""

import uuid
from typing import Any, ClassVar

from django.conf import settings
from django.db import models
from django.db.models import Q
from django.db.models.functions import Lower, Now

from accounts.models import CostCenter
from approvals.models import Decision
from catalog.models import DataClass, Plan, Purpose
from core.models import APPEND_ONLY
from provisioning.models import ServiceInstance, sees_all_work


class NextNumber(models.Func):
    """The next order number, for people to say on the phone."""

    template = "nextval('orders_number')"
    arity = 0
    output_field = models.BigIntegerField()


class OrderQuerySet(models.QuerySet["Order"]):
    """Orders by who looks."""

    def visible_to(self, person: Any) -> "OrderQuerySet":
        """One's own, those on a cost center or of an offering that one owns; operators and auditors see all."""
        if not person.is_active:
            return self.none()
        if sees_all_work(person):
            return self
        return self.filter(
            Q(requester=person)
            | Q(beneficiary=person)
            | Q(cost_center__owner=person)
            | Q(plan__version__offering__service_owner=person)
        )


class Order(models.Model):
    """What one person asked for, on whose account, and how far it has got."""

    class State(models.TextChoices):
        SUBMITTED = "submitted", "Submitted"
        AWAITING_APPROVAL = "awaiting_approval", "Awaiting approval"
        DENIED = "denied", "Denied"
        FULFILLING = "fulfilling", "Being delivered"
        COMPLETED = "completed", "Completed"
        FAILED = "failed", "Failed"
        CANCELED = "canceled", "Canceled"

    class Action(models.TextChoices):
        ADD = "add", "Order"
        MODIFY = "modify", "Change"
        DELETE = "delete", "Remove"

    MOVES: ClassVar = {
        State.SUBMITTED: {State.AWAITING_APPROVAL, State.FULFILLING, State.DENIED, State.CANCELED},
        State.AWAITING_APPROVAL: {State.FULFILLING, State.DENIED, State.CANCELED},
        State.FULFILLING: {State.COMPLETED, State.FAILED, State.CANCELED},
        State.FAILED: {State.FULFILLING},
    }
    OPEN: ClassVar = [State.SUBMITTED, State.AWAITING_APPROVAL, State.FULFILLING]

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    number = models.BigIntegerField(unique=True, db_default=NextNumber(), editable=False)
    action = models.CharField(max_length=10, choices=Action, default=Action.ADD)
    state = models.CharField(max_length=20, choices=State, default=State.SUBMITTED)
    name = models.CharField(max_length=60)
    plan = models.ForeignKey(Plan, on_delete=models.PROTECT, related_name="orders")
    # The version's hash as ordered: what was promised cannot change behind the order's back.
    content_hash = models.CharField(max_length=64)
    parameters = models.JSONField(default=dict)
    purpose = models.CharField(max_length=20, choices=Purpose)
    data_classification = models.CharField(max_length=20, choices=DataClass)
    requester = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders")
    beneficiary = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="orders_for")
    cost_center = models.ForeignKey(CostCenter, on_delete=models.PROTECT, related_name="orders")
    one_off = models.DecimalField(max_digits=16, decimal_places=4)
    monthly = models.DecimalField(max_digits=16, decimal_places=4)
    currency = models.CharField(max_length=3)
    quote = models.JSONField()
    decision = models.ForeignKey(Decision, on_delete=models.PROTECT, related_name="+")
    instance = models.ForeignKey(ServiceInstance, on_delete=models.PROTECT, null=True, related_name="orders")
    created_at = models.DateTimeField(db_default=Now())
    completed_at = models.DateTimeField(null=True)
    cancel_requested_at = models.DateTimeField(null=True)

    objects = OrderQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created_at", "-id"]
        constraints: ClassVar = [
            models.UniqueConstraint(
                "cost_center",
                Lower("name"),
                condition=Q(action="add", state__in=["submitted", "awaiting_approval", "fulfilling"]),
                name="open_name_in_cost_center",
            )
        ]
        indexes: ClassVar = [
            models.Index(fields=["requester", "-created_at", "-id"]),
            models.Index(fields=["cost_center", "-created_at", "-id"]),
            models.Index(fields=["-created_at", "-id"]),
        ]

    def __str__(self) -> str:
        return f"Order {self.number}"


class TermsAcceptance(models.Model):
    """One person's yes to one text of terms, for one order: what, who, when."""

    order = models.OneToOneField(Order, on_delete=models.PROTECT, related_name="acceptance")
    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="acceptances")
    terms_hash = models.CharField(max_length=64)
    accepted_at = models.DateTimeField(db_default=Now())

    class Meta:
        ordering: ClassVar = ["-accepted_at"]
        triggers: ClassVar = APPEND_ONLY

    def __str__(self) -> str:
        return f"{self.person} accepted {self.terms_hash[:12]}"


class IdempotencyKey(models.Model):
    """One key that a person gave to one route: the same key and input give the first answer again."""

    person = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.CASCADE, related_name="+")
    route = models.CharField(max_length=40)
    key = models.CharField(max_length=255)
    fingerprint = models.CharField(max_length=64)
    order = models.ForeignKey(Order, on_delete=models.CASCADE, null=True, related_name="+")
    answer = models.JSONField(null=True)
    created_at = models.DateTimeField(db_default=Now())

    class Meta:
        constraints: ClassVar = [models.UniqueConstraint(fields=["person", "route", "key"], name="one_answer_a_key")]
        indexes: ClassVar = [models.Index(fields=["created_at"])]

    def __str__(self) -> str:
        return f"{self.route} {self.key}"
