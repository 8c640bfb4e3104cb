"""Who may do what with people, units, cost centers and tokens."""

from typing import Any

from accounts.models import Role
from core.permissions import rule


def has_role(person: Any, *roles: str) -> bool:
    """Tell whether `person` has one of `roles` anywhere in the organization."""
    return person.is_superuser or bool(person.roles & set(roles))


@rule("accounts.view_person")
def view_person(person: Any, other: Any = None) -> bool:
    """Oneself, and everyone for those who run or audit the platform."""
    return (other is not None and other.pk == person.pk) or has_role(
        person, Role.PLATFORM_ADMIN, Role.AUDITOR, Role.IT_ADMIN
    )


@rule(
    "accounts.add_person",
    "accounts.change_person",
    "accounts.add_businessunit",
    "accounts.change_businessunit",
)
def administer(person: Any, other: Any = None) -> bool:
    """Platform admins keep people and the organization tree."""
    return has_role(person, Role.PLATFORM_ADMIN)


@rule("accounts.view_businessunit", "accounts.view_membership")
def view_organization(person: Any, other: Any = None) -> bool:
    """Those who run, curate, pay for or audit the platform."""
    return has_role(person, Role.PLATFORM_ADMIN, Role.AUDITOR, Role.IT_ADMIN, Role.FINANCE)


@rule("accounts.add_membership", "accounts.change_membership", "accounts.delete_membership")
def grant_roles(person: Any, membership: Any = None) -> bool:
    """Platform admins, and nobody for himself."""
    return has_role(person, Role.PLATFORM_ADMIN) and (membership is None or membership.person_id != person.pk)


@rule("accounts.view_costcenter")
def view_cost_center(person: Any, cost_center: Any = None) -> bool:
    """Finance, auditors, platform admins; an owner sees his own."""
    owns = cost_center is not None and cost_center.owner_id == person.pk
    return owns or has_role(person, Role.FINANCE, Role.AUDITOR, Role.PLATFORM_ADMIN)


@rule("accounts.add_costcenter", "accounts.change_costcenter")
def keep_cost_centers(person: Any, cost_center: Any = None) -> bool:
    """Finance and platform admins."""
    return has_role(person, Role.FINANCE, Role.PLATFORM_ADMIN)


@rule("accounts.change_profile", "accounts.create_apitoken", "accounts.revoke_apitoken")
def own(person: Any, other: Any = None) -> bool:
    """Everyone for himself."""
    return other is not None and person.pk == (getattr(other, "user_id", None) or other.pk)


@rule("core.view_event", "axes.view_accessattempt")
def reads_the_trail(person: Any, row: Any = None) -> bool:
    """Auditors and platform admins read what everybody did, and who failed to sign in."""
    return has_role(person, Role.AUDITOR, Role.PLATFORM_ADMIN)
