"""What is sent to the orders' routes, and how it is read."""

from typing import Any

from drf_spectacular.utils import PolymorphicProxySerializer
from rest_framework import serializers

import orders.services as orders
from core.api.input import StrictSerializer, TextField
from core.parameters.bounds import step as pointer_of
from core.problems import Invalid
from orders.models import Order

PLAN_HELP = "A plan's id, or `offering-slug/plan-slug`."


class OrderWanted(StrictSerializer):
    """An order to be placed."""

    refused = {"on_behalf_of": "Ordering for somebody else is not offered yet."}
    action = TextField(default="add", allow_blank=False, help_text="`add`.")
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
        if value != Order.Action.ADD:
            raise serializers.ValidationError(
                "The action must be “add”, “modify” or “delete”; others are not offered yet."
            )
        return value


class ChangeWanted(StrictSerializer):
    """A change of a delivered service, within the version that was ordered."""

    action = TextField(allow_blank=False, help_text="`modify`.")
    service_instance = TextField(help_text="The service's id.")
    plan = TextField(required=False, allow_blank=False, help_text=f"{PLAN_HELP} Without one it stays.")
    parameters = serializers.DictField(
        required=False,
        help_text="Merged into what is in force as RFC 7396 says: what is not named stays, null takes away.",
        error_messages={"not_a_dict": "Parameters must be an object.", "null": "Parameters must be an object."},
    )
    terms_hash = TextField(
        required=False, allow_blank=False, help_text="Where given, it must be that of the terms that you accepted."
    )


class RemovalWanted(StrictSerializer):
    """The removal of a delivered service."""

    action = TextField(allow_blank=False, help_text="`delete`.")
    service_instance = TextField(help_text="The service's id.")


CHANGES: dict[Any, type[StrictSerializer]] = {"modify": ChangeWanted, "delete": RemovalWanted}
ANY_ORDER = PolymorphicProxySerializer(
    "AnyOrder", serializers=[OrderWanted, ChangeWanted, RemovalWanted], resource_type_field_name=None
)


class QuoteWanted(OrderWanted):
    """An order that is not placed yet: only the plan has to be known."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        for name, field in self.fields.items():
            field.required = name == "plan"


ANY_QUOTE = PolymorphicProxySerializer(
    "AnyQuote", serializers=[QuoteWanted, ChangeWanted, RemovalWanted], resource_type_field_name=None
)
WANTED = ("plan", "name", "cost_center", "parameters", "terms_hash", "purpose", "data_classification")


def _faults_of(body: StrictSerializer) -> dict[str, str]:
    """List what is wrong with the types of a body: JSON pointer -> sentence."""
    found = body.errors
    return {
        "" if name == "non_field_errors" else pointer_of("", name): " ".join(map(str, sentences))
        for name, sentences in found.items()
    }


def change_wanted(data: Any) -> orders.WantedChange | None:
    """Read the body of a change or removal; None for another action. Raises Invalid with every fault of its types."""
    kind = CHANGES.get(_action(data))
    if kind is None:
        return None
    body = kind(data=data)
    if not body.is_valid():
        raise Invalid(_faults_of(body))
    return orders.WantedChange(**body.validated_data)


def _action(data: Any) -> str | None:
    found = data.get("action") if isinstance(data, dict) else None
    return found if isinstance(found, str) else None


def wanted_of(values: dict[str, Any]) -> orders.Wanted:
    """Make of a body's checked values what the service takes."""
    return orders.Wanted(**{name: values[name] for name in WANTED if name in values})


def checked(body: StrictSerializer, actor: Any) -> dict[str, Any]:
    """Give the values of a body. Raises Invalid with every fault: those of types, and of what stands beside them."""
    if body.is_valid():
        return dict(body.validated_data)
    faults = _faults_of(body)
    if isinstance(body.initial_data, dict) and isinstance(body.initial_data.get("plan"), str):
        usable = {name: value for name, value in body.initial_data.items() if pointer_of("", name) not in faults}
        try:
            found = orders.preview(wanted_of({"plan": ""} | usable), actor=actor).errors
        except Invalid as error:
            found = error.errors
        faults = {
            pointer: text for pointer, text in found.items() if "/" + pointer.split("/")[1] not in faults
        } | faults
    raise Invalid(faults)
