"""A connector that somebody else wrote: named in one variable, and from then on like those that came with it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from django.conf import settings

import orders.services as orders
from config.checks import connectors_exist
from examples.connector.folder import CONNECTORS
from tests.factories import published_offering
from tests.provisioning.engine import drive, fresh, place

STEPS = [
    {"name": "Making the folder", "connector": "folder", "inputs": {"readme": "Of ${requester.name}."}},
    {"name": "Looking at it", "connector": "folder", "operation": "describe"},
]


@pytest.fixture
def root(tmp_path, monkeypatch):
    folders = tmp_path / "folders"
    folders.mkdir()
    monkeypatch.setenv("FOLDER_ROOT", str(folders))
    return folders


def test_what_the_variable_names_stands_beside_the_rest():
    assert settings.CONNECTORS["folder"] == CONNECTORS["folder"]
    assert "postgresql" in settings.CONNECTORS
    assert connectors_exist(None) == []


def test_a_workflow_delivers_with_it_and_a_failure_takes_it_back(org, root, ordered):
    order = place(published_offering(org, "folder", steps=STEPS), org.business)
    drive()
    assert fresh(order).state == "completed"
    folder = Path(fresh(order.instance).outputs["path"])
    assert (folder / "README.txt").read_text() == f"Of {org.business.name}."

    failed = ordered(("Making the folder", "folder", {}), ("Failing", "bare", {"refuses": True}))
    drive()
    assert fresh(failed).state == "failed"
    assert list(root.iterdir()) == [folder]


def test_a_canceled_order_leaves_nothing_of_it(org, root, ordered):
    order = ordered(("Making the folder", "folder", {}), ("Asking", "manual", {}))
    drive()
    assert len(list(root.iterdir())) == 1
    orders.cancel(order, actor=org.business)
    drive()
    assert fresh(order).state == "canceled"
    assert list(root.iterdir()) == []


def test_a_declaration_that_says_something_else_than_its_class_is_found(settings):
    settings.CONNECTORS = settings.CONNECTORS | {"folder": CONNECTORS["folder"] | {"idempotency": "key"}}
    assert [found.id for found in connectors_exist(None)] == ["greenlane.E002"]
    settings.CONNECTORS = settings.CONNECTORS | {"lost": CONNECTORS["folder"] | {"class": "nowhere.Folder"}}
    assert [found.id for found in connectors_exist(None)] == ["greenlane.E002", "greenlane.E001"]


def test_a_variable_that_names_nothing_keeps_the_site_from_starting():
    environ = os.environ | {"EXTRA_CONNECTORS": "nowhere.CONNECTORS"}
    answer = subprocess.run(
        [sys.executable, "manage.py", "check"],
        cwd=settings.BASE_DIR,
        env=environ,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert answer.returncode != 0
    assert "nowhere" in answer.stderr
