"""People, where they belong and what they may do. Nobody raises his own rights here."""

from typing import Any

from axes.models import AccessAttempt, AccessFailureLog, AccessLog
from django import forms
from django.contrib import admin
from django.contrib.auth.models import Group
from django.contrib.auth.password_validation import validate_password
from django.core.exceptions import ValidationError
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from knox.models import AuthToken

import accounts.services as accounts
from accounts.models import BusinessUnit, CostCenter, Membership, Person, Role
from core.admin import Action, ReadOnlyAdmin, ServiceAdmin, ServiceInline
from core.forms import RowForm, ServiceForm
from core.problems import Invalid

# Rights come from roles and entitlements alone; tokens are their person's own business.
for model in (Group, AuthToken, AccessAttempt, AccessLog, AccessFailureLog):
    if admin.site.is_registered(model):
        admin.site.unregister(model)

NEW_PASSWORD = forms.PasswordInput(attrs={"autocomplete": "new-password"})


class PersonAddForm(ServiceForm):
    """A person who is new here."""

    password = forms.CharField(
        strip=False,
        max_length=128,
        required=False,
        widget=NEW_PASSWORD,
        help_text="Give it to the person; empty where he signs in by other means.",
    )

    class Meta:
        model = Person
        fields = ["username", "name", "email", "unit"]

    def _post_clean(self) -> None:
        super()._post_clean()
        _check_password(self, self.cleaned_data.get("password"), self.instance)


def _check_password(form: Any, password: str | None, person: Person) -> None:
    """Hold a password against the rules of the house, which look at the person too."""
    if password:
        try:
            validate_password(password, person)
        except ValidationError as error:
            form.add_error("password", error)


class PasswordForm(RowForm):
    """A new password for somebody who lost his."""

    password = forms.CharField(label="new password", strip=False, max_length=128, widget=NEW_PASSWORD)

    def clean(self) -> dict[str, Any]:
        """Check it against the rules of the house."""
        _check_password(self, self.cleaned_data.get("password"), self.row)
        return self.cleaned_data


class RoleInline(ServiceInline, admin.StackedInline):
    """The roles of a person. Granted and revoked, never rewritten; one's own are only shown."""

    model = Membership
    form = ServiceForm
    fk_name = "person"
    verbose_name = "role"
    verbose_name_plural = "roles"
    fields = (("role", "unit"),)

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """See the roles with the person."""
        return request.user.has_perm("accounts.view_person")

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Grant to others alone."""
        return _grants(request.user, obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Another role is another row: the trail then shows both."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Revoke from others alone."""
        return _grants(request.user, obj)

    def save(self, form: Any, person: Any) -> None:
        """Grant it."""
        values = form.cleaned_data
        accounts.grant_role(form.instance.person, values["role"], values["unit"], actor=person)

    def remove(self, row: Any, person: Any) -> None:
        """Revoke it."""
        accounts.revoke_role(row, actor=person)


def _grants(person: Any, other: Person | None) -> bool:
    granting = person.has_perm("accounts.add_membership")
    return granting and (other is None or other.pk != person.pk)


class RoleFilter(admin.SimpleListFilter):
    """People who have a role anywhere."""

    title = "role"
    parameter_name = "role"

    def lookups(self, request: HttpRequest, model_admin: Any) -> Any:
        """Offer all roles."""
        return Role.choices

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Keep those who have the chosen one."""
        if self.value() not in Role.values:
            return queryset
        return queryset.filter(pk__in=Membership.objects.filter(role=self.value()).values("person"))


def _set_password(person: Person, actor: Any, values: dict[str, Any]) -> Person:
    accounts.set_password(person, values["password"], actor=actor)
    return person


SET_PASSWORD = Action(
    name="password",
    label="Set a new password",
    run=_set_password,
    shown=lambda actor, person: (
        actor.pk != person.pk
        and actor.has_perm("accounts.change_person", person)
        and (actor.is_superuser or not person.is_superuser)
    ),
    done="{row} has a new password; sessions and tokens that used the old one have ended.",
    question="All sessions and API tokens of the person end at once.",
    form=PasswordForm,
)


@admin.register(Person)
class PersonAdmin(ServiceAdmin):
    """People. Rights come from roles; being a superuser comes from the command line alone."""

    list_display = ("username", "name", "unit", "roles_shown", "is_active")
    list_filter = ("is_active", RoleFilter, "unit")
    list_select_related = ("unit",)
    search_fields = ("username", "name", "email")
    ordering = ("username",)
    object_actions = (SET_PASSWORD,)
    readonly_fields = ("is_superuser", "last_login", "date_joined")

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Read everybody's roles at once."""
        return super().get_queryset(request).prefetch_related("memberships__unit")

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask the rule; who keeps cost centers finds their owners by typing."""
        match = request.resolver_match
        finding = match is not None and match.url_name == "autocomplete"
        return super().has_view_permission(request, obj) or (
            finding and request.user.has_perm("accounts.change_costcenter")
        )

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 (Django's signature)
        """Ask for a password where a person is added."""
        form = ServiceForm if change else PersonAddForm
        return super().get_form(request, obj, change=change, **{"form": form, **kwargs})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what may change, then what only the system knows."""
        if obj is None:
            return [(None, {"fields": ("username", "name", "email", "unit", "password")})]
        return [
            (None, {"fields": ("username", "name", "email", "unit", "is_active")}),
            ("Sign-in", {"fields": ("is_superuser", "last_login", "date_joined")}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the sign-in name, which the audit trail knows people by."""
        return () if obj is None else ("username", *self.readonly_fields)

    def get_inlines(self, request: HttpRequest, obj: Any) -> Any:
        """Give roles to those who exist."""
        return (RoleInline,) if obj else ()

    def save(self, row: Any, form: Any, person: Any, *, change: bool) -> Person:
        """Add a person, move him, let him in or shut him out."""
        values = form.cleaned_data
        if not change:
            return accounts.create_person(**values | {"password": values["password"] or None}, actor=person)
        if {"name", "email", "unit"} & set(form.changed_data):
            kept = {name: values[name] for name in ("name", "email", "unit")}
            accounts.change_person(Person.objects.get(pk=row.pk), **kept, actor=person)
        if "is_active" in form.changed_data:
            accounts.set_active(Person.objects.get(pk=row.pk), values["is_active"], actor=person)
        return row

    @admin.display(description="roles")
    def roles_shown(self, person: Person) -> str:
        """Name the roles."""
        return ", ".join(
            f"{membership.get_role_display()} ({membership.unit})" for membership in person.memberships.all()
        )


@admin.register(BusinessUnit)
class BusinessUnitAdmin(ServiceAdmin):
    """The organization tree."""

    list_display = ("name", "slug", "parent")
    list_select_related = ("parent",)
    search_fields = ("name", "slug")
    fields = ("slug", "name", "parent")

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Keep the slug: entitlements and the trail know units by it."""
        return ("slug",) if obj else ()

    def save(self, row: Any, form: Any, person: Any, *, change: bool) -> BusinessUnit:
        """Open a unit, rename it, or hang it elsewhere."""
        if not change:
            return accounts.create_unit(**form.cleaned_data, actor=person)
        unit = BusinessUnit.objects.get(pk=row.pk)
        return accounts.change_unit(unit, **form.cleaned_data, actor=person)


@admin.register(CostCenter)
class CostCenterAdmin(ServiceAdmin):
    """Who pays, and who answers for it."""

    list_display = ("code", "name", "unit", "owner", "is_active")
    list_filter = ("is_active", "unit")
    list_select_related = ("unit", "owner")
    search_fields = ("code", "name")
    fields = ("code", "name", "unit", "owner", "is_active")
    autocomplete_fields = ("owner",)

    def save(self, row: Any, form: Any, person: Any, *, change: bool) -> CostCenter:
        """Open a cost center or change one."""
        try:
            return accounts.save_cost_center(row if change else None, **form.cleaned_data, actor=person)
        except ValidationError as error:
            raise Invalid({f"/{name}": " ".join(texts) for name, texts in error.message_dict.items()}) from error


@admin.register(AccessAttempt)
class AccessAttemptAdmin(ReadOnlyAdmin):
    """Who failed to sign in, from where, how often. What was typed is not shown."""

    list_display = ("attempt_time", "username", "ip_address", "failures_since_start")
    list_filter = ("attempt_time",)
    search_fields = ("=username", "=ip_address")
    ordering = ("-attempt_time",)
    fields = ("attempt_time", "username", "ip_address", "user_agent", "failures_since_start")

    def history_of(self, row: Any) -> Q:
        """Have none: an attempt is an event by itself."""
        return Q(pk__in=[])
