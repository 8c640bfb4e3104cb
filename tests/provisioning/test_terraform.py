"""The connector `terraform`: a state for each service, no second apply beside the first, values that stay data."""

import json
import os
import shlex
import shutil
import sys
import threading
from pathlib import Path

import pytest

from config.embedded.process import wait_until
from provisioning.connectors import connector
from provisioning.connectors.base import MAX_LINES, Done, Failed, Lease, LeaseLost, Missing, Retry
from provisioning.services import execution
from tests.provisioning.attempts import attempt
from tests.provisioning.calls import a_call, again, lost_lease
from tests.provisioning.engine import fresh, step_of

SECONDS = 15.0
HOSTILE = [
    "$(touch canary-file)",
    r"\u0000",
    "; drop table x",
    '{{ lookup("pipe","id") }}',
    "-var=x",
    "line\nbreak",
    "${file(x)}",
]


class FarSide:
    """What the stand-in made, and what it noted."""

    def __init__(self, folder):
        self.folder = folder

    def live(self, call):
        """List the things of an instance."""
        return sorted(path.name.split("-")[1] for path in (self.folder / "live").glob(f"{call.instance_id.hex}-*"))

    def calls(self):
        """List what it did, without process ids."""
        path = self.folder / "calls"
        return [" ".join(line.split()[:2]) for line in path.read_text().splitlines()] if path.exists() else []

    def runs_side_by_side(self):
        """Tell whether a run began while another one was alive and had not ended."""
        ended, begun = set(), []
        for line in (self.folder / "calls").read_text().splitlines():
            what, _, pid = (*line.split(), "")[:3]
            if what == "start":
                if any(other not in ended and Path(f"/proc/{other}").exists() for other in begun):
                    return True
                begun.append(pid)
            elif what in {"stop", "interrupted", "failed"}:
                ended.add(pid)
        return False


@pytest.fixture
def modules(settings, tmp_path):
    """A folder of modules, one of them for the stand-in, and a place for workspaces."""
    for name in ("things", "other"):
        (tmp_path / "modules" / name / "files").mkdir(parents=True)
        (tmp_path / "modules" / name / "main.tf").write_text("# for the stand-in\n")
        (tmp_path / "modules" / name / "files" / "motd").write_text("hello\n")
    settings.TERRAFORM_MODULES = str(tmp_path / "modules")
    settings.WORK_ROOT = str(tmp_path / "work")
    return tmp_path / "modules"


@pytest.fixture
def far(modules, settings, tmp_path, monkeypatch):
    """The stand-in as `tofu` on PATH, which goes before `terraform`."""
    program = settings.BASE_DIR / "tests" / "far_side" / "terraform.py"
    launcher = tmp_path / "bin" / "tofu"
    launcher.parent.mkdir()
    launcher.write_text(f'#!/bin/sh\nexec {shlex.quote(sys.executable)} -I -S {shlex.quote(str(program))} "$@"\n')
    launcher.chmod(0o755)
    folder = tmp_path / "far"
    (folder / "live").mkdir(parents=True)
    monkeypatch.setenv("PATH", f"{launcher.parent}{os.pathsep}{os.environ['PATH']}")
    monkeypatch.setenv("FAR_TERRAFORM", str(folder))
    settings.CHILD_ENVIRONMENT = ["FAR_TERRAFORM"]
    return FarSide(folder)


@pytest.fixture
def terraform():
    """The connector."""
    return connector("terraform")


def things(*names, **trouble):
    """Inputs for such things."""
    return {"module": "things", "variables": {"things": list(names), **trouble}}


def call_for(*names, **trouble):
    """Make a first call for such things."""
    return a_call(inputs=things(*names, **trouble), work_seconds=60.0)


def next_call(call, operation=None, **changes):
    """Make the next call for the same service."""
    return again(call, operation, **({"work_seconds": 60.0} | changes))


def test_started_it_is_there_with_its_outputs_and_passwords(terraform, far):
    call = call_for("disk", "net")
    answer = terraform.start(call)
    assert far.live(call) == ["disk", "net"]
    assert answer.outputs == {"endpoint": "2 things"}
    assert answer.secrets == {"token": "hush-hush-token"}
    assert answer.detail == "Terraform made 2 things."
    assert "hush-hush-token" not in repr([*call.lines, answer.detail])
    assert "far_thing.disk: Creation complete" in call.lines


def test_started_twice_it_is_one_thing(terraform, far):
    call = call_for("disk")
    first = terraform.start(call)
    second = terraform.start(next_call(call))
    assert (second.outputs, far.live(call)) == (first.outputs, ["disk"])
    assert not far.runs_side_by_side()


def test_what_was_ordered_decides_which_outputs_are_given_and_how_they_are_called(terraform, far):
    inputs = things("disk") | {"outputs": {"address": "endpoint"}, "secret_outputs": {"password": "token"}}
    answer = terraform.start(a_call(inputs=inputs, work_seconds=60.0))
    assert (answer.outputs, answer.secrets) == ({"address": "1 things"}, {"password": "hush-hush-token"})
    answer = terraform.start(a_call(inputs=things("disk") | {"outputs": ["endpoint", "token"]}, work_seconds=60.0))
    assert (answer.outputs, answer.secrets) == ({"endpoint": "1 things"}, {"token": "hush-hush-token"})
    with pytest.raises(Failed, match="no output “port”"):
        terraform.start(a_call(inputs=things("disk") | {"outputs": ["port"]}, work_seconds=60.0))


def test_undone_it_is_gone_and_undoing_again_is_no_error(terraform, far):
    call = call_for("disk", "net")
    terraform.start(call)
    assert terraform.undo(next_call(call, "undo")).detail == "Removed 2 things."
    assert far.live(call) == []
    assert terraform.undo(next_call(call, "undo")).detail == "There was nothing to remove."
    with pytest.raises(Missing):
        terraform.describe(next_call(call, "describe"))
    terraform.start(next_call(call))
    assert far.live(call) == ["disk", "net"]


def test_undoing_what_was_never_begun_is_no_error_but_a_lost_state_is(terraform, far, settings):
    call = call_for("disk")
    assert isinstance(terraform.undo(next_call(call, "undo", was_done=False)), Done)
    terraform.start(call)
    shutil.rmtree(settings.WORK_ROOT)
    with pytest.raises(Failed, match="state of this service is gone"):
        terraform.undo(next_call(call, "undo"))


def test_undoing_uses_the_copy_that_made_it(terraform, far, modules):
    call = call_for("disk")
    terraform.start(call)
    shutil.rmtree(modules / "things")
    terraform.undo(next_call(call, "undo"))
    assert far.live(call) == []


def test_a_preview_changes_nothing(terraform, far):
    call = call_for("disk", "net")
    answer = terraform.preview(next_call(call, "preview"))
    assert answer.detail == "Plan: 2 to add, 0 to change, 0 to destroy."
    assert (far.live(call), far.calls()) == ([], [])
    with pytest.raises(Missing):
        terraform.describe(next_call(call, "describe"))
    assert isinstance(terraform.undo(next_call(call, "undo", was_done=False)), Done)


def test_an_update_brings_it_in_line(terraform, far):
    call = call_for("disk", "net")
    first = terraform.start(call)
    changed = next_call(call, "update", inputs=things("disk", "fan"), external_ref=first.external_ref)
    assert isinstance(terraform.update(changed), Done)
    assert far.live(call) == ["disk", "fan"]
    with pytest.raises(Failed, match="nothing to change"):
        terraform.update(call_for("disk"))


def test_an_update_may_use_another_module_in_the_same_workspace(terraform, far, settings):
    call = call_for("disk")
    first = terraform.start(call)
    moved = next_call(call, "update", inputs=things("disk") | {"module": "other"}, external_ref=first.external_ref)
    again_there = terraform.update(moved)
    assert again_there.external_ref == first.external_ref
    terraform.undo(next_call(moved, "undo", external_ref=first.external_ref))
    assert far.live(call) == []


def test_two_steps_of_one_module_need_workspaces_of_their_own(terraform, far):
    call = call_for("disk")
    terraform.start(call)
    second = next_call(call, step_name="The second disk", inputs=things("spare"))
    with pytest.raises(Failed, match="input workspace") as refused:
        terraform.start(second)
    assert refused.value.left_nothing
    terraform.start(next_call(second, inputs=things("spare") | {"workspace": "spare"}))
    assert far.live(call) == ["disk", "spare"]


def test_a_new_module_replaces_its_files_and_never_the_state(terraform, far, modules, settings):
    call = call_for("disk")
    terraform.start(call)
    copy = next(p.parent for p in (modules.parent / "work").rglob("main.tf"))
    assert (copy / "files" / "motd").exists()
    shutil.rmtree(modules / "things" / "files")
    (modules / "things" / "terraform.tfstate").write_text("not ours")
    terraform.start(next_call(call))
    assert not (copy / "files" / "motd").exists()
    assert json.loads((copy / "terraform.tfstate").read_text())["things"] == ["far_thing.disk"]


def test_looking_tells_what_is_gone_from_what_differs(terraform, far):
    call = call_for("disk", "net")
    terraform.start(call)
    assert terraform.describe(next_call(call, "describe")).detail == "Terraform finds 2 things as ordered."
    (far.folder / "live" / f"{call.instance_id.hex}-disk").unlink()
    with pytest.raises(Failed, match=r"differs from what was ordered: far_thing\.disk") as differs:
        terraform.describe(next_call(call, "describe", fencing_token=0))
    assert not isinstance(differs.value, Missing)
    (far.folder / "live" / f"{call.instance_id.hex}-net").unlink()
    with pytest.raises(Missing):
        terraform.describe(next_call(call, "describe"))
    assert far.live(call) == []


@pytest.mark.parametrize("value", HOSTILE)
def test_what_was_typed_is_data(terraform, far, settings, value):
    call = call_for(note=value)
    terraform.start(call)
    written = next((far.folder.parent / "work").rglob("variables.tfvars.json"))
    assert json.loads(written.read_text())["note"] == value
    assert not list(far.folder.parent.rglob("canary*"))


@pytest.mark.parametrize(
    ("inputs", "sentence"),
    [
        ({"module": "../things"}, "input module must be a name"),
        ({"module": "-help"}, "input module must be a name"),
        ({}, "input module must be a name"),
        ({"module": "absent"}, "no Terraform module absent"),
        ({"module": "things", "workspace": "a/b"}, "input workspace must be a name"),
        ({"module": "things", "variables": "x"}, "input variables must be an object"),
        ({"module": "things", "variables": {"a b": 1}}, "input variables must be an object"),
        ({"module": "things", "variables": {"note": "nul \0 byte"}}, "NUL"),
        ({"module": "things", "outputs": 7}, "input outputs must be a list"),
    ],
)
def test_inputs_that_no_program_should_see_are_refused_with_a_sentence(terraform, far, inputs, sentence):
    with pytest.raises(Failed, match=sentence) as refused:
        terraform.start(a_call(inputs=inputs, work_seconds=60.0))
    assert refused.value.left_nothing
    assert far.calls() == []


def test_errors_of_what_was_ordered_end_it_and_others_are_tried_again(terraform, far):
    with pytest.raises(Failed, match="Invalid value for variable: Because the test says so"):
        terraform.start(call_for("disk", fails="Invalid value for variable"))
    with pytest.raises(Retry, match="creating the disk: Because the test says so") as fault:
        terraform.start(call_for("disk", fails="creating the disk"))
    assert not fault.value.is_fault


def test_without_a_program_or_a_folder_it_fails_with_a_sentence(terraform, far, settings, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(Failed, match="Neither tofu nor terraform is installed"):
        terraform.start(call_for("disk"))
    settings.TERRAFORM_MODULES = ""
    with pytest.raises(Failed, match="set TERRAFORM_MODULES"):
        terraform.start(call_for("disk"))


@pytest.mark.parametrize("operation", ["start", "update", "undo", "describe", "preview"])
def test_who_has_lost_the_lease_does_nothing(terraform, far, operation):
    with pytest.raises(LeaseLost):
        getattr(terraform, operation)(next_call(call_for("disk"), operation, lease=lost_lease()))
    assert far.calls() == []


def test_its_log_is_bounded(terraform, far):
    call = call_for("disk", noise=5000)
    terraform.start(call)
    assert len(call.lines) <= MAX_LINES
    assert max(len(line) for line in call.lines) <= 500
    assert any(line.endswith("lines left out)") for line in call.lines)
    assert any("Apply complete" in line for line in call.lines)


def test_a_lost_lease_ends_an_apply_in_good_order(terraform, far):
    call = call_for("disk", "net", hold=True)
    call.lease = Lease(2.0)
    with pytest.raises(LeaseLost):
        terraform.start(call)
    assert wait_until(lambda: "interrupted apply" in far.calls(), SECONDS)
    (far.folder / "gate").touch()
    terraform.start(next_call(call))
    assert far.live(call) == ["disk", "net"]
    assert not far.runs_side_by_side()


def test_killed_with_its_worker_an_apply_goes_on_once_and_never_twice_at_a_time(terraform, far):
    call = call_for("disk", "net", hold=True)
    with attempt("terraform", call) as first:
        assert wait_until(lambda: far.live(call) == ["disk"], SECONDS)
        first.kill()
    (far.folder / "gate").touch()
    answer = terraform.start(next_call(call))
    assert (answer.outputs["endpoint"], far.live(call)) == ("2 things", ["disk", "net"])
    assert not far.runs_side_by_side()
    terraform.undo(next_call(call, "undo"))
    assert far.live(call) == []


def test_a_frozen_worker_hinders_the_next_for_seconds_only_and_does_nothing_when_it_wakes(terraform, far):
    call = call_for("disk", "net", hold=True)
    with attempt("terraform", call) as first:
        assert wait_until(lambda: far.live(call) == ["disk"], SECONDS)
        first.freeze()
        following = next_call(call)
        opener = threading.Timer(1.0, (far.folder / "gate").touch)
        opener.start()
        terraform.start(following)
        opener.join()
        first.thaw()
        assert "Done" not in first.answer()
    assert far.live(call) == ["disk", "net"]
    assert not far.runs_side_by_side()


def test_the_lock_of_a_killed_apply_is_taken_away_by_the_next(terraform, far):
    call = call_for("disk", "net", dies=1)
    with pytest.raises(Retry, match="code 137"):
        terraform.start(call)
    following = next_call(call)
    terraform.start(following)
    assert far.live(call) == ["disk", "net"]
    assert "force-unlock" in " ".join(far.calls())
    assert any("is taken away" in line for line in following.lines)


def test_a_lock_that_is_not_ours_is_respected(terraform, far, modules):
    call = call_for("disk")
    terraform.start(call)
    copy = next(path.parent for path in (modules.parent / "work").rglob("main.tf"))
    (copy / "lock.json").write_text('{"ID": "of-a-person"}')
    with pytest.raises(Retry, match="Somebody else has locked") as busy:
        terraform.start(next_call(call))
    assert (busy.value.is_fault, busy.value.after) == (False, 30.0)
    assert (copy / "lock.json").exists()


@pytest.mark.django_db(transaction=True)  # the lease is kept from a second connection
def test_ordered_it_runs_in_the_queue_of_long_work_and_its_password_is_kept_apart(terraform, far, ordered):
    inputs = {"module": "things", "variables": {"things": ["disk"], "for": "${requester.username}"}}
    order = ordered(("Making it", "terraform", inputs))
    assert execution.work(queue="default") == 0
    assert execution.work(queue="long") == 1
    step = step_of(order)
    assert (step.error, step.state, step.outputs) == ("", "succeeded", {"endpoint": "1 things"})
    assert step.detail == "Terraform made 1 thing."
    assert fresh(order).state == "completed"
    assert [row.name for row in order.instance.secrets.all()] == ["token"]
    assert "hush-hush-token" not in "".join(step.lines.values_list("text", flat=True))
    written = next((far.folder.parent / "work").rglob("variables.tfvars.json"))
    assert json.loads(written.read_text())["for"] == "business"
