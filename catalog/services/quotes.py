"""What an order would cost, from the frozen document alone."""

from dataclasses import dataclass, field
from decimal import Decimal
from typing import Any

from catalog.models import Plan, Price
from core import money, parameters


@dataclass(frozen=True)
class Line:
    """One part of the price: what for, and how much."""

    label: str
    amount: Decimal


@dataclass(frozen=True)
class Quote:
    """The price of one order: once, each month, and the rates of what is counted later."""

    currency: str
    one_off: Decimal
    monthly: Decimal
    lines: list[Line] = field(default_factory=list)
    per_use: list[tuple[str, str]] = field(default_factory=list)

    def as_json(self) -> dict[str, Any]:
        """As it is frozen with the order: decimals as strings."""
        return {
            "currency": self.currency,
            "one_off": str(self.one_off),
            "monthly": str(self.monthly),
            "lines": [{"label": line.label, "amount": str(line.amount)} for line in self.lines],
            "per_use": [{"unit": unit, "amount": amount} for unit, amount in self.per_use],
        }


def plan_document(plan: Plan) -> dict[str, Any]:
    """Give the part of the frozen document that describes `plan`."""
    return next(entry for entry in plan.version.promised["plans"] if entry["slug"] == plan.slug)


def quote(plan: Plan, values: dict[str, Any]) -> Quote:
    """Price one unit of `plan` with the form's cleaned `values`. No query, no side effect."""
    entry = plan_document(plan)
    prices = entry["prices"]
    currency = prices[0]["currency"] if prices else "USD"
    one_off = _sum(prices, Price.Kind.ONE_OFF)
    base = _sum(prices, Price.Kind.MONTHLY)
    extras = parameters.price_lines(plan.version.promised["form"], values)
    lines = [Line(plan.version.promised["name"] + ", " + entry["name"], money.quantize(base, currency))]
    lines += [Line(extra.label, money.quantize(extra.amount, currency)) for extra in extras]
    return Quote(
        currency=currency,
        one_off=money.quantize(one_off, currency),
        monthly=sum((line.amount for line in lines), Decimal(0)),
        lines=lines,
        per_use=[(price["unit"], price["amount"]) for price in prices if price["kind"] == Price.Kind.PER_USE],
    )


def _sum(prices: list[dict[str, str]], kind: str) -> Decimal:
    return sum((Decimal(price["amount"]) for price in prices if price["kind"] == kind), Decimal(0))
