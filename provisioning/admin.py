"""What was delivered, and the work behind it, to look at. Secrets are nowhere here."""

from typing import Any

from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.utils.html import format_html_join
from django.utils.safestring import SafeString

from core.admin import ReadOnlyAdmin, ReadOnlyInline, badge
from provisioning.models import Run, ServiceInstance, Step, StepAttempt, StepLine


@admin.register(ServiceInstance)
class ServiceInstanceAdmin(ReadOnlyAdmin):
    """What was delivered, whose it is, who pays."""

    list_display = ("name", "state_shown", "plan", "owner", "cost_center", "created_at")
    list_filter = ("state",)
    list_select_related = ("plan", "owner", "cost_center")
    search_fields = ("name", "owner__username", "cost_center__code")
    fields = (
        "name", "state_shown", "plan", "owner", "cost_center", "parameters", "outputs",
        "created_at", "active_at", "expires_at",
    )  # fmt: skip

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Show a service owner what is his."""
        return ServiceInstance.objects.visible_to(request.user)

    @admin.display(description="state", ordering="state")
    def state_shown(self, instance: ServiceInstance) -> SafeString:
        """Show the state as a badge."""
        return badge(instance.state, instance.get_state_display())


class StepInline(ReadOnlyInline):
    """The steps of a run."""

    model = Step
    fields = ("seq", "kind", "name", "connector", "state", "attempt", "started_at", "finished_at", "error")
    show_change_link = True
    link = "name"
    ordering = ("generation", "kind", "seq")


@admin.register(Run)
class RunAdmin(ReadOnlyAdmin):
    """One execution of a workflow."""

    list_display = ("instance", "kind", "state_shown", "created_at", "finished_at", "reason")
    list_filter = ("state", "kind")
    list_select_related = ("instance",)
    search_fields = ("instance__name",)
    fields = ("instance", "kind", "state_shown", "reason", "created_at", "finished_at")
    inlines = (StepInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Show a service owner what is his."""
        return super().get_queryset(request).filter(instance__in=ServiceInstance.objects.visible_to(request.user))

    def history_of(self, row: Any) -> Q:
        """Tell of its steps too."""
        return Q(subject_id__in=[row.pk, *row.steps.values_list("pk", flat=True)])

    @admin.display(description="state", ordering="state")
    def state_shown(self, run: Run) -> SafeString:
        """Show the state as a badge."""
        return badge(run.state, run.get_state_display())


class AttemptInline(ReadOnlyInline):
    """Who worked on a step, and how that ended."""

    model = StepAttempt
    fields = ("number", "outcome", "worker", "started_at", "finished_at", "error")


@admin.register(Step)
class StepAdmin(ReadOnlyAdmin):
    """One thing that is done at a back end, with its attempts and its log."""

    list_display = ("name", "connector", "state_shown", "attempt", "next_run_at", "error")
    list_filter = ("state", "connector")
    search_fields = ("name", "external_ref")
    ordering = ("-deadline_at", "id")
    fields = (
        "run", "name", "kind", "connector", "operation", "state_shown", "attempt", "max_attempts", "next_run_at",
        "deadline_at", "external_ref", "idempotency_key", "detail", "error", "started_at", "finished_at", "log",
    )  # fmt: skip
    inlines = (AttemptInline,)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Show a service owner what is his."""
        seen = ServiceInstance.objects.visible_to(request.user)
        return super().get_queryset(request).filter(run__instance__in=seen)

    @admin.display(description="state", ordering="state")
    def state_shown(self, step: Step) -> SafeString:
        """Show the state as a badge."""
        return badge(step.state, step.get_state_display())

    @admin.display(description="log")
    def log(self, step: Step) -> SafeString | str:
        """Show the last lines of the technical log."""
        last = StepLine.objects.filter(step=step).order_by("-id")[:200]
        lines = [(f"{line.at:%Y-%m-%d %H:%M:%S}", line.text) for line in reversed(last)]
        return format_html_join("", '<div class="line"><b>{}</b> {}</div>', lines) or "Nothing was written."
