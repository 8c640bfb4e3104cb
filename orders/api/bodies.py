"""What the orders' routes answer."""

from typing import Any

from drf_spectacular.utils import extend_schema_field
from rest_framework import serializers

from approvals.models import Decision
from core.api.output import Amount, Moment, Money, amount
from core.models import Event
from orders.models import Order
from provisioning.models import Step

# What workers and operators need to know about a step, but not the person who ordered.
NOT_FOR_ALL = {"error", "lease_token", "worker"}


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
        return decision_body(order.decision.outcome, order.decision.reasons)

    @extend_schema_field(Money)
    def get_price(self, order: Order) -> dict[str, str]:
        """Give the price that was frozen with the order."""
        return price_body(order)


class OrderBody(OrderBrief):
    """One order, with the steps of its delivery: first those that do, then those that undo."""

    steps = serializers.SerializerMethodField()

    @extend_schema_field(StepBody(many=True))
    def get_steps(self, order: Order) -> Any:
        """List the steps in the order in which they are taken."""
        if order.instance_id is None:
            return []
        steps = Step.objects.filter(run__order_ref=order.pk)
        return StepBody(steps.order_by("run__created_at", "-kind", "generation", "seq"), many=True).data


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


def decision_body(outcome: str, reasons: list[dict[str, Any]]) -> dict[str, Any]:
    """Word a decision, without what the rules read."""
    return {"outcome": str(outcome), "reasons": ReasonBody(reasons, many=True).data, "alternatives": []}


def price_body(priced: Any) -> dict[str, str]:
    """Word the price of an order or a quote."""
    return {
        "one_off": amount(priced.one_off, priced.currency),
        "monthly": amount(priced.monthly, priced.currency),
        "currency": priced.currency,
    }
