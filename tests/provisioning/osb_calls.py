"""Calls to a service broker as the engine makes them, one after the other until there is a result."""

from provisioning.connectors import connector
from provisioning.connectors.base import BackEnd, Done, Working
from tests.far_side.broker import PASSWORD, SERVICE, SMALL, USERNAME
from tests.provisioning.calls import a_call

FACTS = {
    "parameters": {"storage": 7},
    "requester": "maria",
    "requester_name": "Maria Keller",
    "requester_email": "maria@example.com",
    "cost_center": "4100",
    "unit": "marketing",
}
INPUTS = {"service_id": SERVICE, "plan_id": SMALL}


def back_end_at(address):
    """The broker at `address`, as the engine gives it to a connector."""
    return BackEnd(slug="shop", address=address, config={"username": USERNAME}, credentials={"password": PASSWORD})


def osb_call(broker, operation="start", *, inputs=None, **values):
    """A call for a new instance at `broker`."""
    values = {"context": FACTS, "secrets": {}} | values
    return a_call(operation, inputs=INPUTS | (inputs or {}), back_end=back_end_at(broker.address), **values)


def then(call, operation, **changes):
    """The next call for the same instance."""
    kept = {name: getattr(call, name) for name in ("inputs", "context", "back_end", "external_ref", "elapsed")}
    return a_call(operation, instance_id=call.instance_id, **(kept | {"secrets": {}} | changes))


def go(call, most=20):
    """Do the call and ask until it is done; give the result and every Working on the way."""
    back = connector("osb")
    answer, waits = getattr(back, call.operation)(call), []
    while isinstance(answer, Working):
        waits.append(answer)
        assert len(waits) < most
        call.external_ref = answer.external_ref
        answer = back.last_operation(then(call, call.operation))
    assert isinstance(answer, Done)
    return answer, waits
