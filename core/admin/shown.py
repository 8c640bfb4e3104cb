"""Rows that are only shown, and how states and facts look; the audit trail itself."""

from collections.abc import Mapping
from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

from core.admin.services import ServiceAdmin, is_uuid
from core.models import Event


class ReadOnly:
    """Mix-in of an admin or inline that only shows, to superusers too."""

    def has_add_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody adds."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody changes."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nobody deletes."""
        return False


class ReadOnlyAdmin(ReadOnly, ServiceAdmin):
    """The admin of rows that are made by the work itself."""


class ReadOnlyInline(ReadOnly, admin.TabularInline):
    """Such rows as a plain table below the row that they belong to."""

    can_delete = False
    extra = 0
    template = "admin/rows.html"
    after = ""


def badge(state: str, label: str) -> SafeString:
    """Show a state as word and color."""
    return format_html('<span class="badge badge-{}">{}</span>', state, label)


def listed(facts: Mapping[str, Any]) -> SafeString:
    """Show the facts of an event, one a line."""
    return format_html_join(
        "", '<div class="fact"><b>{}</b> {}</div>', ((key, _plain(value)) for key, value in facts.items())
    )


def _plain(value: Any) -> Any:
    return ", ".join(str(one) for one in value) if isinstance(value, list) else value


@admin.register(Event)
class EventAdmin(ReadOnlyAdmin):
    """The audit trail: who did what, when, to which row."""

    list_display = ("at", "name", "actor", "subject_type", "what")
    list_display_links = ("at", "name")
    ordering = ("-id",)
    sortable_by = ()
    search_fields = ("name",)
    fields = ("at", "name", "actor", "actor_id", "subject_type", "subject_id", "what")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find by id where the term is one, else by name and actor."""
        term = search_term.strip()
        if is_uuid(term):
            return queryset.filter(Q(subject_id=term) | Q(actor_id=term)), False
        if term:
            queryset = queryset.filter(Q(name__startswith=term.lower()) | Q(actor__icontains=term))
        return queryset, False

    @admin.display(description="facts")
    def what(self, event: Event) -> SafeString:
        """Show the numbers of the moment."""
        return listed(event.facts)
