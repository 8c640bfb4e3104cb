"""What tests of the engine share: connectors with a far side, and orders of what they make."""

import pytest

from orders.models import Order
from provisioning.services import claims, execution
from tests.factories import published_offering
from tests.provisioning import fakes
from tests.provisioning.engine import BLIND, HELD, STUCK, drive, lose, numbers, place, run_of, step_of


@pytest.fixture
def far_side(settings, tmp_path, monkeypatch):
    """The fake connectors beside the real ones, and their far side."""
    monkeypatch.setenv("FAR_SIDE", str(tmp_path))
    settings.CONNECTORS = settings.CONNECTORS | fakes.CONNECTORS
    return fakes.FarSide(tmp_path)


@pytest.fixture
def ordered(org, far_side):
    """Order a service whose steps are given as (name, connector, inputs, further fields of the step)."""

    def order(*steps, person="business") -> Order:
        number = next(numbers)
        rows = [
            {"name": name, "connector": connector, "inputs": inputs} | (more[0] if more else {})
            for name, connector, inputs, *more in steps or [("Making it", "fake", {})]
        ]
        return place(published_offering(org, f"service-{number}", steps=rows), org.people[person])

    return order


@pytest.fixture
def held(ordered, far_side):
    """An order whose second step has failed and waits for an operator; what the first made is kept."""
    order = ordered(*HELD)
    drive()
    assert step_of(order, "two").state == "failed"
    return order


@pytest.fixture
def stuck(ordered, far_side):
    """An order whose undoing has failed."""
    order = ordered(*STUCK)
    drive()
    assert run_of(order).state == "compensation_failed"
    return order


@pytest.fixture
def blind(ordered, far_side):
    """An order of which nobody knows whether its second step happened."""
    order = ordered(*BLIND)
    execution.execute(claims.claim())
    lose(claims.claim())
    drive()
    assert step_of(order, "two").state == "outcome_unknown"
    return order
