"""The catalog's shelves and what stands on them."""

import re
import uuid
from typing import TYPE_CHECKING, Any, ClassVar

from django.conf import settings
from django.contrib.postgres.indexes import GinIndex
from django.contrib.postgres.search import (
    SearchQuery,
    SearchRank,
    SearchVectorField,
    TrigramStrictWordSimilarity,
    TrigramWordSimilarity,
)
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Case, F, Q, Value, When
from django.db.models.functions import Cast, Coalesce, Greatest, Now
from guardian.models import GroupObjectPermissionBase

from accounts.models import Role
from core.models import StoredFile

if TYPE_CHECKING:
    from catalog.models.versions import OfferingVersion

COLORS = [
    ("compute", "Indigo"),
    ("data", "Teal"),
    ("storage", "Green"),
    ("people", "Pink"),
    ("network", "Blue"),
    ("ai", "Amber"),
]
slug_format = RegexValidator(r"\A[a-z][a-z0-9-]{1,48}[a-z0-9]\Z", "Use 3 to 50 lower-case letters, digits and hyphens.")
MAX_SEARCH, MAX_SEARCH_WORDS = 100, 8
# Of 1: "lapotp" is this much like "laptop", while "test" is less like "text".
LIKE_ENOUGH = 0.42


class Category(models.Model):
    """One shelf of the catalog."""

    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=60)
    icon = models.SlugField(default="box", help_text="Name of an icon of the site's set.")
    color = models.CharField(max_length=10, choices=COLORS, default="compute")
    position = models.PositiveSmallIntegerField(default=0)

    class Meta:
        ordering: ClassVar = ["position", "name"]
        verbose_name_plural = "categories"

    def __str__(self) -> str:
        return self.name


class OfferingQuerySet(models.QuerySet["Offering"]):
    """Offerings by who looks and who may order."""

    def entitled(self, person: Any) -> "OfferingQuerySet":
        """Those granted to one of the person's units, or to a unit that it lies within."""
        if not person.is_active:
            return self.none()
        granted = OfferingGroupObjectPermission.objects.filter(
            content_object=models.OuterRef("pk"), group__user=person, permission__codename="order_offering"
        )
        return self.filter(models.Exists(granted))

    def orderable_by(self, person: Any) -> "OfferingQuerySet":
        """Those that `person` may order now."""
        return self.entitled(person).filter(current_version__isnull=False, paused_reason="", retired_at__isnull=True)

    def visible_to(self, person: Any) -> "OfferingQuerySet":
        """What he may order, and what was paused under him; curators, owners and auditors see all."""
        if not person.is_active:
            return self.none()
        if person.is_superuser or person.roles & {
            Role.IT_ADMIN,
            Role.AUDITOR,
            Role.CHECKPOINT_REVIEWER,
            Role.PLATFORM_ADMIN,
        }:
            return self
        shown = self.entitled(person).filter(current_version__isnull=False, retired_at__isnull=True)
        return shown | self.filter(service_owner=person) if Role.SERVICE_OWNER in person.roles else shown

    def search(self, text: str) -> "OfferingQuerySet":
        """Those that a person may mean by `text`, best first; all of them, by name, where it is blank.

        A word may be cut short ("postg") or have a typing error ("posgres"). Any text is safe. Each row
        gets a whole number `rank`, which counts down.
        """
        typed = " ".join(text[:MAX_SEARCH].split())
        if not typed:
            return self.annotate(rank=Value(0)).order_by("name", "slug")
        words = re.findall(r"\w+", typed)[:MAX_SEARCH_WORDS]
        if not words:
            return self.none().annotate(rank=Value(0)).order_by("name", "slug")
        # Each word is quoted, so that nothing in it is an operator.
        query = SearchQuery(" & ".join(f"'{word}':*" for word in words), search_type="raw", config="english")
        typed = " ".join(words)
        # Whole words of the text, so that "redis" is not found in "is ready"; in the name parts of words too.
        likeness = Greatest(TrigramWordSimilarity(typed, "name"), TrigramStrictWordSimilarity(typed, "search_text"))
        found = self.annotate(likeness=likeness).filter(Q(search=query) | Q(likeness__gte=LIKE_ENOUGH))
        is_hit = Case(When(search=query, then=Value(1.0)), default=Value(0.0))
        score = is_hit + Coalesce(SearchRank(F("search"), query), 0.0) + F("likeness")
        return found.annotate(rank=Cast(score * 1_000_000, models.IntegerField())).order_by("-rank", "name", "slug")


class Offering(models.Model):
    """One service in the catalog; what exactly is promised stands in its published version."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.CharField(max_length=50, unique=True, validators=[slug_format])
    category = models.ForeignKey(Category, on_delete=models.PROTECT, related_name="offerings")
    icon = models.SlugField(blank=True, help_text="Name of an icon of the site's set; empty: the category's.")
    picture = models.ForeignKey(StoredFile, on_delete=models.SET_NULL, null=True, blank=True, editable=False)
    service_owner = models.ForeignKey(
        settings.AUTH_USER_MODEL, on_delete=models.PROTECT, related_name="owned_offerings"
    )
    current_version = models.OneToOneField(
        "OfferingVersion", on_delete=models.PROTECT, null=True, editable=False, related_name="current_of"
    )
    # An entitled person's default order needs no approval; set when a version or policy changes.
    pre_authorized = models.BooleanField(default=True, editable=False)
    paused_reason = models.CharField(max_length=300, blank=True, editable=False)
    retired_at = models.DateTimeField(null=True, editable=False)
    created_at = models.DateTimeField(db_default=Now(), editable=False)
    # Copied from the published version, so that the grid and the search need no other table.
    name = models.CharField(max_length=80, editable=False)
    summary = models.CharField(max_length=200, editable=False, blank=True)
    from_price = models.DecimalField(max_digits=16, decimal_places=6, null=True, editable=False)
    from_kind = models.CharField(max_length=10, blank=True, editable=False)
    currency = models.CharField(max_length=3, blank=True, editable=False)
    search_text = models.TextField(blank=True, editable=False)
    search = SearchVectorField(null=True, editable=False)

    objects = OfferingQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name", "slug"]
        permissions: ClassVar = [("order_offering", "May order this offering")]
        indexes: ClassVar = [GinIndex(fields=["search"], name="offering_search")]

    def __str__(self) -> str:
        return self.name or self.slug

    @property
    def published(self) -> "OfferingVersion":
        """Its published version. Raises ValueError for an offering that has none."""
        if self.current_version is None:
            raise ValueError(f"{self} is not published.")
        return self.current_version

    @property
    def shown_icon(self) -> str:
        """Its own icon or its category's."""
        return self.icon or self.category.icon


class OfferingGroupObjectPermission(GroupObjectPermissionBase):
    """One entitlement: the people of a business unit may order an offering."""

    content_object = models.ForeignKey(Offering, on_delete=models.CASCADE)


class OfferingFigures(models.Model):
    """How long an offering took lately, measured; written by the layers that deliver."""

    offering = models.OneToOneField(Offering, on_delete=models.CASCADE, primary_key=True, related_name="figures")
    usual_seconds = models.FloatField(null=True)
    p95_seconds = models.FloatField(null=True)
    delivered = models.PositiveIntegerField(default=0)
    updated_at = models.DateTimeField(db_default=Now())

    def __str__(self) -> str:
        return f"{self.offering_id}: {self.usual_seconds} s"
