"""One project of playbooks, and one run in it: what ansible-runner gets, and what is read of its artifacts."""

import hashlib
import json
import os
import shlex
import shutil
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from django.conf import settings

from provisioning.connectors.base import Failed, Retry
from provisioning.connectors.child import Workspace, environment_for, masked, workspace, write_whole
from provisioning.connectors.child_output import Ended

REQUIREMENTS = ("requirements.yml", "collections/requirements.yml", "roles/requirements.yml")
# The folder of the run that goes on now.
RUN = "run"
# What one run may write about itself.
MOST_ARTIFACTS = 256 << 20
KEPT_OUTPUT = 1 << 16
LOOK_SECONDS = 3.0
# Tasks whose failure says: it cannot work however often it is tried.
FINAL_ACTIONS = {"fail", "assert", "ansible.builtin.fail", "ansible.builtin.assert"}
MISSING = "Ansible is not installed here: install requirements-ansible.txt."


@dataclass
class RunResult:
    """What a run did: custom stats, and how many tasks went how, over all hosts."""

    stats: dict[str, Any] = field(default_factory=dict)
    ok: int = 0
    changed: int = 0

    @property
    def summary(self) -> str:
        """The counts, for a sentence."""
        return f"{self.ok} task{'s' * (self.ok != 1)}, {self.changed} changed something"


class Project:
    """A folder below settings.ANSIBLE_PROJECTS: playbooks, perhaps `inventory`, `ansible.cfg`, `requirements.yml`."""

    def __init__(self, name: str) -> None:
        if not settings.ANSIBLE_PROJECTS:
            raise Failed("No folder of Ansible projects is set up: set ANSIBLE_PROJECTS.", left_nothing=True)
        self.name = name
        self.folder = Path(settings.ANSIBLE_PROJECTS).absolute() / name

    def playbook(self, path: str) -> "Playbook":
        """Give one of its playbooks. Raises Failed for a file that is not there or leads out of the project."""
        found = (self.folder / path).resolve()
        if not found.is_file() or not found.is_relative_to(self.folder.resolve()):
            raise Failed(f"There is no playbook {self.name}/{path}.", left_nothing=True)
        return Playbook(self, path)

    @property
    def requirements(self) -> list[Path]:
        """The files that name roles and collections."""
        return [self.folder / name for name in REQUIREMENTS if (self.folder / name).is_file()]

    def environment(self, installed: Path | None) -> dict[str, str]:
        """Give the programs' environment; `installed` is where its roles and collections lie."""
        more = {}
        if installed:
            more = {
                "ANSIBLE_COLLECTIONS_PATH": f"{installed / 'collections'}:{self.folder / 'collections'}",
                "ANSIBLE_ROLES_PATH": f"{installed / 'roles'}:{self.folder / 'roles'}",
            }
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        return environment_for(
            PATH=path,
            ANSIBLE_NOCOLOR="1",
            ANSIBLE_LOCALHOST_WARNING="0",
            ANSIBLE_INVENTORY_UNPARSED_WARNING="0",
            **more,
        )

    def install_requirements(self, held: Workspace) -> Path | None:
        """Install what the project requires, once for each content of its files; give the place."""
        if not self.requirements:
            return None
        content = b"\0".join(path.read_bytes() for path in self.requirements)
        digest = hashlib.sha256(str(self.folder).encode() + b"\0" + content).hexdigest()[:32]
        with workspace(held.call, f"ansible-{digest}", is_shared=True) as shared:
            mark = shared.folder / "installed"
            environment = self.environment(shared.folder)
            for path in [] if mark.exists() else self.requirements:
                program = _program("ansible-galaxy", environment["PATH"])
                ended = shared.run(
                    [program, "install", "-r", str(path)], cwd=self.folder, environment=environment, on_line=held.log
                )
                if ended.code != 0:
                    raise Retry(f"The project's requirements cannot be installed: {ended.reason}", is_fault=False)
            mark.touch()
        return shared.folder


class Playbook:
    """One playbook of a project."""

    def __init__(self, project: Project, path: str) -> None:
        self.project, self.path = project, path
        self.name = f"{project.name}/{path}"

    def prepare(self, held: Workspace) -> dict[str, str]:
        """Look whether Ansible is there, install what the project requires, and give the environment for a run.

        Changes nothing that is delivered. Raises Failed or Retry.
        """
        _program("ansible-playbook", self.project.environment(None)["PATH"])
        if find_spec("ansible_runner") is None:
            raise Failed(MISSING, left_nothing=True)
        return self.project.environment(self.project.install_requirements(held))

    def run(self, held: Workspace, variables: dict[str, Any], *, limit: str, is_check: bool = False) -> RunResult:
        """Run it; in check mode it changes nothing and shows what it would. Raises Failed or Retry."""
        environment = self.prepare(held)
        private = held.folder / RUN
        (private / "env").mkdir(mode=0o700, parents=True)
        write_whole(private / "env" / "extravars", json.dumps(variables))
        options = [f"--limit={limit}"] * bool(limit) + ["--check", "--diff"] * is_check
        if options:
            write_whole(private / "env" / "cmdline", shlex.join(options))
        inventory = self.project.folder / "inventory"
        try:
            ended = held.run(
                [
                    *(sys.executable, "-P", "-m", "ansible_runner", "run", str(private)),
                    *("--project-dir", str(self.project.folder), "--playbook", self.path),
                    *("--ident", "last", "--omit-env-files"),
                    *(("--inventory", str(inventory)) if inventory.exists() else ()),
                ],
                cwd=self.project.folder,
                environment=environment,
                watch=_Watch(private),
            )
            result, error = _read(private, ended)
        finally:
            _keep_last(held, private)
        if error:
            raise error
        return result


class _Watch:
    """Ends a run that writes without end."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.next_at = folder, 0.0

    def __call__(self) -> None:
        if time.monotonic() < self.next_at:
            return
        if _size(self.folder) > MOST_ARTIFACTS:
            raise Failed("The playbook wrote more about its run than is kept, and was ended.")
        self.next_at = time.monotonic() + LOOK_SECONDS


def _size(folder: Path) -> int:
    total = 0
    for place, _folders, names in os.walk(folder):
        for name in names:
            try:
                total += (Path(place) / name).lstat().st_size
            except FileNotFoundError:
                continue  # a file under construction got its name meanwhile
    return total


def _events(private: Path) -> Iterator[dict[str, Any]]:
    """Give the events that matter, in the order in which they came."""
    folder = private / "artifacts" / "last" / "job_events"
    numbered = [(int(path.name.split("-")[0]), path) for path in folder.glob("[0-9]*-*.json")]
    for _, path in sorted(numbered):
        text = path.read_text(errors="replace")
        if '"event_data"' in text:
            yield json.loads(text)


def _read(private: Path, ended: Ended) -> tuple[RunResult, Exception | None]:
    """Read what a run did, and what is to be raised where it did not end well."""
    result, failure, is_final = RunResult(), "", False
    for event in _events(private):
        data = event["event_data"]
        if event["event"] == "playbook_on_stats":
            result.stats |= data.get("artifact_data", {})
            result.ok = sum(data.get("ok", {}).values())
            result.changed = sum(data.get("changed", {}).values())
        elif event["event"] in {"runner_on_failed", "runner_on_unreachable"} and not data.get("ignore_errors"):
            failure = _failure(data)
            is_final = data.get("task_action") in FINAL_ACTIONS
    if ended.code == 0:
        return result, None
    reason = failure or f"The playbook failed: {ended.reason}"
    return result, Failed(reason) if is_final else Retry(reason, is_fault=False)


def _failure(data: dict[str, Any]) -> str:
    """Say which task failed where, and why, as far as the task does not hide it."""
    result = data.get("res") or {}
    said = result.get("msg") or result.get("stderr") or "no reason given"
    why = "(hidden)" if result.get("_ansible_no_log") else " ".join(str(said).split())
    return f"The task “{data.get('task')}” failed on {data.get('host')}: {why}"[:500]


def _keep_last(held: Workspace, private: Path) -> None:
    """Keep the end of the last run's output, without passwords; nothing else of a run stays on the disk."""
    output = private / "artifacts" / "last" / "stdout"
    try:
        with output.open("rb") as file:
            file.seek(max(0, output.stat().st_size - KEPT_OUTPUT))
            text = masked(file.read().decode(errors="replace"))
    except FileNotFoundError:
        text = ""
    for secret in held.call.secrets.values():
        text = text.replace(secret, "***")
    shutil.rmtree(private, ignore_errors=True)
    write_whole(held.folder / "last_output.txt", text)


def _program(name: str, path: str) -> str:
    found = shutil.which(name, path=path)
    if not found:
        raise Failed(MISSING, left_nothing=True)
    return found
