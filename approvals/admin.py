"""Decisions, to look at: which rule read what and said what."""

import json
import uuid

from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest
from django.utils.html import format_html
from django.utils.safestring import SafeString

from approvals.models import Decision
from core.admin import ReadOnlyAdmin, badge


@admin.register(Decision)
class DecisionAdmin(ReadOnlyAdmin):
    """Answers to orders; they never change."""

    list_display = ("decided_at", "outcome_shown", "order_ref")
    list_filter = ("outcome",)
    search_fields = ("order_ref",)
    fields = ("decided_at", "outcome_shown", "order_ref", "reasons_shown", "facts_shown", "facts_hash")

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find by id alone."""
        if not search_term.strip():
            return queryset, False
        try:
            wanted = uuid.UUID(search_term.strip())
        except ValueError:
            return queryset.none(), False
        return queryset.filter(order_ref=wanted) | queryset.filter(pk=wanted), False

    @admin.display(description="outcome", ordering="outcome")
    def outcome_shown(self, decision: Decision) -> SafeString:
        """Show the outcome as a badge."""
        return badge(decision.outcome, decision.get_outcome_display())

    @admin.display(description="reasons")
    def reasons_shown(self, decision: Decision) -> SafeString:
        """Show what each rule said."""
        return _json(decision.reasons)

    @admin.display(description="facts")
    def facts_shown(self, decision: Decision) -> SafeString:
        """Show what the rules read."""
        return _json(decision.facts)


def _json(value: object) -> SafeString:
    return format_html('<pre class="json" tabindex="0">{}</pre>', json.dumps(value, indent=2, ensure_ascii=False))
