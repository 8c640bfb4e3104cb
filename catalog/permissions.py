"""Who may curate, publish and order."""

from typing import Any

from accounts.models import Role
from accounts.permissions import has_role
from core.permissions import rule


@rule(
    "catalog.view_offering",
    "catalog.view_offeringversion",
    "catalog.view_category",
    "catalog.view_plan",
    "catalog.view_price",
    "catalog.view_workflowstep",
)
def look(person: Any, row: Any = None) -> bool:
    """Curators, service owners, reviewers and auditors look at everything, drafts too."""
    return has_role(
        person, Role.IT_ADMIN, Role.SERVICE_OWNER, Role.CHECKPOINT_REVIEWER, Role.AUDITOR, Role.PLATFORM_ADMIN
    )


@rule(
    "catalog.add_offering",
    "catalog.change_offering",
    "catalog.add_offeringversion",
    "catalog.change_offeringversion",
    "catalog.add_plan",
    "catalog.change_plan",
    "catalog.delete_plan",
    "catalog.add_price",
    "catalog.change_price",
    "catalog.delete_price",
    "catalog.add_workflowstep",
    "catalog.change_workflowstep",
    "catalog.delete_workflowstep",
    "catalog.add_category",
    "catalog.change_category",
    "catalog.entitle_offering",
)
def curate(person: Any, row: Any = None) -> bool:
    """IT admins curate."""
    return has_role(person, Role.IT_ADMIN)


@rule("catalog.publish_offeringversion")
def publish(person: Any, version: Any = None) -> bool:
    """An IT admin who wrote nothing of the version."""
    return has_role(person, Role.IT_ADMIN) and (version is None or person.pk not in version.author_ids)


@rule("catalog.pause_offering", "catalog.retire_offering")
def withdraw(person: Any, offering: Any = None) -> bool:
    """IT admins, and the service owner of the offering."""
    return has_role(person, Role.IT_ADMIN) or (offering is not None and offering.service_owner_id == person.pk)


@rule("catalog.view_backend")
def look_at_back_ends(person: Any, back_end: Any = None) -> bool:
    """IT admins, platform admins and auditors; nobody reads a credential."""
    return has_role(person, Role.IT_ADMIN, Role.PLATFORM_ADMIN, Role.AUDITOR)


@rule("catalog.add_backend", "catalog.change_backend")
def keep_back_ends(person: Any, back_end: Any = None) -> bool:
    """IT admins and platform admins."""
    return has_role(person, Role.IT_ADMIN, Role.PLATFORM_ADMIN)
