"""The page of states is generated, so it must be current."""

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

from config.management.commands import docs_states


def test_the_page_of_states_is_current():
    call_command("docs_states", "--check")


def test_an_old_page_is_said(monkeypatch, tmp_path):
    monkeypatch.setattr(docs_states, "FILE", tmp_path / "states.md")
    with pytest.raises(CommandError, match="not current"):
        call_command("docs_states", "--check")
    call_command("docs_states")
    call_command("docs_states", "--check")


def test_every_stateful_model_is_on_the_page():
    page = docs_states.page()
    for name in ("Order", "ServiceInstance", "Run", "Step", "ManualTask", "OfferingVersion"):
        assert f"\n## {name}\n" in page
