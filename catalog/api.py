"""The catalog's routes of the API: what a person may order, and the back ends behind it."""

from typing import Any

from django.db.models import Prefetch, QuerySet
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import extend_schema, extend_schema_field
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

import catalog.services as catalog
from accounts.models import Scope
from catalog.models import BackEnd, Offering, OfferingQuerySet, Plan, Price
from catalog.services.documents import plain
from core.api.input import query_of
from core.api.output import Amount, Own, amount

YES_NO = ("true", "false")


class OfferingFilters(serializers.Serializer[Any]):
    """What narrows the list of offerings."""

    q = serializers.CharField(
        required=False, allow_blank=True, help_text="Words; the last may be cut short, typing errors are forgiven."
    )
    category = serializers.CharField(required=False, help_text="The slug of a category.")
    pre_authorized = serializers.ChoiceField(
        YES_NO, required=False, help_text="Whether an order needs nobody's approval."
    )


class CategoryBody(serializers.Serializer[Any]):
    """One shelf of the catalog."""

    slug = serializers.CharField()
    name = serializers.CharField()


class FromPrice(serializers.Serializer[Any]):
    """The lowest price of an offering."""

    amount = Amount()
    currency = serializers.CharField()
    kind = serializers.ChoiceField(Price.Kind.choices)


class OfferingBrief(serializers.Serializer[Any]):
    """One offering as the list shows it."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    summary = serializers.CharField()
    category = CategoryBody()
    pre_authorized = serializers.BooleanField(help_text="An order within the rules needs nobody's approval.")
    from_price = serializers.SerializerMethodField()

    @extend_schema_field(FromPrice(allow_null=True))
    def get_from_price(self, offering: Offering) -> dict[str, str] | None:
        """The lowest price, of the kind that counts most: monthly, once, per use."""
        if offering.from_price is None:
            return None
        return {
            "amount": _worded(offering.from_price, offering.from_kind, offering.currency),
            "currency": offering.currency,
            "kind": offering.from_kind,
        }


class PriceBody(serializers.Serializer[Any]):
    """One price of a plan."""

    kind = serializers.ChoiceField(Price.Kind.choices)
    amount = serializers.SerializerMethodField()
    currency = serializers.CharField()
    unit = serializers.CharField(help_text="What is counted, for a price per use.")

    @extend_schema_field(Amount)
    def get_amount(self, price: Price) -> str:
        """Give the amount with the digits of its currency; a price per use may have more."""
        return _worded(price.amount, price.kind, price.currency)


class PlanBody(serializers.Serializer[Any]):
    """One size in which an offering comes."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()
    description = serializers.CharField()
    prices = PriceBody(many=True)


class TermsBody(serializers.Serializer[Any]):
    """The terms of use; an order names their hash, which says that they were read and accepted."""

    text = serializers.CharField(help_text="Markdown.")
    hash = serializers.CharField()
    purposes = serializers.ListField(child=serializers.CharField())
    data_classifications = serializers.ListField(child=serializers.CharField())


class ServiceLevelBody(serializers.Serializer[Any]):
    """One promise about the service."""

    name = serializers.CharField()
    target = serializers.CharField()
    unit = serializers.CharField()
    share = serializers.CharField(required=False, help_text="For this share of the cases.")


class OfferingBody(OfferingBrief):
    """One offering with all that an order needs to know."""

    description = serializers.CharField(source="current_version.description", help_text="Markdown.")
    orderable = serializers.SerializerMethodField()
    paused_reason = serializers.CharField(help_text="Why it cannot be ordered right now; empty where it can.")
    version = serializers.IntegerField(source="current_version.number")
    content_hash = serializers.CharField(source="current_version.content_hash")
    plans = PlanBody(many=True, source="current_version.plans")
    parameters_schema = serializers.JSONField(
        source="current_version.parameters_schema", help_text="JSON Schema of an order's `parameters`."
    )
    terms = serializers.SerializerMethodField()
    service_levels = serializers.SerializerMethodField()

    def get_orderable(self, offering: Offering) -> bool:
        """Say whether this person may order it now."""
        return bool(offering.is_orderable)  # type: ignore[attr-defined]

    @extend_schema_field(TermsBody)
    def get_terms(self, offering: Offering) -> dict[str, Any]:
        """Give the frozen terms with their hash."""
        version: Any = offering.current_version
        terms = version.promised["terms"]
        return {
            "text": terms["text"],
            "hash": version.terms_hash,
            "purposes": terms["purposes"],
            "data_classifications": terms["data_classes"],
        }

    @extend_schema_field(ServiceLevelBody(many=True))
    def get_service_levels(self, offering: Offering) -> Any:
        """Give what the frozen version promises."""
        version: Any = offering.current_version
        return version.promised["service_levels"]


def _worded(value: Any, kind: str, currency: str) -> str:
    return plain(value) if kind == Price.Kind.PER_USE else amount(value, currency)


class OfferingViewSet(Own, viewsets.GenericViewSet[Any]):
    """What this person may order."""

    lookup_field = "slug"
    lookup_value_converter = "slug"
    serializer_class = OfferingBrief

    def get_queryset(self) -> OfferingQuerySet:
        """Those that the person may look at and that are published."""
        return Offering.objects.visible_to(self.request.user).filter(current_version__isnull=False)

    @extend_schema(summary="List what you may order", parameters=[OfferingFilters])
    def list(self, request: Request) -> Response:
        """List the offerings that you may order now, by name, or by how well they fit `q`."""
        asked = query_of(request, OfferingFilters, also=self.paginator.parameters)  # type: ignore[union-attr]
        found = Offering.objects.orderable_by(request.user).select_related("category")
        if "category" in asked:
            found = found.filter(category__slug=asked["category"])
        if "pre_authorized" in asked:
            found = found.filter(pre_authorized=asked["pre_authorized"] == "true")
        page = self.paginate_queryset(found.search(asked.get("q", "")))
        return self.get_paginated_response(OfferingBrief(page, many=True).data)

    @extend_schema(summary="Read an offering", responses=OfferingBody)
    def retrieve(self, request: Request, slug: str) -> Response:
        """Read what an order of this offering needs: plans, prices, form, terms, promises."""
        query_of(request, serializers.Serializer)
        plans = Plan.objects.filter(retired_at__isnull=True).prefetch_related("prices")
        offering = get_object_or_404(
            self.get_queryset()
            .select_related("category", "current_version")
            .prefetch_related(Prefetch("current_version__plans", plans)),
            slug=slug,
        )
        orderable = Offering.objects.orderable_by(request.user).filter(pk=offering.pk)
        offering.is_orderable = orderable.exists()  # type: ignore[attr-defined]
        return Response(OfferingBody(offering).data)


class BackEndBody(serializers.Serializer[Any]):
    """One system that workflows reach. Its credentials are never shown."""

    id = serializers.UUIDField()
    slug = serializers.CharField(help_text="How workflows name it.")
    name = serializers.CharField()
    connector = serializers.CharField()
    address = serializers.CharField()
    config = serializers.DictField()
    credentials = serializers.SerializerMethodField()
    limit = serializers.IntegerField(allow_null=True, help_text="Calls at a time; null: as many as there are places.")
    is_active = serializers.BooleanField(help_text="Whether new workflows may name it.")

    @extend_schema_field({"type": "object", "additionalProperties": {"type": ["boolean", "null"]}})
    def get_credentials(self, back_end: BackEnd) -> dict[str, bool | None]:
        """Whether each credential is set; null where it can no longer be read and has to be entered again."""
        return catalog.credentials_set(back_end)


class BackEndViewSet(Own, viewsets.GenericViewSet[Any]):
    """The systems that workflows reach, for IT admins, platform admins and auditors."""

    reading_scope = Scope.ADMIN
    lookup_field = "slug"
    lookup_value_converter = "slug"
    serializer_class = BackEndBody

    def get_queryset(self) -> QuerySet[BackEnd]:
        """All of them for who may look, none for others."""
        rows = BackEnd.objects.order_by("slug", "id")
        return rows if self.request.user.has_perm("catalog.view_backend") else rows.none()

    @extend_schema(summary="List back ends")
    def list(self, request: Request) -> Response:
        """List the back ends by slug. Needs the scope `admin`."""
        query_of(request, serializers.Serializer, also=self.paginator.parameters)  # type: ignore[union-attr]
        page = self.paginate_queryset(self.get_queryset())
        return self.get_paginated_response(BackEndBody(page, many=True).data)

    @extend_schema(summary="Read a back end")
    def retrieve(self, request: Request, slug: str) -> Response:
        """Read where it is and which credentials are set. Needs the scope `admin`."""
        query_of(request, serializers.Serializer)
        return Response(BackEndBody(get_object_or_404(self.get_queryset(), slug=slug)).data)
