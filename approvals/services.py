"""One answer for one set of facts: deny beats allow, and a rule that fails never says yes."""

import hashlib
import json
import logging
from dataclasses import dataclass, field
from typing import Any
from uuid import UUID

from approvals.models import Decision
from approvals.rules import RULES, Facts, Rule

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Evaluation:
    """What the rules say: the outcome, each rule's answer, and by JSON pointer what to mend in the input."""

    outcome: str
    reasons: list[dict[str, Any]]
    refusals: dict[str, str] = field(default_factory=dict)


def evaluate(facts: Facts) -> Evaluation:
    """Ask every rule about an order of this `action`. Pure: serves quotes and orders alike, stores nothing."""
    reasons = []
    refusals: dict[str, str] = {}
    for rule in RULES:
        if facts.get("action", "add") not in rule.actions:
            continue
        says = _ask(rule, facts)
        message = "" if says is None else says
        effect = "allow" if says is None else "deny"
        reasons.append(
            {
                "rule": rule.name,
                "version": rule.version,
                "effect": effect,
                "message": message,
                "inputs": rule.inputs(facts),
            }
        )
        if says is not None:
            refusals.setdefault(rule.pointer, says)
    outcome = Decision.Outcome.DENIED if refusals else Decision.Outcome.ALLOWED
    return Evaluation(str(outcome), reasons, refusals)


def _ask(rule: Rule, facts: Facts) -> str | None:
    """Give the rule's refusal, or None where it holds. A fault of the rule is a refusal."""
    try:
        return None if rule.holds(facts) is True else rule.refusal(facts)
    except Exception:
        logger.exception("The rule %s could not be asked.", rule.name)
        return f"The rule “{rule.name}” could not be checked, so the answer is no. The IT department has been told."


def decide(facts: Facts, order_ref: UUID) -> Decision:
    """Ask every rule and keep the answer for good, in the caller's transaction."""
    evaluation = evaluate(facts)
    return record(evaluation, facts, order_ref)


def record(evaluation: Evaluation, facts: Facts, order_ref: UUID) -> Decision:
    """Keep an answer that was just given, with the facts that it was given for."""
    text = json.dumps(facts, sort_keys=True, separators=(",", ":"))
    return Decision.objects.create(
        order_ref=order_ref,
        outcome=evaluation.outcome,
        reasons=evaluation.reasons,
        facts=facts,
        facts_hash=hashlib.sha256(text.encode()).hexdigest(),
    )
