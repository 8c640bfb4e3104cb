"""A version as one document, and its hash: what orders, approvals and sign-offs are bound to."""

import hashlib
from decimal import Decimal
from typing import Any

import rfc8785

from catalog.models import OfferingVersion, Plan, Price, WorkflowStep


def document_of(version: OfferingVersion) -> dict[str, Any]:
    """Write down all that `version` promises, as JSON values only."""
    return {
        "offering": version.offering.slug,
        "name": version.name,
        "summary": version.summary,
        "description": version.description,
        "form": version.parameters_schema,
        "terms": {
            "text": version.terms,
            "purposes": sorted(version.purposes),
            "data_classes": sorted(version.data_classes),
        },
        "plans": [_plan(plan) for plan in version.plans.prefetch_related("prices")],
        "workflow": [entry_of(step) for step in version.workflow_steps.all()],
        "service_levels": _service_levels(version),
    }


def entry_of(step: WorkflowStep) -> dict[str, Any]:
    """Write down one step of a workflow, as orders keep it."""
    return {
        "name": step.name,
        "connector": step.connector,
        "back_end": step.back_end,
        "operation": step.operation,
        "inputs": step.inputs,
        "when": step.when,
        "on_failure": step.on_failure,
        "timeout_seconds": step.timeout_seconds,
        "max_attempts": step.max_attempts,
    }


def _plan(plan: Plan) -> dict[str, Any]:
    return {
        "slug": plan.slug,
        "name": plan.name,
        "description": plan.description,
        "limits": plan.limits,
        "prices": [_price(price) for price in plan.prices.all()],
    }


def _price(price: Price) -> dict[str, str]:
    return {
        "kind": price.kind,
        "amount": plain(price.amount),
        "currency": price.currency,
        "unit": price.unit,
    }


def _service_levels(version: OfferingVersion) -> list[dict[str, str]]:
    levels = []
    if version.promised_delivery_seconds:
        levels.append(
            {
                "name": "delivery",
                "target": str(version.promised_delivery_seconds),
                "unit": "seconds",
                "share": "0.95",
            }
        )
    if version.promised_availability is not None:
        levels.append({"name": "availability", "target": plain(version.promised_availability), "unit": "percent"})
    return levels


def plain(amount: Decimal) -> str:
    """Write a decimal without exponent and without trailing zeros: 38, 0.0125."""
    text = f"{amount:f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def hash_of(document: Any) -> str:
    """SHA-256 of the canonical JSON (RFC 8785) of `document`, in hex."""
    return hashlib.sha256(rfc8785.dumps(document)).hexdigest()


def hash_of_text(text: str) -> str:
    """SHA-256 of a text's UTF-8, in hex: what a person accepted."""
    return hashlib.sha256(text.encode()).hexdigest()
