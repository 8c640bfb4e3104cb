"""The routes of the API for what was delivered."""

from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.request import Request
from rest_framework.response import Response

import provisioning.services as provisioning
from accounts.models import Scope
from core.api.input import no_body, query_of
from core.api.output import Moment, Own
from provisioning.models import Run, ServiceInstance, ServiceInstanceQuerySet

GONE = (
    "When we last looked, it was not at its back end any more. It is not made again by itself: remove it, or ask the "
    "IT department."
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
    order = serializers.UUIDField(source="order_ref", help_text="The order that made it.")
    detail = serializers.SerializerMethodField(help_text="What its state means, where that needs a sentence.")
    parameters = serializers.DictField()
    outputs = serializers.DictField(help_text="Where and how to reach it.")
    created_at = Moment()
    active_at = Moment(allow_null=True)
    expires_at = Moment(allow_null=True)
    checked_at = Moment(allow_null=True, help_text="When we last looked whether it is there.")

    def get_detail(self, instance: ServiceInstance) -> str:
        """Say what it means that a service is missing."""
        return GONE if instance.state == ServiceInstance.State.MISSING else ""


class CredentialsBody(serializers.Serializer[Any]):
    """The passwords of a service, by name."""

    credentials = serializers.DictField(child=serializers.CharField())


class RotationBody(serializers.Serializer[Any]):
    """A change of passwords that has begun."""

    service_instance = serializers.UUIDField()
    run = serializers.UUIDField()
    state = serializers.ChoiceField(Run.State.choices)


class InstanceFilters(serializers.Serializer[Any]):
    """What narrows the list of services."""

    state = serializers.ChoiceField(ServiceInstance.State.values, required=False)


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
