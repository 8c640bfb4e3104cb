"""The routes of the API for operators: runs, their steps, what is left behind, how back ends answer."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

import provisioning.services as provisioning
from accounts.models import Scope
from core.api.input import StrictSerializer, TextField, no_body, query_of
from core.api.output import Moment, Own
from core.permissions import require
from core.problems import Invalid
from provisioning.models import Run, Step, StepAttempt, StepQuerySet
from provisioning.services import shown
from provisioning.services.operations import MAX_REASON, Finding
from provisioning.services.runs import ClockTimestamp
from provisioning.services.watching import MAX_TEXT, TABS, Standing, Wanted, matching, standings
from provisioning.services.why import next_try, why_step

SHOWN_ATTEMPTS, SHOWN_LINES = 50, 200


class CurrentStep(serializers.Serializer[Any]):
    """The step at which a run stands."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    state = serializers.ChoiceField(Step.State.choices)
    back_end = serializers.CharField()


class RunBody(serializers.Serializer[Any]):
    """One execution of a workflow."""

    id = serializers.UUIDField(source="run.pk")
    state = serializers.ChoiceField(Run.State.choices, source="run.state")
    kind = serializers.ChoiceField(Run.Kind.choices, source="run.kind")
    service_instance = serializers.UUIDField(source="run.instance_id")
    name = serializers.CharField(source="run.instance.name")
    offering = serializers.CharField(source="run.instance.plan.version.offering.slug")
    order = serializers.UUIDField(source="run.order_ref", allow_null=True)
    owner = serializers.CharField(source="run.instance.owner.username")
    step = CurrentStep(allow_null=True, help_text="Where it stands; null once it is over.")
    why = serializers.CharField(help_text="What it waits for, or how it ended; one sentence for people.")
    next_run_at = Moment(source="next_at", allow_null=True)
    reason = serializers.CharField(source="run.reason")
    trace_id = serializers.CharField(source="run.trace_id")
    created_at = Moment(source="run.created_at")
    finished_at = Moment(source="run.finished_at", allow_null=True)


class AttemptBody(serializers.Serializer[Any]):
    """One attempt of a step."""

    number = serializers.IntegerField()
    outcome = serializers.ChoiceField(StepAttempt.Outcome.choices)
    worker = serializers.CharField()
    started_at = Moment()
    finished_at = Moment(allow_null=True)
    error = serializers.CharField()


class LogLine(serializers.Serializer[Any]):
    """One line of a step's log."""

    at = Moment()
    text = serializers.CharField()


class RunStep(serializers.Serializer[Any]):
    """One step of a run; secrets are nowhere in it."""

    id = serializers.UUIDField()
    seq = serializers.IntegerField()
    kind = serializers.ChoiceField(Step.Kind.choices)
    name = serializers.CharField()
    connector = serializers.CharField()
    back_end = serializers.CharField()
    operation = serializers.CharField()
    state = serializers.ChoiceField(Step.State.choices)
    why = serializers.CharField(default="")
    attempt = serializers.IntegerField()
    max_attempts = serializers.IntegerField()
    next_run_at = Moment(allow_null=True)
    started_at = Moment(allow_null=True)
    finished_at = Moment(allow_null=True)
    external_ref = serializers.CharField()
    detail = serializers.CharField()
    error = serializers.CharField()


class RunStepHistory(RunStep):
    """A step with its last attempts and the end of its log."""

    attempts = AttemptBody(many=True, source="last_attempts", help_text=f"The last {SHOWN_ATTEMPTS}, oldest first.")
    log = LogLine(many=True, source="last_lines", help_text=f"The last {SHOWN_LINES} lines, oldest first.")


class RunHistory(RunBody):
    """A run with its steps."""

    steps = RunStepHistory(many=True)


class OrphanBody(RunStep):
    """Something that should be gone from a back end and is not yet: the step that undoes it."""

    run = serializers.UUIDField(source="run_id")
    service_instance = serializers.UUIDField(source="run.instance_id")
    service_name = serializers.CharField(source="run.instance.name")
    created_at = Moment(help_text="Since when it should be gone.")


class BreakerBody(serializers.Serializer[Any]):
    """How one back end answers."""

    back_end = serializers.CharField()
    name = serializers.CharField()
    connector = serializers.CharField()
    state = serializers.ChoiceField([("closed", "Answers"), ("open", "Does not answer")])
    failures = serializers.IntegerField(help_text="One after the other.")
    last_error = serializers.CharField()
    opened_at = Moment(allow_null=True)
    probe_at = Moment(allow_null=True, help_text="When it is tried again.")
    calls = serializers.IntegerField(help_text="Under way now.")
    limit = serializers.IntegerField(allow_null=True, help_text="Calls at a time; null: no limit of its own.")
    waiting = serializers.IntegerField(help_text="Steps that wait for it.")
    usual_seconds = serializers.FloatField(allow_null=True)


class RunFilters(serializers.Serializer[Any]):
    """What narrows the list of runs."""

    state = serializers.ChoiceField(Run.State.values, required=False)
    stands = serializers.ChoiceField(list(TABS), required=False, help_text="The tabs of the page of runs.")
    back_end = serializers.CharField(required=False, max_length=MAX_TEXT)
    connector = serializers.CharField(required=False, max_length=MAX_TEXT)
    offering = serializers.CharField(required=False, max_length=MAX_TEXT)
    q = serializers.CharField(required=False, max_length=MAX_TEXT, help_text="In name, person, order number or error.")
    since = serializers.DateTimeField(required=False, help_text="Begun at that time or later.")


class RetryMany(StrictSerializer, RunFilters):
    """Which runs to try again; at least one of these."""


class RefusedBody(serializers.Serializer[Any]):
    """A run that was not tried again."""

    run = serializers.UUIDField()
    detail = serializers.CharField()


class RetriedBody(serializers.Serializer[Any]):
    """What came of trying many runs again."""

    retried = serializers.IntegerField()
    refused = RefusedBody(many=True)


class Reason(StrictSerializer):
    """Why an operator overrides the engine."""

    reason = TextField(max_length=MAX_REASON, help_text="The audit trail keeps it.")


class Resolution(Reason):
    """What became of a step whose end nobody knew."""

    answer = serializers.ChoiceField(Finding.choices)
    outputs = serializers.DictField(
        default=dict,
        help_text="Where it happened: what it gave, by name.",
        error_messages={"not_a_dict": "Outputs must be an object."},
    )
    external_ref = TextField(default="", max_length=200, help_text="Where it happened: the back end's name for it.")


def _wanted(asked: dict[str, Any]) -> Wanted:
    asked = dict(asked)
    return Wanted(tab=asked.pop("stands", ""), text=asked.pop("q", ""), **asked)


def _sent(request: Request, kind: type[StrictSerializer]) -> dict[str, Any]:
    body = kind(data=request.data)
    body.is_valid(raise_exception=True)
    return dict(body.validated_data)


class Watched(Own):
    """A view for those who run or audit the platform."""

    scope = Scope.ADMIN

    def initial(self, request: Request, *args: Any, **kwargs: Any) -> None:
        """Refuse everybody else, whatever he asks for."""
        super().initial(request, *args, **kwargs)  # type: ignore[misc]
        require(request.user, "provisioning.view_run")


class RunViewSet(Watched, viewsets.GenericViewSet[Any]):
    """Runs: what the workers do for orders. For IT admins, platform admins, auditors and service owners."""

    lookup_value_converter = "uuid"
    serializer_class = RunBody

    def get_queryset(self) -> Any:
        """Those that the person may look at, newest first."""
        return shown.seen_runs(self.request.user).order_by("-created_at", "-id")

    def _told(self, run: Run) -> Response:
        return Response(RunBody(shown.rows_of([self.get_queryset().get(pk=run.pk)], standings())[0]).data)

    def _found(self, pk: Any) -> Any:
        return get_object_or_404(self.get_queryset(), pk=pk)

    @extend_schema(summary="List runs", parameters=[RunFilters])
    def list(self, request: Request) -> Response:
        """List runs, newest first, each with what it waits for."""
        asked = query_of(request, RunFilters, also=self.paginator.parameters)  # type: ignore[union-attr]
        page = self.paginate_queryset(matching(self.get_queryset(), _wanted(asked)))
        return self.get_paginated_response(RunBody(shown.rows_of(page or [], standings()), many=True).data)

    @extend_schema(summary="Read a run", responses={200: RunHistory})
    def retrieve(self, request: Request, pk: Any) -> Response:
        """Read a run with its steps, their attempts and logs."""
        query_of(request, serializers.Serializer)
        run, known = self._found(pk), standings()
        attempts, lines = shown.attempts_of(run, SHOWN_ATTEMPTS), shown.lines_of(run, SHOWN_LINES)
        steps: list[Any] = shown.steps_of(run)
        for step in steps:
            step.why = shown.why_of(run, step, known)
            step.last_attempts, step.last_lines = attempts[step.pk], lines[step.pk]
        row = shown.rows_of([run], known)[0]
        return Response({**RunBody(row).data, "steps": RunStepHistory(steps, many=True).data})

    @extend_schema(summary="Try a run again", request=None, responses={200: RunBody})
    @action(detail=True, methods=["post"])
    def retry(self, request: Request, pk: Any) -> Response:
        """Go on from where it stands; answers the run that goes on, a new one where the order begins again."""
        query_of(request, serializers.Serializer)
        no_body(request)
        return self._told(provisioning.retry_run(self._found(pk), actor=request.user))

    @extend_schema(summary="Stop and undo a run", request=Reason, responses={200: RunBody})
    @action(detail=True, methods=["post"])
    def undo(self, request: Request, pk: Any) -> Response:
        """Stop a run and take back what it made."""
        query_of(request, serializers.Serializer)
        reason = _sent(request, Reason)["reason"]
        return self._told(provisioning.undo_run(self._found(pk), reason, actor=request.user))

    @extend_schema(summary="Abandon a run", request=Reason, responses={200: RunBody})
    @action(detail=True, methods=["post"])
    def abandon(self, request: Request, pk: Any) -> Response:
        """Give a run up: what is left at a back end stays there."""
        query_of(request, serializers.Serializer)
        reason = _sent(request, Reason)["reason"]
        return self._told(provisioning.abandon_run(self._found(pk), reason, actor=request.user))

    @extend_schema(
        summary="Try many runs again", operation_id="runs_retry_many", request=RetryMany, responses={200: RetriedBody}
    )
    @action(detail=False, methods=["post"], url_path="retry")
    def retry_many(self, request: Request) -> Response:
        """Try again all runs that match, 500 at most; says which are not, and why."""
        query_of(request, serializers.Serializer)
        asked = _sent(request, RetryMany)
        if not asked:
            raise Invalid({"": "Say which runs: name at least one filter."})
        done = provisioning.retry_many(_wanted(asked), actor=request.user)
        refused = [{"run": pk, "detail": sentence} for pk, sentence in done.refused]
        return Response(RetriedBody({"retried": done.retried, "refused": refused}).data)


class StepViewSet(Watched, viewsets.GenericViewSet[Any]):
    """What operators do with one step of a run."""

    lookup_value_converter = "uuid"
    serializer_class = RunStep

    def get_queryset(self) -> StepQuerySet:
        """Steps of the runs that the person may look at."""
        seen = Run.objects.visible_to(self.request.user).values("pk")
        return Step.objects.filter(run__in=seen).select_related("run").order_by("id")

    def _found(self, pk: Any) -> Step:
        return get_object_or_404(self.get_queryset(), pk=pk)

    @extend_schema(summary="Leave out a step", request=Reason, responses={200: RunStep})
    @action(detail=True, methods=["post"])
    def skip(self, request: Request, pk: Any) -> Response:
        """Leave a step out; the run goes on without it."""
        query_of(request, serializers.Serializer)
        reason = _sent(request, Reason)["reason"]
        step = provisioning.skip_step(self._found(pk), reason, actor=request.user)
        return Response(RunStep(self._found(step.pk)).data)

    @extend_schema(summary="Say what became of a step", request=Resolution, responses={200: RunStep})
    @action(detail=True, methods=["post"])
    def resolve(self, request: Request, pk: Any) -> Response:
        """Say whether a step with `outcome_unknown` happened, or have the back end looked at again."""
        query_of(request, serializers.Serializer)
        said = _sent(request, Resolution)
        step = provisioning.resolve_unknown(self._found(pk), said.pop("answer"), **said, actor=request.user)
        return Response(RunStep(self._found(step.pk)).data)


class OrphanViewSet(Watched, viewsets.GenericViewSet[Any]):
    """What should be gone from a back end and is not yet."""

    serializer_class = OrphanBody

    def get_queryset(self) -> Any:
        """Those of runs that the person may look at, oldest first."""
        seen = Run.objects.visible_to(self.request.user).values("pk")
        steps = Step.objects.orphans().filter(run__in=seen).annotate(now=ClockTimestamp())
        return steps.select_related("run__instance", "task").order_by("created_at", "id")

    @extend_schema(summary="List orphans")
    def list(self, request: Request) -> Response:
        """List what should be gone from a back end and is not yet, oldest first."""
        query_of(request, serializers.Serializer, also=self.paginator.parameters)  # type: ignore[union-attr]
        page, known = self.paginate_queryset(self.get_queryset()) or [], standings()
        for step in page:
            step.why = why_step(step, known.get(step.back_end), step.now)
            step.next_run_at = next_try(step, known.get(step.back_end))
        return self.get_paginated_response(OrphanBody(page, many=True).data)


class BreakerViewSet(Watched, viewsets.GenericViewSet[Any]):
    """How the back ends answer."""

    lookup_field = "slug"
    lookup_value_converter = "slug"
    serializer_class = BreakerBody
    pagination_class = None

    @extend_schema(summary="List how back ends answer", responses={200: BreakerBody(many=True)})
    def list(self, request: Request) -> Response:
        """List how each back end answers, silent ones first."""
        query_of(request, serializers.Serializer)
        return Response([_breaker(one) for one in standings(with_usual=True).values()])

    @extend_schema(summary="Try a silent back end now", request=None, responses={200: BreakerBody})
    @action(detail=True, methods=["post"])
    def probe(self, request: Request, slug: str) -> Response:
        """Have a silent back end tried at once, by the step that has waited for it longest."""
        query_of(request, serializers.Serializer)
        no_body(request)
        provisioning.try_now(slug, actor=request.user)
        return Response(_breaker(standings()[slug]))


def _breaker(standing: Standing) -> Any:
    state = "open" if standing.is_open else "closed"
    return BreakerBody({**standing.__dict__, "state": state}).data
