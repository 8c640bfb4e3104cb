"""The route that says what an order would cost."""

from typing import Any

from drf_spectacular.utils import extend_schema
from rest_framework import serializers, viewsets
from rest_framework.request import Request
from rest_framework.response import Response

import orders.services as orders
from accounts.models import Scope
from approvals.models import Decision
from core.api.input import query_of
from core.api.output import Own
from core.parameters.bounds import step as pointer_of
from core.problems import Invalid
from orders.api.bodies import QuoteBody, decision_body, price_body
from orders.api.wanted import ANY_QUOTE, QuoteWanted, change_wanted, checked, wanted_of


class QuoteViewSet(Own, viewsets.GenericViewSet[Any]):
    """Prices of orders that are not placed yet."""

    scope = Scope.ORDER
    serializer_class = QuoteWanted

    @extend_schema(summary="Ask for a price", request=ANY_QUOTE, responses={200: QuoteBody})
    def create(self, request: Request) -> Response:
        """Price and decide an order that is not placed; nothing is stored.

        To `add`, only `plan` is needed. What else is given has to be right; what an order needs besides stands in
        `missing`. A change is priced with what there will be afterwards.
        """
        query_of(request, serializers.Serializer)
        change = change_wanted(request.data)
        if change:
            changed = orders.preview_change(change, actor=request.user)
            if changed.errors:
                raise Invalid(changed.errors)
            return Response(_quoted(changed))
        body = QuoteWanted(data=request.data)
        values = checked(body, request.user)
        found = orders.preview(wanted_of(values), actor=request.user)
        given = {pointer_of("", name) for name in request.data} | {"/parameters"}
        wrong = {pointer: text for pointer, text in found.errors.items() if _field(pointer) in given}
        if wrong:
            raise Invalid(wrong)
        return Response(_quoted(found))


def _quoted(found: orders.Preview) -> dict[str, Any]:
    """Word a preview; what the rules say about fields that were not given yet is left out."""
    unsaid = set(found.errors.values())
    reasons = [reason for reason in found.reasons if reason["message"] not in unsaid or not reason["message"]]
    denied = any(reason["effect"] == "deny" for reason in reasons)
    quote = found.quote.as_json()
    return {
        "price": price_body(found.quote) | {"lines": quote["lines"], "per_use": quote["per_use"]},
        "decision": decision_body(Decision.Outcome.DENIED if denied else Decision.Outcome.ALLOWED, reasons),
        "approvers": [],
        "missing": sorted(found.errors),
    }


def _field(pointer: str) -> str:
    """Give the pointer of the body's field that `pointer` lies in."""
    return "/".join(pointer.split("/")[:2])
