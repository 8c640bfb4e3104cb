"""The routes of orders: place one, follow it, cancel it, try it again."""

import json
from typing import Any

from django.db.models import Q
from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

import orders.services as orders
from accounts.models import ApiToken, Scope
from core.api.input import no_body, query_of
from core.api.output import Own
from core.models import Event
from orders.api.bodies import EventBody, OrderBody, OrderBrief, OrderFilters
from orders.api.wanted import ANY_ORDER, OrderWanted, change_wanted, checked, wanted_of
from orders.models import Order, OrderQuerySet
from provisioning.models import Step

REPLAYED = {"Idempotent-Replayed": "true"}


class OrderViewSet(Own, viewsets.GenericViewSet[Any]):
    """Orders: yours, and those that you answer for."""

    scope = Scope.ORDER
    keyed = ("create",)
    lookup_value_converter = "uuid"
    serializer_class = OrderBrief

    def get_queryset(self) -> OrderQuerySet:
        """Those that the person may look at, newest first, with all that a row shows and no more."""
        return (
            Order.objects.visible_to(self.request.user)
            .select_related("plan__version__offering", "cost_center", "requester", "decision")
            .defer(
                "quote",
                "decision__facts",
                "plan__version__document",
                "plan__version__parameters_schema",
                "plan__version__description",
                "plan__version__terms",
            )
            .order_by("-created_at", "-id")
        )

    @extend_schema(summary="List orders", parameters=[OrderFilters])
    def list(self, request: Request) -> Response:
        """List your orders and those that you answer for, newest first."""
        asked = query_of(request, OrderFilters, also=self.paginator.parameters)  # type: ignore[union-attr]
        page = self.paginate_queryset(self.get_queryset().filter(**asked))
        return self.get_paginated_response(OrderBrief(page, many=True).data)

    @extend_schema(
        summary="Place an order",
        request=ANY_ORDER,
        responses={201: OrderBrief},
        parameters=[
            OpenApiParameter(
                "Idempotency-Key",
                location=OpenApiParameter.HEADER,
                description="1 to 255 visible ASCII characters, no quotation marks. Needed with a token. The same key "
                "with the same body gives the first answer again for 30 days, with `Idempotent-Replayed: true`.",
            )
        ],
    )
    def create(self, request: Request) -> Response:
        """Place an order: it is checked, priced, decided, and its delivery begins, all at once.

        `add` orders a new service; `modify` and `delete` change or remove one that was delivered. While one of these
        is under way, another is 409 `change-running`.
        """
        query_of(request, serializers.Serializer)
        key = orders.checked_key(request.headers.get("Idempotency-Key"), required=isinstance(request.auth, ApiToken))
        change = change_wanted(request.data)
        if change:
            once = orders.Once(key, orders.fingerprint_of(request.data), _kept_answer)
            placed = orders.place_change(change, actor=request.user, once=once)
        else:
            values = checked(OrderWanted(data=request.data), request.user)
            once = orders.Once(key, orders.fingerprint_of(values), _kept_answer)
            placed = orders.place(wanted_of(values), actor=request.user, once=once)
        body = json.loads((placed.answer or _kept_answer(placed.order))["body"])
        headers = {"Location": reverse("api-order-detail", [placed.order.pk], request=request)}
        return Response(body, status=201, headers=headers | (REPLAYED if placed.replayed else {}))

    @extend_schema(summary="Read an order", responses=OrderBody)
    def retrieve(self, request: Request, pk: Any) -> Response:
        """Read an order and how far it has got."""
        query_of(request, serializers.Serializer)
        return Response(OrderBody(get_object_or_404(self.get_queryset(), pk=pk)).data)

    @extend_schema(summary="Read what happened", responses=EventBody(many=True))
    @action(detail=True)
    def events(self, request: Request, pk: Any) -> Response:
        """List what happened to an order, its service and the work for it, oldest first."""
        query_of(request, serializers.Serializer, also=self.paginator.parameters)  # type: ignore[union-attr]
        order = get_object_or_404(self.get_queryset(), pk=pk)
        happened = Event.objects.filter(subject_id__in=_subjects(order)).order_by("id")
        return self.get_paginated_response(EventBody(self.paginate_queryset(happened), many=True).data)

    @extend_schema(summary="Cancel an order", request=None, responses={200: OrderBody})
    @action(detail=True, methods=["post"])
    def cancel(self, request: Request, pk: Any) -> Response:
        """Stop an order that is not finished, and undo what was done for it. A removal cannot be stopped."""
        query_of(request, serializers.Serializer)
        no_body(request)
        orders.cancel(get_object_or_404(self.get_queryset(), pk=pk), actor=request.user)
        return Response(OrderBody(self.get_queryset().get(pk=pk)).data)

    @extend_schema(summary="Try a failed order again", request=None, responses={200: OrderBody})
    @action(detail=True, methods=["post"], scope=Scope.ADMIN)
    def retry(self, request: Request, pk: Any) -> Response:
        """Try a failed order again; for operators, with the scope `admin`.

        It is decided again with the facts of now. What could not be undone or removed is tried again first.
        """
        query_of(request, serializers.Serializer)
        no_body(request)
        orders.try_again(get_object_or_404(self.get_queryset(), pk=pk), actor=request.user)
        return Response(OrderBody(self.get_queryset().get(pk=pk)).data)


def _kept_answer(order: Order) -> dict[str, str]:
    """Render the answer as text, so that a replay gives it again to the letter."""
    return {"body": JSONRenderer().render(OrderBrief(order).data).decode()}


def _subjects(order: Order) -> list[Any]:
    """List the ids of all that an order's events are about; looked up first, so that the events' index serves."""
    if order.instance_id is None:
        return [order.pk]
    steps = Step.objects.filter(_runs_of(order)).values_list("run_id", "pk")
    return [order.pk, order.instance_id, *{identity for pair in steps for identity in pair}]


def _runs_of(order: Order) -> Q:
    """Those that the order caused; with the order that made a service those that no order caused, too."""
    caused = Q(run__order_ref=order.pk)
    if order.action != Order.Action.ADD:
        return caused
    return caused | Q(run__instance=order.instance_id, run__order_ref__isnull=True)
