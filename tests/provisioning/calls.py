"""Calls as the engine makes them, for tests that speak to a connector itself."""

from uuid import UUID, uuid4

from core import secrets
from provisioning.connectors.base import Call, Lease

_tokens = iter(range(1000, 1_000_000))


def a_call(operation: str = "start", *, instance_id: UUID | None = None, lease: Lease | None = None, **values) -> Call:
    """Make a call for a new instance, or for the one of `instance_id`."""
    facts = {
        "step_id": uuid4(),
        "operation": operation,
        "attempt": 1,
        "idempotency_key": uuid4(),
        "fencing_token": next(_tokens),
        "instance_id": instance_id or uuid4(),
        "instance_name": "Campaign DB",
        "inputs": {},
        "context": {"parameters": {}, "requester_name": "Maria Keller"},
        "outputs": {},
        "secrets": {"password": secrets.generate()},
        "external_ref": "",
        "lease": lease or Lease(30.0),
        "step_name": "Making it",
    }
    return Call(**(facts | values))


def again(call: Call, operation: str | None = None, **changes) -> Call:
    """Make the next call for the same instance: a larger fencing token, a fresh lease, no lines."""
    kept = {
        name: getattr(call, name) for name in ("instance_name", "inputs", "context", "outputs", "secrets", "back_end")
    }
    return a_call(operation or call.operation, instance_id=call.instance_id, **(kept | changes))


def lost_lease() -> Lease:
    """A lease that another worker has taken over."""
    lease = Lease(30.0)
    lease.lose()
    return lease
