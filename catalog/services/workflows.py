"""What a workflow step says by its connector's declaration in settings.CONNECTORS. Plain values in and out."""

from collections.abc import Mapping
from typing import Any

from django.conf import settings


def secret_names(connector: str, inputs: Mapping[str, Any]) -> list[str]:
    """List the passwords that we draw for a step: those of its connector, or those that its inputs name."""
    declared = settings.CONNECTORS[connector]["secrets"]
    named = inputs.get("secrets", []) if "*" in declared else []
    return [name for name in declared if name != "*"] + [str(name) for name in named]


def idempotency_of(connector: str, inputs: Mapping[str, Any]) -> str:
    """Say what a second call after an unknown end does: `key`, `lookup` or `none`."""
    declared = settings.CONNECTORS.get(connector, {"idempotency": "none", "inputs": []})
    said = inputs.get("idempotency") if "idempotency" in declared["inputs"] else None
    return said if said in {"key", "lookup", "none"} else str(declared["idempotency"])
