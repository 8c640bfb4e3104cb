"""What exactly is promised: versions with their plans, prices and workflow. Frozen once published."""

import uuid
from typing import Any, ClassVar

import pgtrigger
from django.conf import settings
from django.contrib.postgres.fields import ArrayField
from django.core.validators import MaxValueValidator, MinValueValidator, RegexValidator
from django.db import models
from django.db.models import F, Q
from django.db.models.functions import Now

from catalog.models.offerings import Offering
from core.models import OrderedJSONField


class Purpose(models.TextChoices):
    """What a service may be used for; terms of use allow some of them."""

    DEVELOPMENT = "development", "Development"
    TEST = "test", "Test"
    PRODUCTION = "production", "Production"
    ANALYTICS = "analytics", "Analytics"
    OFFICE = "office", "Office work"


class DataClass(models.TextChoices):
    """How confidential the data is that will lie in a service."""

    PUBLIC = "public", "Public"
    INTERNAL = "internal", "Internal"
    CONFIDENTIAL = "confidential", "Confidential"
    RESTRICTED = "restricted", "Restricted"


FROZEN = pgtrigger.Trigger(
    name="published_is_frozen",
    when=pgtrigger.Before,
    operation=pgtrigger.Update | pgtrigger.Delete,
    condition=pgtrigger.Condition("OLD.state <> 'draft'"),
    func="""
        IF TG_OP = 'DELETE' THEN RAISE EXCEPTION 'a published version is frozen'; END IF;
        IF to_jsonb(NEW) - 'state' - 'retired_at' <> to_jsonb(OLD) - 'state' - 'retired_at' OR NEW.state = 'draft' THEN
            RAISE EXCEPTION 'a published version is frozen';
        END IF;
        RETURN NEW;
    """,
)
NO_AUTHOR_PUBLISHES = pgtrigger.Trigger(
    name="no_author_publishes",
    when=pgtrigger.Before,
    operation=pgtrigger.Insert | pgtrigger.Update,
    condition=pgtrigger.Condition("NEW.published_by_id IS NOT NULL"),
    func="""
        IF NEW.published_by_id = ANY(NEW.author_ids) THEN
            RAISE EXCEPTION 'who wrote a version cannot publish it';
        END IF;
        RETURN NEW;
    """,
)


def _frozen_with(version_of_row: str, besides: str = "") -> pgtrigger.Trigger:
    """Refuse changes of a row whose version is no draft any more, but for the columns `besides`."""
    return pgtrigger.Trigger(
        name="frozen_with_version",
        when=pgtrigger.Before,
        operation=pgtrigger.Insert | pgtrigger.Update | pgtrigger.Delete,
        declare=[("changed", "RECORD")],
        func=f"""
            changed := CASE WHEN TG_OP = 'DELETE' THEN OLD ELSE NEW END;
            IF EXISTS (SELECT 1 FROM catalog_offeringversion v WHERE v.state <> 'draft' AND v.id = {version_of_row})
               AND NOT (TG_OP = 'UPDATE' AND to_jsonb(NEW) {besides} = to_jsonb(OLD) {besides}) THEN
                RAISE EXCEPTION 'a published version is frozen';
            END IF;
            RETURN changed;
        """,  # noqa: S608 (column names of this file, nothing from outside)
    )


class OfferingVersion(models.Model):
    """One version of an offering: texts, form, plans, prices, terms, workflow. Frozen when published."""

    class State(models.TextChoices):
        DRAFT = "draft", "Draft"
        PUBLISHED = "published", "Published"
        SUPERSEDED = "superseded", "Superseded"
        RETIRED = "retired", "Retired"

    MOVES: ClassVar = {
        State.DRAFT: {State.PUBLISHED},
        State.PUBLISHED: {State.SUPERSEDED, State.RETIRED},
        State.SUPERSEDED: {State.RETIRED},
    }

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    offering = models.ForeignKey(Offering, on_delete=models.PROTECT, related_name="versions", editable=False)
    number = models.PositiveIntegerField(editable=False)
    state = models.CharField(max_length=12, choices=State, default=State.DRAFT, editable=False)
    name = models.CharField(max_length=80)
    summary = models.CharField(
        "one line", max_length=200, blank=True, help_text="What it is, in words of the people who order it."
    )
    description = models.TextField(blank=True, max_length=20_000, help_text="Markdown.")
    parameters_schema = OrderedJSONField(
        "order form", default=dict, blank=True, help_text="JSON Schema, the subset that forms can show."
    )
    terms = models.TextField(
        "terms of use",
        max_length=20_000,
        blank=True,
        help_text="Markdown. Short and plain: people accept it with each order.",
    )
    purposes = ArrayField(
        models.CharField(max_length=20, choices=Purpose),
        verbose_name="allowed purposes",
        default=list,
        blank=True,
    )
    data_classes = ArrayField(
        models.CharField(max_length=20, choices=DataClass),
        verbose_name="allowed data",
        default=list,
        blank=True,
    )
    promised_delivery_seconds = models.PositiveIntegerField(
        "delivered within (seconds)", null=True, blank=True, help_text="Promised for 95 % of orders."
    )
    promised_availability = models.DecimalField(
        "availability (%)",
        max_digits=6,
        decimal_places=3,
        null=True,
        blank=True,
        validators=[MinValueValidator(0), MaxValueValidator(100)],
    )
    # Everyone who changed the draft; none of them may publish it.
    author_ids = ArrayField(models.UUIDField(), default=list, editable=False)
    created_by = models.ForeignKey(settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    published_by = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="+", null=True, editable=False
    )
    published_at = models.DateTimeField(null=True, editable=False)
    retired_at = models.DateTimeField(null=True, editable=False)
    # The whole version as one document, and its hash: written when it is published, read by every order.
    document = OrderedJSONField(null=True, editable=False)
    content_hash = models.CharField(max_length=64, blank=True, editable=False)
    terms_hash = models.CharField(max_length=64, blank=True, editable=False)

    class Meta:
        ordering: ClassVar = ["offering", "-number"]
        verbose_name = "version"
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["offering", "number"], name="version_numbers"),
            models.UniqueConstraint(fields=["offering"], condition=Q(state="draft"), name="one_draft_an_offering"),
            models.UniqueConstraint(
                fields=["offering"], condition=Q(state="published"), name="one_published_an_offering"
            ),
            models.CheckConstraint(
                condition=Q(published_by__isnull=True) | ~Q(published_by=F("created_by")),
                name="author_is_not_publisher",
            ),
            models.CheckConstraint(
                condition=Q(state="draft") | (Q(document__isnull=False) & ~Q(content_hash="")),
                name="published_has_its_document",
            ),
        ]
        triggers: ClassVar = [FROZEN, NO_AUTHOR_PUBLISHES]

    def __str__(self) -> str:
        return f"{self.name} (version {self.number})"

    @property
    def promised(self) -> dict[str, Any]:
        """The frozen document. Only a published version has one."""
        if self.document is None:
            raise ValueError(f"{self} is a draft: it promises nothing yet.")
        return self.document

    @property
    def is_draft(self) -> bool:
        """Whether it may still be changed."""
        return self.state == self.State.DRAFT


class Plan(models.Model):
    """One size in which an offering comes, with what the workflow needs to know about it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    version = models.ForeignKey(OfferingVersion, on_delete=models.CASCADE, related_name="plans")
    slug = models.CharField(
        max_length=50,
        validators=[RegexValidator(r"\A[a-z0-9][a-z0-9-]{0,48}\Z", "Use lower-case letters, digits and hyphens.")],
    )
    name = models.CharField(max_length=60)
    description = models.CharField(max_length=200, blank=True)
    limits = models.JSONField(
        default=dict, blank=True, help_text='For the workflow, for example {"connection_limit": 20}.'
    )
    position = models.PositiveSmallIntegerField(default=0)
    retired_at = models.DateTimeField(null=True, editable=False)

    class Meta:
        ordering: ClassVar = ["version", "position", "slug"]
        constraints: ClassVar = [models.UniqueConstraint(fields=["version", "slug"], name="plan_slugs")]
        triggers: ClassVar = [_frozen_with("changed.version_id", "- 'retired_at'")]

    def __str__(self) -> str:
        return self.name


class Price(models.Model):
    """One price of a plan: paid once, each month, or for each unit of use."""

    class Kind(models.TextChoices):
        ONE_OFF = "one_off", "Once"
        MONTHLY = "monthly", "A month"
        PER_USE = "per_use", "Per use"

    plan = models.ForeignKey(Plan, on_delete=models.CASCADE, related_name="prices")
    kind = models.CharField(max_length=10, choices=Kind)
    amount = models.DecimalField(max_digits=16, decimal_places=6, validators=[MinValueValidator(0)])
    currency = models.CharField(max_length=3, default="USD")
    unit = models.CharField(
        max_length=40, blank=True, help_text="For prices per use: what is counted, for example GiB."
    )

    class Meta:
        ordering: ClassVar = ["plan", "kind", "unit"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["plan", "kind", "unit"], name="one_price_a_kind"),
            models.CheckConstraint(condition=Q(amount__gte=0), name="price_is_not_negative"),
        ]
        triggers: ClassVar = [_frozen_with("(SELECT p.version_id FROM catalog_plan p WHERE p.id = changed.plan_id)")]

    def __str__(self) -> str:
        return f"{self.amount.normalize():f} {self.currency} {self.get_kind_display().lower()}"


class WorkflowStep(models.Model):
    """One step of what is done when an order is allowed."""

    class Operation(models.TextChoices):
        START = "start", "Do it"
        DESCRIBE = "describe", "Check that it works"
        PREVIEW = "preview", "Say what would be done"

    class OnFailure(models.TextChoices):
        UNDO = "undo", "Undo what was done"
        WAIT = "wait", "Keep it and wait for an operator"

    version = models.ForeignKey(OfferingVersion, on_delete=models.CASCADE, related_name="workflow_steps")
    position = models.PositiveSmallIntegerField(default=0)
    name = models.CharField(max_length=80, help_text="As the person who ordered reads it: “Creating the database”.")
    connector = models.CharField(max_length=40)
    back_end = models.SlugField(
        max_length=60,
        blank=True,
        default="",
        db_default="",
        db_index=False,
        help_text="Which one, for connectors that reach several; see “Back ends”.",
    )
    operation = models.CharField(max_length=10, choices=Operation, default=Operation.START)
    inputs = models.JSONField(
        default=dict, blank=True, help_text="May take values of the order: ${parameters.size}, ${outputs.host}."
    )
    when = models.CharField(
        "only where",
        max_length=2000,
        blank=True,
        default="",
        db_default="",
        help_text="A condition, for example parameters.backup == true. Empty: always.",
    )
    on_failure = models.CharField(
        "when it fails for good", max_length=4, choices=OnFailure, default=OnFailure.UNDO, db_default="undo"
    )
    timeout_seconds = models.PositiveIntegerField(
        default=600, validators=[MinValueValidator(1), MaxValueValidator(90 * 86400)]
    )
    max_attempts = models.PositiveSmallIntegerField(default=5, validators=[MinValueValidator(1), MaxValueValidator(50)])

    class Meta:
        ordering: ClassVar = ["version", "position", "id"]
        triggers: ClassVar = [_frozen_with("changed.version_id")]

    def __str__(self) -> str:
        return self.name
