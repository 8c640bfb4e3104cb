"""The routes of the API for imports of brokers' catalogs."""

from typing import Any

from django.db.models import QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

import provisioning.services as provisioning
from accounts.models import Person, Scope
from catalog.models import BackEnd, Category
from core.api.input import StrictSerializer, TextField, query_of
from core.api.output import Moment, Own
from core.parameters.bounds import legible
from core.permissions import require
from core.problems import Invalid
from provisioning.models import BrokerImport

MAX_NAME = 150


class ImportResult(serializers.Serializer[Any]):
    """What came of an import: offerings by slug, and what could not be taken over."""

    created = serializers.ListField(child=serializers.CharField(), default=list)
    updated = serializers.ListField(child=serializers.CharField(), default=list)
    unchanged = serializers.ListField(child=serializers.CharField(), default=list)
    problems = serializers.ListField(child=serializers.CharField(), default=list, help_text="One sentence each.")


class ImportBody(serializers.Serializer[Any]):
    """One import of a broker's catalog into draft offerings."""

    id = serializers.UUIDField()
    back_end = serializers.CharField(source="back_end.slug")
    state = serializers.ChoiceField(BrokerImport.State.choices)
    category = serializers.CharField(source="category.slug")
    service_owner = serializers.CharField(source="service_owner.username")
    requested_by = serializers.CharField(source="requested_by.username")
    requested_at = Moment()
    finished_at = Moment(allow_null=True)
    result = ImportResult(help_text="Filled once it is done.")
    error = serializers.CharField(help_text="Why it failed; may be asked for again.")


class ImportWanted(StrictSerializer):
    """Where offerings that are new go; those imported before keep their places."""

    category = TextField(max_length=MAX_NAME, help_text="The slug of a category.")
    service_owner = TextField(max_length=MAX_NAME, help_text="The sign-in name of a service owner.")


class BrokerImportViewSet(Own, viewsets.GenericViewSet[Any]):
    """Imports of a broker's catalog, for IT admins; platform admins and auditors may look."""

    scope = reading_scope = Scope.ADMIN
    lookup_value_converter = "uuid"
    serializer_class = ImportBody

    def get_queryset(self) -> QuerySet[BrokerImport]:
        """Those of the back end in the address, newest first. Raises Http404 for who may not look at it."""
        rows = BrokerImport.objects.filter(back_end=self._back_end())
        return rows.select_related("back_end", "category", "service_owner", "requested_by").order_by(
            "-requested_at", "-id"
        )

    def _back_end(self) -> BackEnd:
        rows = BackEnd.objects.all() if self.request.user.has_perm("catalog.view_backend") else BackEnd.objects.none()
        return get_object_or_404(rows, slug=self.kwargs["slug"])

    @extend_schema(summary="List imports of a broker")
    def list(self, request: Request, slug: str) -> Response:
        """List the imports of a broker's catalog, newest first. Needs the scope `admin`."""
        query_of(request, serializers.Serializer, also=self.paginator.parameters)  # type: ignore[union-attr]
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(ImportBody(page, many=True).data)

    @extend_schema(summary="Read an import")
    def retrieve(self, request: Request, slug: str, pk: Any) -> Response:
        """Read how far an import has got and what came of it. Needs the scope `admin`."""
        query_of(request, serializers.Serializer)
        return Response(ImportBody(get_object_or_404(self.get_queryset(), pk=pk)).data)

    @extend_schema(summary="Import a broker's services", request=ImportWanted, responses={201: ImportBody})
    def create(self, request: Request, slug: str) -> Response:
        """Have the catalog of a service broker fetched and one offering a service drafted; nothing is published.

        A worker does it within seconds. While one import of a broker is open, another is 409 `import-open`.
        """
        query_of(request, serializers.Serializer)
        back_end, body = self._back_end(), ImportWanted(data=request.data)
        require(request.user, "catalog.add_offering")
        body.is_valid(raise_exception=True)
        row = provisioning.request_import(back_end, **_found(body.validated_data), actor=request.user)
        answer = ImportBody(self.get_queryset().get(pk=row.pk)).data
        headers = {"Location": reverse("api-brokerimport-detail", [back_end.slug, row.pk], request=request)}
        return Response(answer, status=201, headers=headers)


def _found(wanted: dict[str, Any]) -> dict[str, Any]:
    """Give the rows that the names stand for. Raises Invalid."""
    category = Category.objects.filter(slug=wanted["category"]).first()
    owner = Person.objects.filter(username=wanted["service_owner"]).first()
    errors = {}
    if category is None:
        errors["/category"] = f"There is no category “{legible(wanted['category'])}”."
    if owner is None:
        errors["/service_owner"] = f"There is nobody with the sign-in name “{legible(wanted['service_owner'])}”."
    if errors:
        raise Invalid(errors)
    return {"category": category, "service_owner": owner}
