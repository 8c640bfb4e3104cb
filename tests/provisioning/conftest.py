"""What tests of the engine share: connectors with a far side, and orders of what they make."""

import pytest

from orders.models import Order
from tests.factories import published_offering
from tests.provisioning import fakes
from tests.provisioning.engine import numbers, place


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
