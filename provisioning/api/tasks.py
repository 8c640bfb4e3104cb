"""The routes of the API for what people do by hand."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

import provisioning.services as provisioning
from accounts.models import Role, Scope
from core.api.input import StrictSerializer, no_body, query_of
from core.api.output import Moment, Own
from core.problems import Invalid
from provisioning.models import ManualTask, ManualTaskQuerySet

NOT_BOOLEAN: dict[str, Any] = {
    "invalid": "take_over must be true or false.",
    "null": "take_over must be true or false.",
}


class TaskBody(serializers.Serializer[Any]):
    """One thing that a person does by hand for a service."""

    id = serializers.UUIDField()
    state = serializers.ChoiceField(ManualTask.State.choices)
    title = serializers.CharField()
    instructions = serializers.CharField()
    role = serializers.ChoiceField(Role.choices, help_text="Whose work it is.")
    assignee = serializers.CharField(source="assignee.username", default=None, allow_null=True)
    output_fields = serializers.ListField(
        child=serializers.DictField(), help_text="What `complete/` asks for: `name`, `title`, and `optional` or not."
    )
    outputs = serializers.DictField()
    service_instance = serializers.UUIDField(source="step.run.instance_id")
    order = serializers.UUIDField(source="step.run.instance.order_ref")
    created_at = Moment()
    due_at = Moment(allow_null=True)
    done_at = Moment(allow_null=True)
    done_by = serializers.CharField(source="done_by.username", default=None, allow_null=True)


class TaskDone(StrictSerializer):
    """What came of a task."""

    outputs = serializers.DictField(
        default=dict,
        help_text="Text for each of the task's `output_fields`, by name.",
        error_messages={"not_a_dict": "Outputs must be an object.", "null": "Outputs must be an object."},
    )


class TaskClaim(StrictSerializer):
    """How a task is claimed."""

    take_over = serializers.BooleanField(
        default=False, help_text="Whether to take the task from the person who has it.", error_messages=NOT_BOOLEAN
    )


class TaskFilters(serializers.Serializer[Any]):
    """What narrows the list of tasks."""

    state = serializers.ChoiceField(ManualTask.State.values, required=False)
    held_by = serializers.ChoiceField(
        ["me", "nobody"], required=False, help_text="Those that you have, or those that nobody has."
    )


class TaskViewSet(Own, viewsets.GenericViewSet[Any]):
    """Tasks that you may do by hand, or look at."""

    scope = Scope.ADMIN
    lookup_value_converter = "uuid"
    serializer_class = TaskBody

    def get_queryset(self) -> ManualTaskQuerySet:
        """Those that the person may look at, oldest first."""
        return (
            ManualTask.objects.visible_to(self.request.user)
            .select_related("step__run__instance", "assignee", "done_by")
            .order_by("created_at", "id")
        )

    @extend_schema(summary="List tasks", parameters=[TaskFilters])
    def list(self, request: Request) -> Response:
        """List the tasks of your role, those given to you and those of your offerings, oldest first."""
        asked = query_of(request, TaskFilters, also=self.paginator.parameters)  # type: ignore[union-attr]
        rows = self.get_queryset()
        held_by = asked.pop("held_by", None)
        if held_by:
            rows = rows.filter(assignee_id=request.user.pk if held_by == "me" else None)
        page = self.paginate_queryset(rows.filter(**asked))
        return self.get_paginated_response(TaskBody(page, many=True).data)

    @extend_schema(summary="Read a task")
    def retrieve(self, request: Request, pk: Any) -> Response:
        """Read what is to be done and for which service."""
        query_of(request, serializers.Serializer)
        return Response(TaskBody(get_object_or_404(self.get_queryset(), pk=pk)).data)

    @extend_schema(summary="Note that a task is done", request=TaskDone, responses={200: TaskBody})
    @action(detail=True, methods=["post"])
    def complete(self, request: Request, pk: Any) -> Response:
        """Note that a task is done, with what came of it; the delivery goes on. Needs the scope `admin`."""
        query_of(request, serializers.Serializer)
        body = TaskDone(data=request.data)
        body.is_valid(raise_exception=True)
        task = get_object_or_404(self.get_queryset(), pk=pk)
        try:
            provisioning.complete(task, body.validated_data["outputs"], actor=request.user)
        except Invalid as error:
            raise Invalid({f"/outputs{pointer}": text for pointer, text in error.errors.items()}) from error
        return Response(TaskBody(self.get_queryset().get(pk=pk)).data)

    @extend_schema(summary="Claim a task", request=TaskClaim, responses={200: TaskBody})
    @action(detail=True, methods=["post"])
    def claim(self, request: Request, pk: Any) -> Response:
        """Take a task upon yourself: 409 `claimed` where somebody else has it, unless you take it over."""
        query_of(request, serializers.Serializer)
        body = TaskClaim(data=request.data)
        body.is_valid(raise_exception=True)
        task = get_object_or_404(self.get_queryset(), pk=pk)
        if body.validated_data["take_over"]:
            provisioning.hand_to(task, request.user, actor=request.user)
        else:
            provisioning.claim_task(task, actor=request.user)
        return Response(TaskBody(self.get_queryset().get(pk=pk)).data)

    @extend_schema(summary="Hand a task back", request=None, responses={200: TaskBody})
    @action(detail=True, methods=["post"], url_path="hand-back")
    def hand_back(self, request: Request, pk: Any) -> Response:
        """Let go of a task that you have, so that anybody of its role may take it."""
        query_of(request, serializers.Serializer)
        no_body(request)
        provisioning.hand_back(get_object_or_404(self.get_queryset(), pk=pk), actor=request.user)
        return Response(TaskBody(self.get_queryset().get(pk=pk)).data)
