"""What was delivered, and the work behind it, to look at. Secrets are nowhere here."""

from typing import Any

from django import forms
from django.contrib import admin
from django.db.models import Q, QuerySet
from django.http import HttpRequest
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

import provisioning.services as provisioning
from core.admin import Action, ReadOnlyAdmin, ReadOnlyInline, badge
from core.forms import RowForm
from provisioning.models import Breaker, Run, ServiceInstance, Step, StepAttempt, StepLine
from provisioning.services.operations import SKIPPABLE


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


class ReasonForm(RowForm):
    """Why an operator overrides the engine; the service judges it."""

    reason = forms.CharField(required=False, help_text="It is kept in the audit trail.", widget=forms.Textarea)


class FindingForm(ReasonForm):
    """What became of a step whose end nobody knew; its outputs are entered on the run's page."""

    answer = forms.ChoiceField(choices=provisioning.Finding.choices, label="What is so?")
    field_order = ("answer", "reason")


def _operates(person: Any, run: Run) -> bool:
    return bool(person.has_perm("provisioning.operate_run", run))


RETRY = Action(
    name="retry",
    label="Try again",
    run=lambda run, person, _values: provisioning.retry_run(run, actor=person),
    shown=lambda person, run: run.state in {*Run.OPEN, Run.State.COMPENSATION_FAILED} and _operates(person, run),
    done="The run goes on.",
    question="It goes on from where it stands: the failed step, or its undoing, is tried again.",
)
UNDO = Action(
    name="undo",
    label="Stop and undo",
    run=lambda run, person, values: provisioning.undo_run(run, values["reason"], actor=person),
    shown=lambda person, run: run.state == Run.State.RUNNING and run.kind != Run.Kind.RETIRE and _operates(person, run),
    done="What was made is taken back.",
    question="What was made so far is taken back, last first.",
    form=ReasonForm,
)
ABANDON = Action(
    name="abandon",
    label="Abandon",
    run=lambda run, person, values: provisioning.abandon_run(run, values["reason"], actor=person),
    shown=RETRY.shown,
    done="The run is abandoned.",
    question="Nothing more is called. What is left at a back end stays there: clear it by hand.",
    form=ReasonForm,
)
STEP_RETRY = Action(
    name="retry",
    label=RETRY.label,
    run=lambda step, person, _values: provisioning.retry_run(step.run, actor=person) and step,
    shown=lambda person, step: (
        step.state in {Step.State.FAILED, Step.State.COMPENSATION_FAILED, Step.State.RETRY}
        and RETRY.shown(person, step.run)
    ),
    done="“{row}” is tried again.",
    question=RETRY.question,
)
SKIP = Action(
    name="skip",
    label="Leave out",
    run=lambda step, person, values: provisioning.skip_step(step, values["reason"], actor=person),
    shown=lambda person, step: step.state in SKIPPABLE and RETRY.shown(person, step.run),
    done="“{row}” is left out.",
    question="The run goes on as if it were done; what it would have given is missing.",
    form=ReasonForm,
)
RESOLVE = Action(
    name="resolve",
    label="Say what became of it",
    run=lambda step, person, values: provisioning.resolve_unknown(
        step, values["answer"], reason=values["reason"], actor=person
    ),
    shown=lambda person, step: step.state == Step.State.OUTCOME_UNKNOWN and _operates(person, step.run),
    done="“{row}” goes on.",
    question="Look at the back end first: a wrong answer makes it twice, or not at all.",
    form=FindingForm,
)


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
    fields = ("instance", "kind", "state_shown", "reason", "trace_id", "created_at", "finished_at", "page")
    inlines = (StepInline,)
    object_actions = (RETRY, UNDO, ABANDON)

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

    @admin.display(description="live")
    def page(self, run: Run) -> SafeString:
        """Lead to the run's live page."""
        return format_html('<a href="{}">Watch it</a>', reverse("provisioning:run_detail", args=[run.pk]))


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
        "run", "name", "kind", "connector", "back_end", "operation", "state_shown", "attempt", "max_attempts",
        "next_run_at", "deadline_at", "external_ref", "idempotency_key", "detail", "error",
        "started_at", "finished_at", "log",
    )  # fmt: skip
    inlines = (AttemptInline,)
    object_actions = (STEP_RETRY, SKIP, RESOLVE)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Show a service owner what is his."""
        seen = ServiceInstance.objects.visible_to(request.user)
        return super().get_queryset(request).select_related("run__instance").filter(run__instance__in=seen)

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


@admin.register(Breaker)
class BreakerAdmin(ReadOnlyAdmin):
    """How back ends have answered lately; those that always did have no row."""

    list_display = ("back_end", "state_shown", "failures", "opened_at", "probe_at", "last_error")
    list_filter = ("state",)
    search_fields = ("back_end",)
    fields = ("back_end", "state_shown", "failures", "opened_at", "probe_at", "slow_at", "last_error")
    object_actions = (
        Action(
            name="try",
            label="Try now",
            run=lambda breaker, person, _values: _tried(breaker, person),
            shown=lambda person, breaker: (
                breaker.state == Breaker.State.OPEN and person.has_perm("provisioning.operate_run")
            ),
            done="{row}; it is tried now.",
            question="The step that has waited longest is sent there at once.",
        ),
    )

    def history_of(self, row: Any) -> Q:
        """Tell what happened to this back end: it is named in the facts."""
        return Q(subject_type="breaker", facts__back_end=row.back_end)

    @admin.display(description="state", ordering="state")
    def state_shown(self, breaker: Breaker) -> SafeString:
        """Show the state as a badge."""
        return badge("failed" if breaker.state == Breaker.State.OPEN else "active", breaker.get_state_display())


def _tried(breaker: Breaker, person: Any) -> Breaker:
    provisioning.try_now(breaker.back_end, actor=person)
    return breaker
