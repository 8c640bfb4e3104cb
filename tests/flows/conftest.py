"""Fixtures of the flows: real processes, and a far side that outlives them."""

import secrets

import pytest

import catalog.services as catalog
from chaos.far_side import Register, serving
from tests.processes import Processes
from tests.provisioning.conftest import far_side, ordered  # noqa: F401 (fixtures)


@pytest.fixture
def processes(transactional_db, far_side):  # noqa: F811 (the fixture)
    """Start real processes; all are gone before the tables are emptied."""
    running = Processes(far_side.folder)
    yield running
    running.end()


@pytest.fixture
def rest(org, processes):
    """A REST back end in whichever mood the test wants, known to workflows; with the step that makes a thing there."""
    register = Register(token=secrets.token_urlsafe(16), canary="canary")
    processes.environment["EGRESS_ALLOW"] = "127.0.0.1"
    path = "/things/${instance.id}/disk"
    inputs = {"method": "PUT", "path": path, "undo": {"method": "DELETE", "path": path}}
    with serving(register) as address:
        catalog.save_back_end(
            None,
            slug="far-side",
            name="The far side",
            connector="http",
            address=address,
            config={"auth": "bearer"},
            credentials={"token": register.token},
            limit=None,
            is_active=True,
            actor=org.curator,
        )
        yield register, {"name": "Making it", "connector": "http", "back_end": "far-side", "inputs": inputs}
