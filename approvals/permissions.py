"""Who may read decisions."""

from typing import Any

from accounts.models import Role
from accounts.permissions import has_role
from core.permissions import rule


@rule("approvals.view_decision")
def reads_decisions(person: Any, decision: Any = None) -> bool:
    """Those who run or audit the platform: a decision holds what it was made of."""
    return has_role(person, Role.IT_ADMIN, Role.AUDITOR, Role.PLATFORM_ADMIN)
