"""Offerings and their versions. A published version is frozen, by the database too."""

from catalog.models.back_ends import BackEnd
from catalog.models.offerings import (
    COLORS,
    Category,
    Offering,
    OfferingFigures,
    OfferingGroupObjectPermission,
    OfferingQuerySet,
    slug_format,
)
from catalog.models.versions import DataClass, OfferingVersion, Plan, Price, Purpose, WorkflowStep

__all__ = [
    "COLORS",
    "BackEnd",
    "Category",
    "DataClass",
    "Offering",
    "OfferingFigures",
    "OfferingGroupObjectPermission",
    "OfferingQuerySet",
    "OfferingVersion",
    "Plan",
    "Price",
    "Purpose",
    "WorkflowStep",
    "slug_format",
]
