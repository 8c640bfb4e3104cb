"""The built-in checks that every order passes. Pure: facts in, answers out, no database."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

Facts = dict[str, Any]


@dataclass(frozen=True)
class Rule:
    """One check: what it is called, which input it is about, what it reads, and its sentence when it refuses.

    `actions` are the kinds of orders that it is asked about: `add`, `modify`, `delete`.
    """

    name: str
    version: int
    pointer: str
    reads: tuple[str, ...]
    holds: Callable[[Facts], bool]
    refusal: Callable[[Facts], str]
    actions: frozenset[str] = field(default=frozenset({"add"}))

    def inputs(self, facts: Facts) -> Facts:
        """The facts that this rule reads, for the record."""
        return {name: facts.get(name) for name in self.reads}


def _why_not_orderable(facts: Facts) -> str:
    plan = facts["plan"]
    if plan["paused_reason"]:
        return f"This service cannot be ordered right now: {plan['paused_reason']}"
    if not plan["is_current_version"]:
        return "This plan belongs to an older version of the service. Open the catalog for the current one."
    return "This plan is not offered any more. Choose another one."


def _why_not_usable(facts: Facts) -> str:
    service = facts["service"]
    return f"{service['name']} is {service['state']}, so this cannot be done with it now."


ALL = frozenset({"add", "modify", "delete"})
RULES = (
    Rule(
        "requester-active",
        1,
        "",
        ("requester",),
        lambda facts: facts["requester"]["is_active"] is True,
        lambda _: "Your account is not active.",
        ALL,
    ),
    Rule(
        "service-usable",
        1,
        "/service_instance",
        ("service",),
        lambda facts: facts["service"]["is_usable"] is True,
        _why_not_usable,
        frozenset({"modify", "delete"}),
    ),
    Rule(
        "plan-offered",
        1,
        "/plan",
        ("plan",),
        lambda facts: facts["plan"]["is_offered"] is True,
        lambda _: "This plan is not offered any more. Choose another one.",
        frozenset({"modify"}),
    ),
    Rule(
        "entitled",
        1,
        "/plan",
        ("requester", "plan"),
        lambda facts: facts["plan"]["is_entitled"] is True,
        lambda facts: f"There is no plan “{facts['plan']['asked_for']}” that you may order.",
    ),
    Rule(
        "plan-orderable",
        1,
        "/plan",
        ("plan",),
        lambda facts: facts["plan"]["is_orderable"] is True,
        _why_not_orderable,
    ),
    Rule(
        "cost-center-usable",
        1,
        "/cost_center",
        ("cost_center",),
        lambda facts: facts["cost_center"]["is_usable"] is True,
        lambda facts: (
            f"You cannot order on cost center “{facts['cost_center']['code']}”."
            if facts["cost_center"]["code"]
            else "Choose the cost center that pays."
        ),
    ),
    Rule(
        "terms-current",
        1,
        "/terms_hash",
        ("terms",),
        lambda facts: facts["terms"]["accepted"] == facts["terms"]["current"],
        lambda facts: (
            "The terms of use have changed since you read them. Read and accept the current ones."
            if facts["terms"]["accepted"]
            else "Accept the terms of use."
        ),
        frozenset({"add", "modify"}),
    ),
    Rule(
        "purpose-allowed",
        1,
        "/purpose",
        ("purpose", "terms"),
        lambda facts: facts["purpose"] in facts["terms"]["purposes"],
        lambda facts: f"Choose a purpose that the terms of use allow: {', '.join(facts['terms']['purposes'])}.",
    ),
    Rule(
        "data-allowed",
        1,
        "/data_classification",
        ("data_classification", "terms"),
        lambda facts: facts["data_classification"] in facts["terms"]["data_classes"],
        lambda facts: f"The terms of use allow only this data: {', '.join(facts['terms']['data_classes'])}.",
    ),
)
