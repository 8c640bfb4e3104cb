"""Calls of the connector `http` to the far side of tests/far_side/rest.py."""

from provisioning.connectors.base import BackEnd
from tests.provisioning.calls import a_call, again

THING = {
    "path": "/things",
    "body": {"name": "campaign"},
    "external_ref": "/id",
    "outputs": {"host": "/host"},
    "undo": {"path": "/things/{external_ref}"},
    "describe": {"path": "/things/{external_ref}"},
    "rotate": {
        "method": "POST",
        "path": "/things/{external_ref}/password",
        "body": {"password": {"$secret": "password"}},
    },
    "update": {"path": "/things/{external_ref}", "body": {"size": 20}, "outputs": {"size": "/size"}},
}
SLOW = THING | {
    "path": "/slow",
    "poll": {"path": "location", "every": 7, "status": "/state", "done": ["done"], "detail": "/said"},
}
LOOKS = {
    "method": "PUT",
    "path": "/things/mine",
    "body": {"host": "h"},
    "outputs": {"host": "/host"},
    "external_ref": "/id",
    "idempotency": "lookup",
    "describe": {"path": "/things/mine"},
}


def first_call(rest, inputs=None, *, config=None, credentials=None, address=None, **values):
    """Make a first call of a step with these inputs."""
    back_end = BackEnd("things", address or rest.address, config or {}, credentials or {})
    return a_call(inputs=THING if inputs is None else inputs, back_end=back_end, **values)


def then(before, operation=None, answer=None, **changes):
    """Make the next call of the same step, or another operation on what it made."""
    reference = answer.external_ref if answer else before.external_ref
    return again(before, operation, **{"back_end": before.back_end, "external_ref": reference} | changes)


def attempt(before, **changes):
    """Make the next attempt of the same step: the key stays."""
    return then(before, idempotency_key=before.idempotency_key, attempt=before.attempt + 1, **changes)
