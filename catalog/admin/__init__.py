"""Curation: shelves, offerings, and the versions in which they are promised."""

from catalog.admin.back_ends import BackEndAdmin
from catalog.admin.offerings import CategoryAdmin, OfferingAdmin
from catalog.admin.versions import VersionAdmin

__all__ = ["BackEndAdmin", "CategoryAdmin", "OfferingAdmin", "VersionAdmin"]
