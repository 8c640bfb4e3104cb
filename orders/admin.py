"""Orders, to look at."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.safestring import SafeString

from core.admin import ReadOnlyAdmin, badge
from orders.models import Order


@admin.register(Order)
class OrderAdmin(ReadOnlyAdmin):
    """What people asked for, on whose account, and how far it has got."""

    list_display = ("number", "name", "action", "state_shown", "plan", "requester", "cost_center", "created_at")
    list_filter = ("state", "action")
    list_select_related = ("plan", "requester", "cost_center")
    search_fields = ("name", "requester__username", "cost_center__code")
    fields = (
        "number", "action", "state_shown", "name", "plan", "content_hash", "parameters", "purpose",
        "data_classification", "requester", "beneficiary", "cost_center", "one_off", "monthly", "currency",
        "decision", "instance", "created_at", "completed_at", "cancel_requested_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Show what this person may see."""
        return Order.objects.visible_to(request.user)

    def get_search_results(self, request: HttpRequest, queryset: QuerySet, search_term: str) -> tuple[QuerySet, bool]:
        """Find by number where the term is one."""
        if search_term.isdecimal() and search_term.isascii() and len(search_term) < 19:  # noqa: PLR2004 (of a bigint)
            return queryset.filter(number=int(search_term)), False
        return super().get_search_results(request, queryset, search_term)

    def history_of(self, row: Any) -> Q:
        """Tell of what was delivered too."""
        return Q(subject_id__in=[row.pk, row.instance_id] if row.instance_id else [row.pk])

    @admin.display(description="state", ordering="state")
    def state_shown(self, order: Order) -> SafeString:
        """Show the state as a badge."""
        return badge(order.state, order.get_state_display())
