"""People, where they belong, who pays, and what each may do."""

import uuid
from functools import cached_property
from typing import Any, ClassVar

from django.contrib.auth.models import AbstractUser, Group, UserManager
from django.contrib.postgres.fields import ArrayField
from django.core.validators import RegexValidator
from django.db import models
from django.db.models import Q
from django.db.models.functions import Now
from django.http import HttpRequest
from knox.models import AbstractAuthToken

code_format = RegexValidator(r"\A[A-Za-z0-9][A-Za-z0-9-]{0,31}\Z", "Use letters, digits and hyphens, 32 at most.")


class Role(models.TextChoices):
    """What a person may be, beside a person."""

    BUSINESS_USER = "business_user", "Business user"
    APPROVER = "approver", "Approver"
    COST_CENTER_OWNER = "cost_center_owner", "Cost center owner"
    SERVICE_OWNER = "service_owner", "Service owner"
    IT_ADMIN = "it_admin", "IT admin (curator)"
    CHECKPOINT_REVIEWER = "checkpoint_reviewer", "Checkpoint reviewer"
    FINANCE = "finance", "Finance"
    AUDITOR = "auditor", "Auditor"
    PLATFORM_ADMIN = "platform_admin", "Platform admin"


# Roles whose work is done in the Django admin.
STAFF_ROLES = {
    Role.IT_ADMIN,
    Role.SERVICE_OWNER,
    Role.CHECKPOINT_REVIEWER,
    Role.FINANCE,
    Role.AUDITOR,
    Role.PLATFORM_ADMIN,
}


class Scope(models.TextChoices):
    """What an API token may be used for; never more than its person may do."""

    READ = "read", "Read"
    ORDER = "order", "Order"
    APPROVE = "approve", "Approve"
    FINANCE = "finance", "Finance"
    USAGE = "usage", "Report usage"
    ADMIN = "admin", "Administer"


class BusinessUnitQuerySet(models.QuerySet["BusinessUnit"]):
    """Business units by who looks."""

    def visible_to(self, person: Any) -> "BusinessUnitQuerySet":
        """The organization chart is known to everyone who works here."""
        return self if person.is_active else self.none()


class BusinessUnit(models.Model):
    """One part of the organization; parts lie within parts."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    slug = models.SlugField(unique=True)
    name = models.CharField(max_length=100)
    parent = models.ForeignKey("self", on_delete=models.PROTECT, null=True, blank=True, related_name="children")
    # Its people and those of its sub-units: what is granted to the group is granted to all of them.
    group = models.OneToOneField(Group, on_delete=models.PROTECT, editable=False, related_name="unit")

    objects = BusinessUnitQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["name"]

    def __str__(self) -> str:
        return self.name

    def lineage(self) -> list["BusinessUnit"]:
        """This unit and those that it lies within, innermost first."""
        units: list[BusinessUnit] = []
        unit: BusinessUnit | None = self
        while unit and unit not in units:
            units.append(unit)
            unit = unit.parent
        return units


class PersonQuerySet(models.QuerySet["Person"]):
    """People by who looks."""

    def visible_to(self, person: "Person") -> "PersonQuerySet":
        """Everyone sees himself; those who run or audit the platform see all."""
        if not person.is_active:
            return self.none()
        if person.is_superuser or person.roles & {Role.PLATFORM_ADMIN, Role.AUDITOR, Role.IT_ADMIN}:
            return self
        return self.filter(pk=person.pk)


class PersonManager(UserManager.from_queryset(PersonQuerySet)):  # type: ignore[misc]
    """Makes people the way Django's commands expect it."""


class Person(AbstractUser):  # type: ignore[django-manager-missing]  # knox has no types
    """One human who signs in, or a machine that a human answers for."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    first_name = None  # type: ignore[assignment]
    last_name = None  # type: ignore[assignment]
    name = models.CharField("full name", max_length=150, blank=True)
    unit = models.ForeignKey(
        BusinessUnit,
        on_delete=models.PROTECT,
        null=True,
        blank=True,
        related_name="people",
        verbose_name="business unit",
    )
    # Counts up when rights or password change: every older session and token ends.
    credentials_version = models.PositiveIntegerField(default=1, editable=False)
    slash_focuses_search = models.BooleanField("the / key goes to the search", default=True)

    objects: ClassVar = PersonManager()

    class Meta:
        ordering: ClassVar = ["username"]
        verbose_name = "person"
        verbose_name_plural = "people"

    def __str__(self) -> str:
        return self.name or self.username

    def get_full_name(self) -> str:
        """As Django's admin asks for it."""
        return self.name

    def get_short_name(self) -> str:
        """As Django's admin asks for it."""
        return self.name or self.username

    @cached_property
    def roles(self) -> set[str]:
        """The roles of this person anywhere in the organization."""
        return set(self.memberships.values_list("role", flat=True))

    def get_session_auth_hash(self) -> str:
        """Tie sessions to the password and to the rights: a change of either ends them."""
        return f"{super().get_session_auth_hash()}.{self.credentials_version}"


class Membership(models.Model):
    """One role that a person has in a business unit and all that lies within it."""

    person = models.ForeignKey(Person, on_delete=models.CASCADE, related_name="memberships")
    unit = models.ForeignKey(BusinessUnit, on_delete=models.PROTECT, related_name="memberships")
    role = models.CharField(max_length=30, choices=Role)
    granted_by = models.ForeignKey(Person, on_delete=models.PROTECT, null=True, related_name="+", editable=False)
    granted_at = models.DateTimeField(db_default=Now(), editable=False)

    class Meta:
        ordering: ClassVar = ["person", "role"]
        constraints: ClassVar = [
            models.UniqueConstraint(fields=["person", "unit", "role"], name="one_membership"),
            models.CheckConstraint(
                condition=Q(granted_by__isnull=True) | ~Q(granted_by=models.F("person")),
                name="nobody_raises_himself",
            ),
        ]

    def __str__(self) -> str:
        return f"{self.person}: {self.get_role_display()} in {self.unit}"


class CostCenterQuerySet(models.QuerySet["CostCenter"]):
    """Cost centers by who looks and who may spend."""

    def usable_by(self, person: Person) -> "CostCenterQuerySet":
        """Those that `person` may order on: his unit's, the units' above it, and the ones that he owns."""
        return self.filter(Q(unit__group__user=person) | Q(owner=person), is_active=True).distinct()

    def visible_to(self, person: Person) -> "CostCenterQuerySet":
        """Those that he may order on; finance, auditors and platform admins see all."""
        if not person.is_active:
            return self.none()
        if person.is_superuser or person.roles & {Role.FINANCE, Role.AUDITOR, Role.PLATFORM_ADMIN}:
            return self
        return self.filter(Q(unit__group__user=person) | Q(owner=person)).distinct()


class CostCenter(models.Model):
    """One account that pays, and the person who answers for it."""

    id = models.UUIDField(primary_key=True, default=uuid.uuid4, editable=False)
    code = models.CharField(max_length=32, unique=True, validators=[code_format])
    name = models.CharField(max_length=100)
    unit = models.ForeignKey(
        BusinessUnit, on_delete=models.PROTECT, related_name="cost_centers", verbose_name="business unit"
    )
    owner = models.ForeignKey(Person, on_delete=models.PROTECT, related_name="owned_cost_centers")
    is_active = models.BooleanField("open for orders", default=True)

    objects = CostCenterQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["code"]

    def __str__(self) -> str:
        return f"{self.code} {self.name}"


class ApiTokenQuerySet(models.QuerySet["ApiToken"]):
    """Tokens by who looks."""

    def visible_to(self, person: Person) -> "ApiTokenQuerySet":
        """Only a person's own: a token's name may tell what he does with it."""
        return self.filter(user=person)


class ApiToken(AbstractAuthToken):
    """One key for machines: only its hash is stored, it expires, and it may do what its scopes say."""

    id = models.UUIDField(unique=True, default=uuid.uuid4, editable=False)
    label = models.CharField(max_length=100)
    scopes = ArrayField(models.CharField(max_length=20, choices=Scope))
    credentials_version = models.PositiveIntegerField()

    visible = ApiTokenQuerySet.as_manager()

    class Meta:
        ordering: ClassVar = ["-created"]
        verbose_name = "API token"

    def __str__(self) -> str:
        return self.label


class SignedInRequest(HttpRequest):
    """A request behind `login_required`: who asks is a person. For the types of views alone."""

    user: Person
