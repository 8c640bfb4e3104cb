"""The orders' routes of the API: ask what it costs, order, follow, cancel."""

import json
from typing import Any

from django.shortcuts import get_object_or_404
from drf_spectacular.utils import OpenApiParameter, extend_schema, extend_schema_field
from rest_framework import serializers, viewsets
from rest_framework.decorators import action
from rest_framework.renderers import JSONRenderer
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.reverse import reverse

import orders.services as orders
from accounts.models import ApiToken, Scope
from approvals.models import Decision
from core.api.input import StrictSerializer, TextField, no_body, query_of
from core.api.output import Amount, Moment, Money, Own, amount
from core.models import Event
from core.parameters.bounds import step as pointer_of
from core.problems import Invalid
from orders.models import Order, OrderQuerySet
from orders.services.orders import Preview
from provisioning.models import Run, Step

PLAN_HELP = "A plan's id, or `offering-slug/plan-slug`."
# What workers and operators need to know about a step, but not the person who ordered.
NOT_FOR_ALL = {"error", "lease_token", "worker"}
REPLAYED = {"Idempotent-Replayed": "true"}


class OrderWanted(StrictSerializer):
    """An order to be placed."""

    refused = {"on_behalf_of": "Ordering for somebody else is not offered yet."}
    action = TextField(default="add", allow_blank=False, help_text="Only `add` is offered yet.")
    plan = TextField(help_text=PLAN_HELP)
    name = TextField(help_text="Unique on its cost center among open orders and live services.")
    cost_center = TextField(help_text="The code of the cost center that pays.")
    parameters = serializers.DictField(
        default=dict,
        help_text="What the order form asks for; see the offering's `parameters_schema`.",
        error_messages={"not_a_dict": "Parameters must be an object.", "null": "Parameters must be an object."},
    )
    terms_hash = TextField(help_text="The hash of the terms that you read and accept; see the offering's `terms`.")
    purpose = TextField(help_text="One of the purposes that the terms allow.")
    data_classification = TextField(help_text="One of the classes of data that the terms allow.")

    def validate_action(self, value: str) -> str:
        """Refuse what is not offered yet."""
        if value != "add":
            raise serializers.ValidationError("Only “add” is offered yet.")
        return value


class QuoteWanted(OrderWanted):
    """An order that is not placed yet: only the plan has to be known."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, field in self.fields.items():
            field.required = name == "plan"


WANTED = ("plan", "name", "cost_center", "parameters", "terms_hash", "purpose", "data_classification")


class PlanRef(serializers.Serializer[Any]):
    """The plan of an order."""

    id = serializers.UUIDField()
    slug = serializers.CharField()
    name = serializers.CharField()


class ReasonBody(serializers.Serializer[Any]):
    """What one rule said."""

    rule = serializers.CharField()
    version = serializers.IntegerField()
    effect = serializers.CharField(help_text="`allow` or `deny`.")
    message = serializers.CharField()


class DecisionBody(serializers.Serializer[Any]):
    """Whether the order was allowed, and why."""

    outcome = serializers.ChoiceField(Decision.Outcome.choices)
    reasons = ReasonBody(many=True)
    alternatives = serializers.ListField(child=serializers.DictField(), help_text="What would be allowed instead.")


class StepBody(serializers.Serializer[Any]):
    """One step of the delivery, or of undoing it."""

    seq = serializers.IntegerField()
    kind = serializers.ChoiceField(Step.Kind.choices)
    name = serializers.CharField()
    state = serializers.ChoiceField(Step.State.choices)
    attempt = serializers.IntegerField()
    started_at = Moment(allow_null=True)
    finished_at = Moment(allow_null=True)
    next_run_at = Moment(allow_null=True)


class OrderBrief(serializers.Serializer[Any]):
    """One order."""

    id = serializers.UUIDField()
    number = serializers.IntegerField(help_text="For people to say on the phone.")
    action = serializers.ChoiceField(Order.Action.choices)
    state = serializers.ChoiceField(Order.State.choices)
    name = serializers.CharField()
    plan = PlanRef()
    offering = serializers.CharField(source="plan.version.offering.slug")
    cost_center = serializers.CharField(source="cost_center.code")
    parameters = serializers.DictField()
    purpose = serializers.CharField()
    data_classification = serializers.CharField()
    requester = serializers.CharField(source="requester.username")
    decision = serializers.SerializerMethodField()
    service_instance = serializers.UUIDField(source="instance_id", allow_null=True)
    price = serializers.SerializerMethodField()
    created_at = Moment()
    completed_at = Moment(allow_null=True)
    cancel_requested_at = Moment(allow_null=True)

    @extend_schema_field(DecisionBody)
    def get_decision(self, order: Order) -> dict[str, Any]:
        """Give the kept decision, without what the rules read."""
        return _decision(order.decision.outcome, order.decision.reasons)

    @extend_schema_field(Money)
    def get_price(self, order: Order) -> dict[str, str]:
        """Give the price that was frozen with the order."""
        return _price(order)


class OrderBody(OrderBrief):
    """One order, with the steps of its delivery: first those that do, then those that undo."""

    steps = serializers.SerializerMethodField()

    @extend_schema_field(StepBody(many=True))
    def get_steps(self, order: Order) -> Any:
        """List the steps in the order in which they are taken."""
        if order.instance_id is None:
            return []
        steps = Step.objects.filter(run__instance=order.instance_id, run__kind=Run.Kind.PROVISION)
        return StepBody(steps.order_by("-kind", "run__created_at", "generation", "seq"), many=True).data


class EventBody(serializers.Serializer[Any]):
    """One fact about an order."""

    id = serializers.IntegerField()
    at = Moment()
    actor = serializers.CharField()
    name = serializers.CharField(help_text="`<model>.<state>`, such as `order.completed`.")
    facts = serializers.SerializerMethodField()

    def get_facts(self, event: Event) -> dict[str, Any]:
        """Give the numbers of the moment, without what is for operators."""
        return {name: value for name, value in event.facts.items() if name not in NOT_FOR_ALL}


class LineBody(serializers.Serializer[Any]):
    """One part of a monthly price."""

    label = serializers.CharField()  # type: ignore[assignment]
    amount = Amount()


class RateBody(serializers.Serializer[Any]):
    """A price for each unit of use."""

    unit = serializers.CharField()
    amount = Amount()


class QuotePrice(Money):
    """What it would cost."""

    lines = LineBody(many=True)
    per_use = RateBody(many=True)


class QuoteBody(serializers.Serializer[Any]):
    """What an order would cost and whether it would be allowed."""

    price = QuotePrice()
    decision = DecisionBody()
    approvers = serializers.ListField(child=serializers.CharField(), help_text="Who would have to approve.")
    missing = serializers.ListField(
        child=serializers.CharField(), help_text="JSON pointers of the fields that an order needs besides."
    )


class OrderFilters(serializers.Serializer[Any]):
    """What narrows the list of orders."""

    state = serializers.ChoiceField(Order.State.values, required=False)


def _decision(outcome: str, reasons: list[dict[str, Any]]) -> dict[str, Any]:
    return {"outcome": str(outcome), "reasons": ReasonBody(reasons, many=True).data, "alternatives": []}


def _price(priced: Any) -> dict[str, str]:
    """Word the price of an order or a quote."""
    return {
        "one_off": amount(priced.one_off, priced.currency),
        "monthly": amount(priced.monthly, priced.currency),
        "currency": priced.currency,
    }


def _faults_of(body: StrictSerializer) -> dict[str, str]:
    """List what is wrong with the types of a body: JSON pointer -> sentence."""
    found = body.errors
    return {
        "" if name == "non_field_errors" else pointer_of("", name): " ".join(map(str, sentences))
        for name, sentences in found.items()
    }


def _field(pointer: str) -> str:
    """Give the pointer of the body's field that `pointer` lies in."""
    return "/".join(pointer.split("/")[:2])


def _wanted(values: dict[str, Any]) -> orders.Wanted:
    return orders.Wanted(**{name: values[name] for name in WANTED if name in values})


def _checked(body: StrictSerializer, actor: Any) -> dict[str, Any]:
    """Give the values of a body. Raises Invalid with every fault: those of types, and of what stands beside them."""
    if body.is_valid():
        return dict(body.validated_data)
    faults = _faults_of(body)
    if isinstance(body.initial_data, dict) and isinstance(body.initial_data.get("plan"), str):
        usable = {name: value for name, value in body.initial_data.items() if pointer_of("", name) not in faults}
        try:
            found = orders.preview(_wanted({"plan": ""} | usable), actor=actor).errors
        except Invalid as error:
            found = error.errors
        faults = {
            pointer: text for pointer, text in found.items() if "/" + pointer.split("/")[1] not in faults
        } | faults
    raise Invalid(faults)


class QuoteViewSet(Own, viewsets.GenericViewSet[Any]):
    """Prices of orders that are not placed yet."""

    scope = Scope.ORDER
    serializer_class = QuoteWanted

    @extend_schema(summary="Ask for a price", responses={200: QuoteBody})
    def create(self, request: Request) -> Response:
        """Price and decide an order that is not placed; nothing is stored.

        Only `plan` is needed. What else is given has to be right; what an order needs besides stands in `missing`.
        """
        query_of(request, serializers.Serializer)
        body = QuoteWanted(data=request.data)
        values = _checked(body, request.user)
        found = orders.preview(_wanted(values), actor=request.user)
        given = {pointer_of("", name) for name in request.data} | {"/parameters"}
        wrong = {pointer: text for pointer, text in found.errors.items() if _field(pointer) in given}
        if wrong:
            raise Invalid(wrong)
        return Response(_quoted(found))


def _quoted(found: Preview) -> dict[str, Any]:
    """Word a preview; what the rules say about fields that were not given yet is left out."""
    unsaid = set(found.errors.values())
    reasons = [reason for reason in found.reasons if reason["message"] not in unsaid or not reason["message"]]
    denied = any(reason["effect"] == "deny" for reason in reasons)
    quote = found.quote.as_json()
    return {
        "price": _price(found.quote) | {"lines": quote["lines"], "per_use": quote["per_use"]},
        "decision": _decision(Decision.Outcome.DENIED if denied else Decision.Outcome.ALLOWED, reasons),
        "approvers": [],
        "missing": sorted(found.errors),
    }


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
        request=OrderWanted,
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
        """Place an order: it is checked, priced, decided, and its delivery begins, all at once."""
        query_of(request, serializers.Serializer)
        key = orders.checked_key(request.headers.get("Idempotency-Key"), required=isinstance(request.auth, ApiToken))
        values = _checked(OrderWanted(data=request.data), request.user)
        placed = orders.place(
            _wanted(values),
            actor=request.user,
            once=orders.Once(key, orders.fingerprint_of(values), _kept_answer),
        )
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
        """Stop an order that is not finished, and undo what was done for it."""
        query_of(request, serializers.Serializer)
        no_body(request)
        orders.cancel(get_object_or_404(self.get_queryset(), pk=pk), actor=request.user)
        return Response(OrderBody(self.get_queryset().get(pk=pk)).data)


def _kept_answer(order: Order) -> dict[str, str]:
    """Render the answer as text, so that a replay gives it again to the letter."""
    return {"body": JSONRenderer().render(OrderBrief(order).data).decode()}


def _subjects(order: Order) -> list[Any]:
    """List the ids of all that an order's events are about; looked up first, so that the events' index serves."""
    if order.instance_id is None:
        return [order.pk]
    steps = Step.objects.filter(run__instance=order.instance_id).values_list("run_id", "pk")
    return [order.pk, order.instance_id, *{identity for pair in steps for identity in pair}]
