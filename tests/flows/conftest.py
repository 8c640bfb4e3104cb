"""Fixtures of the flows: real processes, and a far side that outlives them."""

import pytest

from tests.processes import Processes
from tests.provisioning.conftest import far_side, ordered  # noqa: F401 (fixtures)


@pytest.fixture
def processes(transactional_db, far_side):  # noqa: F811 (the fixture)
    """Start real processes; all are gone before the tables are emptied."""
    running = Processes(far_side.folder)
    yield running
    running.end()
