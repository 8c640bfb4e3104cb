"""The connector `ansible` with the real Ansible: values stay data, check mode changes nothing, nothing runs on."""

import shutil
import sys
from pathlib import Path

import pytest

from config.embedded.process import wait_until
from provisioning.connectors import connector
from provisioning.connectors.base import MAX_LINES, Done, Failed, LeaseLost, Missing, Retry
from tests.provisioning.attempts import attempt
from tests.provisioning.calls import a_call, again, lost_lease
from tests.provisioning.test_child import lives

SECONDS = 30.0
HOSTILE = """$(touch canary-file) `touch canary-file` {{ lookup("pipe", "touch canary-file") }} ; drop table x
-var=x {% raw %} !unsafe 'quoted" \N{SNOWMAN} \N{GRINNING FACE}"""


@pytest.fixture
def place(settings, tmp_path):
    """Projects to run, a place for workspaces, and one where playbooks make things."""
    settings.ANSIBLE_PROJECTS = str(settings.BASE_DIR / "tests" / "far_side" / "playbooks")
    settings.WORK_ROOT = str(tmp_path / "work")
    (tmp_path / "place").mkdir()
    return tmp_path / "place"


@pytest.fixture
def ansible():
    """The connector."""
    return connector("ansible")


def inputs(place, note="a note", **more):
    """Inputs of the playbook that writes a note."""
    variables = {"note": note, "place": str(place), "nested": {"list": [note, 7, None, True], "{{ 7*7 }}": 1.5}}
    return {"playbook": "web/site.yml", "undo_playbook": "web/undo.yml", "variables": variables} | more


def call_for(place, note="a note", **more):
    """Make a first call for a note."""
    return a_call(inputs=inputs(place, note, **more), work_seconds=60.0)


def next_call(call, operation=None, **changes):
    """Make the next call for the same service."""
    return again(call, operation, **({"work_seconds": 60.0} | changes))


def files(place):
    """What was made there, with what is in it."""
    return {path.name.split("-")[0]: path.read_text() for path in place.iterdir()}


def test_what_was_typed_is_data_from_the_preview_to_the_outputs(ansible, place):
    call = call_for(place, HOSTILE)
    preview = ansible.preview(next_call(call, "preview"))
    assert preview.detail == "The playbook would do this: 3 tasks, 1 changed something."
    assert files(place) == {}
    answer = ansible.start(call)
    assert files(place) == {"made": HOSTILE}
    assert answer.outputs == {
        "endpoint": f"at-{HOSTILE}",
        "operation": "start",
        "nested": call.inputs["variables"]["nested"],
    }
    assert ansible.describe(next_call(call, "describe")).detail == "Ansible finds it as ordered."
    assert not [path for path in (place.parent, Path.cwd(), Path("/tmp")) if (path / "canary-file").exists()]  # noqa: S108
    assert not list(place.parent.rglob("canary*"))


def test_made_changed_behind_our_back_set_right_with_a_new_password_and_taken_back(ansible, place, settings):
    call = call_for(place, outputs={"address": "endpoint"})
    assert ansible.start(call).outputs == {"address": "at-a note"}
    password = call.secrets["password"]
    assert any(password in line for line in call.lines)  # the engine takes it out, since a careless playbook shows it
    kept = [path for path in Path(settings.WORK_ROOT).rglob("*") if path.is_file()]
    assert "a note" in next(path for path in kept if path.name == "last_output.txt").read_text()
    assert not [path for path in kept if password in path.read_text(errors="replace")]

    next(place.iterdir()).write_text("another note")
    with pytest.raises(Failed, match="differs from what was ordered"):
        ansible.describe(next_call(call, "describe"))
    assert files(place) == {"made": "another note"}

    with pytest.raises(Failed, match="no password"):
        ansible.rotate(next_call(call, "rotate", secrets={}))
    assert isinstance(ansible.rotate(next_call(call, "rotate")), Done)
    assert files(place) == {"made": "a note"}

    assert isinstance(ansible.undo(next_call(call, "undo")), Done)
    assert files(place) == {}
    with pytest.raises(Missing):
        ansible.describe(next_call(call, "describe"))


def test_tasks_that_fail_are_tried_again_but_not_what_says_that_it_can_never_work(ansible, place):
    with pytest.raises(Retry, match="The task “Break” failed on localhost: ") as fault:
        ansible.start(call_for(place, "broken"))
    assert not fault.value.is_fault
    with pytest.raises(Failed, match="There is no room for too much"):
        ansible.start(call_for(place, "too much"))
    with pytest.raises(Failed, match="set no “port”"):
        ansible.start(call_for(place, outputs=["port"]))


def test_what_a_project_requires_is_installed_once(ansible, place, settings):
    call = a_call(inputs={"playbook": "needs/site.yml"}, work_seconds=60.0)
    assert ansible.start(call).outputs == {"greeting": "hello"}
    assert any("tests.greetings" in line for line in call.lines)
    following = a_call(inputs={"playbook": "needs/site.yml"}, work_seconds=60.0)
    assert ansible.start(following).outputs == {"greeting": "hello"}
    assert not any("installed" in line for line in following.lines)


def test_its_log_and_what_it_leaves_are_bounded(ansible, place, settings):
    call = a_call(inputs={"playbook": "web/noisy.yml"}, work_seconds=60.0)
    ansible.start(call)
    assert len(call.lines) <= MAX_LINES
    assert call.lines[-1].startswith("localhost ")
    left = sum(path.stat().st_size for path in Path(settings.WORK_ROOT).rglob("*") if path.is_file())
    assert left < 200_000


def test_undoing_without_a_playbook_for_it_is_for_a_person_unless_nothing_was_begun(ansible, place):
    alone = {"playbook": "web/site.yml"}
    assert isinstance(ansible.undo(a_call("undo", inputs=alone, was_done=False)), Done)
    with pytest.raises(Failed, match="take back by hand what the playbook web/site"):
        ansible.undo(a_call("undo", inputs=alone))


@pytest.mark.parametrize(
    ("given", "sentence"),
    [
        ({"playbook": "web/absent.yml"}, "no playbook web/absent.yml"),
        ({"playbook": "../web/site.yml"}, "must name a project and a playbook"),
        ({"playbook": "web/../needs/site.yml"}, "must name a project and a playbook"),
        ({"playbook": "web/-site.yml"}, "must name a project and a playbook"),
        ({"playbook": "web"}, "must name a project and a playbook"),
        ({"variables": ["x"]}, "input variables must be an object"),
        ({"variables": {"greenlane": "x"}}, "input variables must be an object"),
        ({"variables": {"note": "nul \0 byte"}}, "NUL"),
        ({"variables": {"note": {"__ansible_unsafe": "{{ 7*7 }}"}}}, "may not begin with __ansible"),
        ({"limit": "--list-hosts"}, "input limit must be a pattern"),
        ({"limit": "@/etc/passwd"}, "input limit must be a pattern"),
        ({"outputs": "endpoint"}, "input outputs must be"),
    ],
)
def test_inputs_that_no_program_should_see_are_refused_with_a_sentence(ansible, place, given, sentence):
    with pytest.raises(Failed, match=sentence) as refused:
        ansible.start(call_for(place, **given))
    assert refused.value.left_nothing
    assert files(place) == {}


def test_a_playbook_that_is_a_link_out_of_its_project_is_not_there(ansible, place, settings, tmp_path):
    shutil.copytree(settings.ANSIBLE_PROJECTS, tmp_path / "projects")
    settings.ANSIBLE_PROJECTS = str(tmp_path / "projects")
    (tmp_path / "elsewhere.yml").write_text("[]")
    (tmp_path / "projects" / "web" / "link.yml").symlink_to(tmp_path / "elsewhere.yml")
    with pytest.raises(Failed, match="no playbook web/link"):
        ansible.start(call_for(place, playbook="web/link.yml"))


def test_without_ansible_or_a_folder_it_fails_with_a_sentence(ansible, place, settings, monkeypatch):
    monkeypatch.setitem(sys.modules, "ansible_runner", None)
    with pytest.raises(Failed, match="install requirements-ansible"):
        ansible.start(call_for(place))
    settings.ANSIBLE_PROJECTS = ""
    with pytest.raises(Failed, match="set ANSIBLE_PROJECTS"):
        ansible.start(call_for(place))


@pytest.mark.parametrize("operation", ["start", "update", "rotate", "undo", "describe", "preview"])
def test_who_has_lost_the_lease_does_nothing(ansible, place, operation):
    with pytest.raises(LeaseLost):
        getattr(ansible, operation)(next_call(call_for(place), operation, lease=lost_lease()))
    assert files(place) == {}


@pytest.fixture
def waiting(place):
    """The processes of the slow playbook; none of them is left after the test."""

    def pids():
        return [int(line) for line in (place / "pids").read_text().split()] if (place / "pids").exists() else []

    yield lambda: [pid for pid in pids() if lives(pid)]
    (place / "gate").touch()
    assert wait_until(lambda: not any(lives(pid) for pid in pids()), SECONDS)


def test_a_lost_lease_ends_the_playbook_and_the_processes_of_its_tasks(ansible, place, waiting):
    call = call_for(place, playbook="web/slow.yml")
    with attempt("ansible", call, lease_seconds=6.0) as worker:
        assert wait_until(waiting, SECONDS)
        assert "LeaseLost" in worker.answer()
    assert wait_until(lambda: not waiting(), SECONDS)


def test_killed_with_its_worker_a_playbook_runs_again_alone(ansible, place, waiting):
    call = call_for(place, playbook="web/slow.yml")
    with attempt("ansible", call) as worker:
        assert wait_until(waiting, SECONDS)
        before = waiting()
        worker.kill()
    (place / "pids").unlink()
    (place / "gate").touch()
    assert isinstance(ansible.start(next_call(call)), Done)
    assert not any(lives(pid) for pid in before)
