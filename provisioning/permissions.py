"""Who may use what was delivered, and who runs the engine."""

from typing import Any

from accounts.models import Role
from accounts.permissions import has_role
from core.permissions import rule


@rule("provisioning.reveal_secret", "provisioning.rotate_secret")
def holder(person: Any, instance: Any = None) -> bool:
    """Only the person whose service it is: no role reads other people's passwords, superusers neither.

    Superusers pass `has_perm`, so the services ask again.
    """
    return instance is not None and instance.owner_id == person.pk


@rule("provisioning.modify_serviceinstance")
def modifies(person: Any, instance: Any = None) -> bool:
    """The person whose service it is."""
    return instance is not None and instance.owner_id == person.pk


@rule("provisioning.remove_serviceinstance")
def removes(person: Any, instance: Any = None) -> bool:
    """The person whose service it is, the owner of the cost center that pays, and operators."""
    if instance is None:
        return False
    involved = {instance.owner_id, instance.cost_center.owner_id}
    return person.pk in involved or has_role(person, Role.IT_ADMIN, Role.PLATFORM_ADMIN)


@rule("provisioning.complete_manualtask")
def does_tasks(person: Any, task: Any = None) -> bool:
    """A person of the task's role, the one it is given to, or the service owner; never who ordered it."""
    if task is None:
        return has_role(person, Role.IT_ADMIN, Role.SERVICE_OWNER)
    instance = task.step.run.instance
    if instance.owner_id == person.pk:
        return False
    owns = instance.plan.version.offering.service_owner_id == person.pk
    return owns or task.assignee_id == person.pk or task.role in person.roles


@rule("provisioning.view_manualtask")
def sees_tasks(person: Any, task: Any = None) -> bool:
    """Who may have tasks sees the list."""
    return has_role(person, Role.IT_ADMIN, Role.SERVICE_OWNER, Role.PLATFORM_ADMIN, Role.AUDITOR)


@rule(
    "provisioning.view_run",
    "provisioning.view_step",
    "provisioning.view_stepattempt",
    "provisioning.view_stepline",
    "provisioning.view_breaker",
    "provisioning.view_serviceinstance",
)
def watches(person: Any, row: Any = None) -> bool:
    """Those who run or audit the platform."""
    return has_role(person, Role.IT_ADMIN, Role.AUDITOR, Role.PLATFORM_ADMIN, Role.SERVICE_OWNER)


@rule("provisioning.operate_run")
def operates(person: Any, run: Any = None) -> bool:
    """IT admins and platform admins act on runs."""
    return has_role(person, Role.IT_ADMIN, Role.PLATFORM_ADMIN)
