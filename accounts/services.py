"""Changes to people and to what they may do; each ends the sessions and tokens that knew less or more."""

from collections.abc import Iterable
from datetime import timedelta
from typing import Any

from django.contrib.auth.models import Group
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.db.models import F

from accounts.models import STAFF_ROLES, ApiToken, BusinessUnit, CostCenter, Membership, Person, Role, Scope
from core import events
from core.permissions import require
from core.problems import Conflict, Invalid

MAX_TOKEN_AGE = timedelta(days=366)


@transaction.atomic
def create_unit(*, slug: str, name: str, parent: BusinessUnit | None = None, actor: Any) -> BusinessUnit:
    """Open a business unit below `parent`."""
    require(actor, "accounts.add_businessunit")
    unit = BusinessUnit.objects.create(
        slug=slug, name=name, parent=parent, group=Group.objects.create(name=f"unit:{slug}")
    )
    events.record("businessunit.created", unit, actor=actor, slug=slug, parent=parent.slug if parent else None)
    return unit


@transaction.atomic
def change_unit(unit: BusinessUnit, *, name: str, parent: BusinessUnit | None, actor: Any) -> BusinessUnit:
    """Rename a unit or hang it elsewhere; its people then belong to the groups of its new place."""
    require(actor, "accounts.change_businessunit", unit)
    if parent and unit in parent.lineage():
        raise Invalid({"/parent": "A unit cannot lie within itself."})
    unit.name, unit.parent = name, parent
    unit.save(update_fields=["name", "parent"])
    for person in Person.objects.filter(unit__in=_below(unit)):
        _join_groups(person)
    events.record("businessunit.changed", unit, actor=actor, name=name, parent=parent.slug if parent else None)
    return unit


def _below(unit: BusinessUnit) -> list[BusinessUnit]:
    return [unit] + [deeper for child in unit.children.all() for deeper in _below(child)]


@transaction.atomic
def create_person(
    *,
    username: str,
    name: str,
    unit: BusinessUnit | None,
    actor: Any,
    email: str = "",
    password: str | None = None,
) -> Person:
    """Add a person who belongs to `unit`; without `password` he cannot sign in by one."""
    require(actor, "accounts.add_person")
    person = Person.objects.create_user(username=username, email=email, password=password, name=name, unit=unit)
    _join_groups(person)
    events.record("person.created", person, actor=actor, username=username, unit=unit.slug if unit else None)
    return person


@transaction.atomic
def change_person(person: Person, *, name: str, email: str, unit: BusinessUnit | None, actor: Any) -> Person:
    """Rename a person or move him to another unit, with what that unit may order."""
    require(actor, "accounts.change_person", person)
    moved = person.unit_id != (unit.pk if unit else None)
    person.name, person.email, person.unit = name, email, unit
    person.save(update_fields=["name", "email", "unit"])
    if moved:
        _join_groups(person)
        _end_sessions_and_tokens(person)
    events.record("person.changed", person, actor=actor, unit=unit.slug if unit else None, moved=moved)
    return person


@transaction.atomic
def set_active(person: Person, active: bool, *, actor: Any) -> Person:  # noqa: FBT001 (the value is the deed)
    """Let a person in again, or shut him out at once, everywhere."""
    require(actor, "accounts.change_person", person)
    if person.pk == actor.pk:
        raise Invalid({"/is_active": "You cannot shut yourself out."})
    person.is_active = active
    person.save(update_fields=["is_active"])
    _end_sessions_and_tokens(person)
    events.record("person.enabled" if active else "person.disabled", person, actor=actor)
    return person


@transaction.atomic
def grant_role(person: Person, role: str, unit: BusinessUnit, *, actor: Any) -> Membership:
    """Give `person` the `role` in `unit`. Nobody gives himself one, superusers neither."""
    require(actor, "accounts.add_membership", Membership(person=person, role=role, unit=unit))
    if actor.pk == person.pk:
        raise Invalid({"/person": "You cannot give yourself a role. Ask another platform admin."})
    membership, made = Membership.objects.get_or_create(
        person=person, role=role, unit=unit, defaults={"granted_by": actor}
    )
    if made:
        _rights_changed(person)
        events.record("person.role_granted", person, actor=actor, role=role, unit=unit.slug)
    return membership


@transaction.atomic
def revoke_role(membership: Membership, *, actor: Any) -> None:
    """Take a role away."""
    require(actor, "accounts.delete_membership", membership)
    person = membership.person
    events.record("person.role_revoked", person, actor=actor, role=membership.role, unit=membership.unit.slug)
    membership.delete()
    _rights_changed(person)


def _rights_changed(person: Person) -> None:
    person.__dict__.pop("roles", None)
    person.is_staff = person.is_superuser or bool(person.roles & {str(role) for role in STAFF_ROLES})
    person.save(update_fields=["is_staff"])
    _end_sessions_and_tokens(person)


def _end_sessions_and_tokens(person: Person) -> None:
    Person.objects.filter(pk=person.pk).update(credentials_version=F("credentials_version") + 1)
    person.refresh_from_db(fields=["credentials_version"])


def _join_groups(person: Person) -> None:
    person.groups.set([unit.group for unit in person.unit.lineage()] if person.unit else [])


@transaction.atomic
def save_cost_center(
    cost_center: CostCenter | None,
    *,
    code: str,
    name: str,
    unit: BusinessUnit,
    owner: Person,
    is_active: bool,
    actor: Any,
) -> CostCenter:
    """Open a cost center (`cost_center` None) or change one."""
    require(actor, "accounts.change_costcenter" if cost_center else "accounts.add_costcenter", cost_center)
    made = cost_center is None
    row = cost_center or CostCenter()
    row.code, row.name, row.unit, row.owner, row.is_active = code, name, unit, owner, is_active
    row.full_clean(validate_constraints=False)
    row.save()
    events.record(
        "costcenter.created" if made else "costcenter.changed",
        row,
        actor=actor,
        code=code,
        unit=unit.slug,
        owner=owner.username,
        is_active=is_active,
    )
    return row


@transaction.atomic
def change_profile(person: Person, *, slash_focuses_search: bool, actor: Any) -> None:
    """Keep what a person chose for himself."""
    require(actor, "accounts.change_profile", person)
    person.slash_focuses_search = slash_focuses_search
    person.save(update_fields=["slash_focuses_search"])


@transaction.atomic
def change_password(person: Person, password: str, *, actor: Any) -> None:
    """Set a new password; all of the person's other sessions and his tokens end."""
    require(actor, "accounts.change_profile", person)
    person.set_password(password)
    person.save(update_fields=["password"])
    _end_sessions_and_tokens(person)
    events.record("person.password_changed", person, actor=actor)


@transaction.atomic
def set_password(person: Person, password: str, *, actor: Any) -> None:
    """Set the password of somebody who lost it; his sessions and tokens end.

    Raises Conflict for one's own, which is changed with the old one, and PermissionDenied where somebody
    would gain the rights of a superuser that he is not himself.
    """
    require(actor, "accounts.change_person", person)
    if actor.pk == person.pk:
        raise Conflict("own-password", "Change your own password on your profile page.")
    if person.is_superuser and not actor.is_superuser:
        raise PermissionDenied("Only a superuser sets the password of a superuser.")
    person.set_password(password)
    person.save(update_fields=["password"])
    _end_sessions_and_tokens(person)
    events.record("person.password_set", person, actor=actor)


@transaction.atomic
def create_token(
    person: Person, *, label: str, scopes: Iterable[str], expires_in: timedelta, actor: Any
) -> tuple[ApiToken, str]:
    """Make an API token for `person`; its text is given back here and never again.

    Raises Invalid for unknown scopes and for a life of no time or of more than a year.
    """
    require(actor, "accounts.create_apitoken", person)
    chosen = sorted(set(scopes))
    if not chosen or not set(chosen) <= set(Scope.values):
        raise Invalid({"/scopes": f"Choose scopes among {', '.join(Scope.values)}."})
    if not timedelta(0) < expires_in <= MAX_TOKEN_AGE:
        raise Invalid({"/expires_in": "A token lives at least a second and at most a year."})
    if not label.strip():
        raise Invalid({"/label": "Enter a label, so that you know the token again."})
    token, text = ApiToken.objects.create(
        user=person,
        expiry=expires_in,
        prefix="gl_",
        label=label.strip(),
        scopes=chosen,
        credentials_version=person.credentials_version,
    )
    events.record("apitoken.created", person, actor=actor, token=str(token.id), label=token.label, scopes=chosen)
    return token, text


@transaction.atomic
def revoke_token(token: ApiToken, *, actor: Any) -> None:
    """End a token at once."""
    require(actor, "accounts.revoke_apitoken", token)
    events.record("apitoken.revoked", token.user, actor=actor, token=str(token.id), label=token.label)
    token.delete()


def role_label(role: str) -> str:
    """Give a role's name as people read it."""
    return str(Role(role).label)
