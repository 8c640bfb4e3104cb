"""The connector `terraform` with the real program, where one is on PATH: nothing but what is built into it."""

import json
import shutil
from pathlib import Path

import pytest

from provisioning.connectors import connector
from provisioning.connectors.base import Failed, Missing
from tests.provisioning.calls import a_call, again

PROGRAM = shutil.which("tofu") or shutil.which("terraform")
pytestmark = pytest.mark.skipif(PROGRAM is None, reason="neither tofu nor terraform is on PATH")
BOX = """
variable "size" {
  type = number
  validation {
    condition     = var.size < 10
    error_message = "Ten is too large."
  }
}
variable "label" { type = string }
resource "terraform_data" "box" { input = "${var.label}-${var.size}" }
output "label" { value = terraform_data.box.output }
output "token" {
  value     = "hush-${var.size}"
  sensitive = true
}
"""
BACKEND = """
terraform {
  backend "local" { path = "%s" }
}
"""
HOSTILE = '${file("/etc/passwd")} $(touch canary-file) {{ 7*7 }} -var=size=4\n; drop'


@pytest.fixture
def modules(settings, tmp_path):
    """A folder with one module, which makes a value in the state and nothing else."""
    settings.TERRAFORM_MODULES = str(tmp_path / "modules")
    settings.WORK_ROOT = str(tmp_path / "work")
    (tmp_path / "modules" / "box").mkdir(parents=True)
    (tmp_path / "modules" / "box" / "main.tf").write_text(BOX)
    return tmp_path / "modules"


def box(size=3, label="one", operation="start", *, after=None, **changes):
    """A first call for a box, or the next one after another."""
    changes |= {"inputs": {"module": "box", "variables": {"size": size, "label": label}}, "work_seconds": 60.0}
    return again(after, operation, **changes) if after else a_call(operation, **changes)


def test_made_looked_at_changed_and_removed(modules):
    terraform, first = connector("terraform"), box(label=HOSTILE)
    assert terraform.preview(box(after=first, operation="preview")).detail.startswith("Plan: 1 to add")
    with pytest.raises(Missing):
        terraform.describe(box(after=first, operation="describe"))
    answer = terraform.start(first)
    assert answer.outputs == {"label": f"{HOSTILE}-3"}
    assert answer.secrets == {"token": "hush-3"}
    assert terraform.start(box(label=HOSTILE, after=first)).outputs == answer.outputs
    assert "as ordered" in terraform.describe(box(label=HOSTILE, after=first, operation="describe")).detail
    planned = terraform.preview(box(size=4, label=HOSTILE, after=first, operation="preview"))
    assert planned.detail.startswith("Plan: 0 to add, 1 to change")
    assert terraform.update(box(size=4, label="two", after=first, operation="update")).outputs == {"label": "two-4"}
    assert terraform.undo(box(after=first, operation="undo")).detail == "Removed 1 thing."
    assert terraform.undo(box(after=first, operation="undo")).detail == "There was nothing to remove."
    assert not list(modules.parent.rglob("canary*"))


def test_what_the_module_does_not_allow_fails_at_once_in_its_words(modules):
    with pytest.raises(Failed, match="Ten is too large"):
        connector("terraform").start(box(size=10))


def test_a_module_that_is_wrong_says_what(modules):
    (modules / "box" / "main.tf").write_text("resource {")
    with pytest.raises(Exception, match="Terraform: ") as fault:
        connector("terraform").start(box())
    assert not fault.value.is_fault


def test_with_a_backend_of_its_own_each_service_has_a_workspace_there(modules, tmp_path):
    state = tmp_path / "backend" / "terraform.tfstate"
    (modules / "box" / "backend.tf").write_text(BACKEND % state)
    terraform, one, two = connector("terraform"), box(label="one"), box(label="two")
    assert terraform.preview(box(after=one, operation="preview")).detail.startswith("Plan: 1 to add")
    assert not state.exists()
    assert terraform.start(one).outputs == {"label": "one-3"}
    assert terraform.start(two).outputs == {"label": "two-3"}
    planned = terraform.preview(box(size=4, after=one, operation="preview"))
    assert planned.detail.startswith("Plan: 0 to add, 1 to change")
    states = [json.loads(path.read_text()) for path in Path(modules.parent / "work").rglob("terraform.tfstate.d/*/*")]
    assert sorted(kept["outputs"]["label"]["value"] for kept in states if kept["outputs"]) == ["one-3", "two-3"]
    assert terraform.undo(box(after=one, operation="undo")).detail == "Removed 1 thing."
    assert "as ordered" in terraform.describe(box(label="two", after=two, operation="describe")).detail
    assert terraform.undo(box(after=two, operation="undo")).detail == "Removed 1 thing."
