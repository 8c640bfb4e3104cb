"""The Django admin as this house uses it: it shows rows, and whatever changes one is a service."""

from core.admin.services import Action, ServiceAdmin, ServiceInline
from core.admin.shown import EventAdmin, ReadOnly, ReadOnlyAdmin, ReadOnlyInline, badge

__all__ = [
    "Action",
    "EventAdmin",
    "ReadOnly",
    "ReadOnlyAdmin",
    "ReadOnlyInline",
    "ServiceAdmin",
    "ServiceInline",
    "badge",
]
