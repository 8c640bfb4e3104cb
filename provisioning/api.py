"""The routes of the API for what was delivered, and for the tasks that people do by hand."""

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
from provisioning.models import (
    ManualTask,
    ManualTaskQuerySet,
    Run,
    ServiceInstance,
    ServiceInstanceQuerySet,
)

HEAVY = ("document", "parameters_schema", "description", "terms")


class InstancePlan(serializers.Serializer[Any]):
    """The plan of a service."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()


class InstanceBody(serializers.Serializer[Any]):
    """One service that was delivered. Passwords are never part of it."""

    id = serializers.UUIDField()
    name = serializers.CharField()
    state = serializers.ChoiceField(ServiceInstance.State.choices)
    plan = InstancePlan()
    offering = serializers.CharField(source="plan.version.offering.slug")
    cost_center = serializers.CharField(source="cost_center.code")
    owner = serializers.CharField(source="owner.username")
    order = serializers.UUIDField(source="order_ref")
    parameters = serializers.DictField()
    outputs = serializers.DictField(help_text="Where and how to reach it.")
    created_at = Moment()
    active_at = Moment(allow_null=True)
    expires_at = Moment(allow_null=True)


class CredentialsBody(serializers.Serializer[Any]):
    """The passwords of a service, by name."""

    credentials = serializers.DictField(child=serializers.CharField())


class RotationBody(serializers.Serializer[Any]):
    """A change of passwords that has begun."""

    service_instance = serializers.UUIDField()
    run = serializers.UUIDField()
    state = serializers.ChoiceField(Run.State.choices)


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


class InstanceFilters(serializers.Serializer[Any]):
    """What narrows the list of services."""

    state = serializers.ChoiceField(ServiceInstance.State.values, required=False)


class TaskFilters(serializers.Serializer[Any]):
    """What narrows the list of tasks."""

    state = serializers.ChoiceField(ManualTask.State.values, required=False)


class ServiceInstanceViewSet(Own, viewsets.GenericViewSet[Any]):
    """Services: yours, and those that you answer for."""

    scope = Scope.ORDER
    lookup_value_converter = "uuid"
    serializer_class = InstanceBody

    def get_queryset(self) -> ServiceInstanceQuerySet:
        """Those that the person may look at, newest first, with all that a row shows and no more."""
        return (
            ServiceInstance.objects.visible_to(self.request.user)
            .select_related("plan__version__offering", "cost_center", "owner")
            .defer(*(f"plan__version__{column}" for column in HEAVY))
            .order_by("-created_at", "-id")
        )

    def _found(self, pk: Any) -> ServiceInstance:
        return get_object_or_404(self.get_queryset(), pk=pk)

    @extend_schema(summary="List services", parameters=[InstanceFilters])
    def list(self, request: Request) -> Response:
        """List your services and those that you answer for, newest first."""
        asked = query_of(request, InstanceFilters, also=self.paginator.parameters)  # type: ignore[union-attr]
        page = self.paginate_queryset(self.get_queryset().filter(**asked))
        return self.get_paginated_response(InstanceBody(page, many=True).data)

    @extend_schema(summary="Read a service")
    def retrieve(self, request: Request, pk: Any) -> Response:
        """Read a service and how to reach it."""
        query_of(request, serializers.Serializer)
        return Response(InstanceBody(self._found(pk)).data)

    @extend_schema(summary="Show the passwords, once", request=None, responses={200: CredentialsBody})
    @action(detail=True, methods=["post"])
    def credentials(self, request: Request, pk: Any) -> Response:
        """Show the passwords to the person whose service it is: once, then 409 `already-revealed`."""
        query_of(request, serializers.Serializer)
        no_body(request)
        return Response({"credentials": provisioning.reveal(self._found(pk), actor=request.user)})

    @extend_schema(summary="Set new passwords", request=None, responses={202: RotationBody})
    @action(detail=True, methods=["post"])
    def rotate(self, request: Request, pk: Any) -> Response:
        """Begin to set new passwords. The old ones work until the service is `active` again."""
        query_of(request, serializers.Serializer)
        no_body(request)
        run = provisioning.rotate(self._found(pk), actor=request.user)
        return Response({"service_instance": pk, "run": run.pk, "state": str(run.state)}, status=202)


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
        page = self.paginate_queryset(self.get_queryset().filter(**asked))
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
