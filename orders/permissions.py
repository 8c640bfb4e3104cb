"""Who may order, cancel and look."""

from typing import Any

from accounts.models import Role
from accounts.permissions import has_role
from core.permissions import rule
from provisioning.models import sees_all_work


@rule("orders.place_order")
def place(person: Any, order: Any = None) -> bool:
    """Business users; whatever else a person is, ordering is a role of its own."""
    return has_role(person, Role.BUSINESS_USER)


@rule("orders.cancel_order")
def cancel(person: Any, order: Any = None) -> bool:
    """Who asked for it, whom it is for, the owner of the cost center that pays, and operators."""
    if order is None:
        return False
    involved = {order.requester_id, order.beneficiary_id, order.cost_center.owner_id}
    return person.pk in involved or has_role(person, Role.IT_ADMIN, Role.PLATFORM_ADMIN)


@rule("orders.view_order")
def view(person: Any, order: Any = None) -> bool:
    """Operators and auditors see every order in the admin; pages use `visible_to`."""
    return sees_all_work(person)


@rule("orders.retry_order")
def retry(person: Any, order: Any = None) -> bool:
    """Operators."""
    return has_role(person, Role.IT_ADMIN, Role.PLATFORM_ADMIN)
