"""Curation: shelves, offerings, and the versions in which they are promised."""

from catalog.admin.offerings import CategoryAdmin, OfferingAdmin
from catalog.admin.versions import VersionAdmin

__all__ = ["CategoryAdmin", "OfferingAdmin", "VersionAdmin"]
