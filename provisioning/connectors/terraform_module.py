"""One module at work in its workspace: the copy, the variables, the state, and the commands over them.

In the workspace's folder lie `module` (the copy, Terraform's own files and, without a backend, the state), the
variables, and `made.json`: how far it has got, which copy is whole, whose step it is.
"""

import json
import re
import shutil
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from provisioning.connectors.base import Failed, Retry
from provisioning.connectors.child import Workspace, environment_for, write_whole
from provisioning.connectors.child_output import Ended

VARIABLES = "variables.tfvars.json"
OVERRIDE = "greenlane_override.tf.json"
STATE = "terraform.tfstate"
# Where the backend `local` keeps the states of workspaces, beside the module.
LOCAL_STATES = "terraform.tfstate.d"
NOT_COPIED = shutil.ignore_patterns(".git", ".terraform", "*.tfstate", "*.tfstate.*", OVERRIDE)
PLANNED = 2  # the exit code of `plan -detailed-exitcode` where something is to be changed
LOCKED = "Error acquiring the state lock"
LOCK_ID = re.compile(r"^\s*ID:\s+(\S+)", re.MULTILINE)
# Errors that come of what was ordered or written, and come again however often it is tried.
FINAL = ("Invalid ", "No value for required variable", "Unsupported ", "Reference to undeclared ")


@dataclass
class Plan:
    """What a plan would do, by addresses."""

    known: list[str]
    created: list[str] = field(default_factory=list)
    changes: list[str] = field(default_factory=list)
    summary: str = "Terraform would change nothing."

    @property
    def gone(self) -> list[str]:
        """What the state knows and is not there any more."""
        return [address for address in self.created if address in self.known]

    @property
    def differences(self) -> list[str]:
        """All that is not as ordered."""
        return [*self.gone, *self.changes, *(one for one in self.created if one not in self.known)]


class Module:
    """A module in the workspace that one attempt holds."""

    def __init__(self, held: Workspace, name: str) -> None:
        self.held, self.name = held, name
        self.folder = held.folder / "module"
        self.variables = held.folder / VARIABLES
        self._made_path = held.folder / "made.json"
        self._made: dict[str, Any] = json.loads(self._made_path.read_text()) if self._made_path.exists() else {}

    @property
    def is_begun(self) -> bool:
        """Tell whether something may be there."""
        return self._made.get("state") == "begun"

    @property
    def is_known(self) -> bool:
        """Tell whether something was ever begun here."""
        return self._made.get("state") in {"begun", "undone"}

    def begin(self, variables: dict[str, Any]) -> None:
        """Bring copy and variables up to date, and make ready to apply. Raises Failed where another step is at home."""
        step = self.held.call.step_name
        if self.is_begun and self.held.call.operation == "start" and self._made.get("step") != step:
            raise Failed(
                f"The step “{self._made.get('step')}” uses the module {self.name} for this service already: "
                "give one of them another name in the input workspace.",
                left_nothing=True,
            )
        self._copy()
        write_whole(self.variables, json.dumps(variables))
        self._init(self.folder)
        self._remember(state="begun", step=self._made.get("step") or step)
        self._select_workspace(self.folder)

    def resume(self) -> None:
        """Make ready to look at or destroy what is there, with the copy that made it."""
        if not self._made.get("is_whole"):
            self._copy()
        self._init(self.folder)
        self._select_workspace(self.folder)

    def apply(self) -> None:
        """Make or change what the module describes."""
        self._change("apply")

    def destroy(self) -> None:
        """Remove all that the state knows."""
        self._change("destroy")

    def plan(self) -> Plan:
        """Say what an apply would do now."""
        return self._plan(self.folder, self.variables, self.resources())

    def preview(self, variables: dict[str, Any]) -> Plan:
        """Say what an apply of the module as it is now would do, in a copy aside that is thrown away."""
        aside, has_backend = self.held.folder / "preview", self.is_begun and self._has_backend(self.folder)
        shutil.rmtree(aside, ignore_errors=True)
        try:
            shutil.copytree(self._source(), aside, ignore=NOT_COPIED)
            if not has_backend:
                state = self.folder / STATE if self.is_begun else aside / STATE
                override = {"terraform": {"backend": {"local": {"path": str(state)}}}}
                (aside / OVERRIDE).write_text(json.dumps(override))
            write_whole(aside / VARIABLES, json.dumps(variables))
            self._init(aside)
            if has_backend:
                if (self.folder / LOCAL_STATES).is_dir():
                    shutil.copytree(self.folder / LOCAL_STATES, aside / LOCAL_STATES)
                self._select_workspace(aside)
            return self._plan(aside, aside / VARIABLES, self._resources(aside) if self.is_begun else [])
        finally:
            shutil.rmtree(aside, ignore_errors=True)

    def resources(self) -> list[str]:
        """List the addresses that the state knows, without what is only read."""
        return self._resources(self.folder)

    def outputs(self) -> dict[str, dict[str, Any]]:
        """Give the module's outputs as Terraform writes them: {name: {"value", "type", "sensitive"}}."""
        ended = self._run("output", "-json", keeps_output=True)
        try:
            values: dict[str, dict[str, Any]] = json.loads(ended.output)
        except ValueError as error:
            raise Failed("The module's outputs cannot be read: they are too large, or no JSON.") from error
        if ended.code != 0:
            raise _retry(ended)
        return values

    def forget(self) -> None:
        """Remove what is left in the workspace; only that it was undone stays written down."""
        if self._has_backend(self.folder):
            self._run("workspace", "select", "default")
            self._run("workspace", "delete", self._workspace_name)
        self._made = {}
        self._remember(state="undone")
        shutil.rmtree(self.folder, ignore_errors=True)
        self.variables.unlink(missing_ok=True)

    def _source(self) -> Path:
        if not settings.TERRAFORM_MODULES:
            raise Failed("No folder of Terraform modules is set up: set TERRAFORM_MODULES.", left_nothing=True)
        source = Path(settings.TERRAFORM_MODULES).absolute() / self.name
        if not source.is_dir():
            raise Failed(f"There is no Terraform module {self.name}.", left_nothing=True)
        return source

    def _copy(self) -> None:
        """Bring the copy up to date. Files that are not of a copy, the state above all, are never touched."""
        source, before = self._source(), set(self._made.get("files", []))
        files = set()

        def copy(one: str, to: str) -> None:
            files.add(str(Path(to).relative_to(self.folder)))
            Path(to).unlink(missing_ok=True)
            shutil.copyfile(one, to)
            shutil.copymode(one, to)

        self._remember(is_whole=False)
        shutil.copytree(source, self.folder, ignore=NOT_COPIED, dirs_exist_ok=True, copy_function=copy)
        for path in before - files:
            (self.folder / path).unlink(missing_ok=True)
        self._remember(is_whole=True, files=sorted(files))

    def _remember(self, **values: Any) -> None:
        self._made |= values
        write_whole(self._made_path, json.dumps(self._made))

    def _init(self, folder: Path) -> None:
        ended = self._run("init", "-input=false", "-no-color", folder=folder)
        if ended.code != 0:
            raise _retry(ended)

    def _has_backend(self, folder: Path) -> bool:
        """Tell whether the module keeps its state elsewhere: Terraform notes that when it is initialized."""
        noted = folder / ".terraform" / STATE
        return noted.exists() and bool(json.loads(noted.read_text()).get("backend"))

    @property
    def _workspace_name(self) -> str:
        return f"greenlane-{self.held.call.instance_id.hex}-{self.held.folder.name}"

    def _select_workspace(self, folder: Path) -> None:
        """Where states of all instances lie in one backend, each has a workspace there."""
        if self._has_backend(folder):
            ended = self._run("workspace", "select", "-or-create=true", self._workspace_name, folder=folder)
            if ended.code != 0:
                raise _retry(ended)

    def _resources(self, folder: Path) -> list[str]:
        ended = self._run("state", "list", folder=folder, keeps_output=True)
        if ended.code != 0:
            if any("No state file was found" in line for line in ended.last_lines):
                return []
            raise _retry(ended)
        addresses = ended.output.decode(errors="replace").split("\n")
        return [one for one in addresses if one and not re.search(r"(^|\.)data\.", one)]

    def _change(self, command: str) -> None:
        arguments = (command, "-auto-approve", "-input=false", "-json", f"-var-file={self.variables}")
        told = _Told(self.held)
        ended = self._run(*arguments, told=told)
        if ended.code != 0 and self._unlock(told):
            told = _Told(self.held)
            ended = self._run(*arguments, told=told)
        if ended.code != 0:
            raise told.error(ended)

    def _plan(self, folder: Path, variables: Path, known: list[str]) -> Plan:
        told = _Told(self.held)
        arguments = ("plan", "-detailed-exitcode", "-input=false", "-json", f"-var-file={variables}")
        ended = self._run(*arguments, folder=folder, told=told)
        if ended.code not in {0, PLANNED}:
            raise told.error(ended)
        plan = Plan(known=known, summary=told.summary)
        for address, action in told.planned:
            (plan.created if action == "create" else plan.changes).append(address)
        return plan

    def _unlock(self, told: "_Told") -> bool:
        """Take away the lock of a run of our own that was cut off. We hold the workspace, so its process is dead."""
        if not (self.held.was_cut_off and told.lock_id):
            return False
        self.held.log(f"The lock {told.lock_id} is that of a run that was cut off; it is taken away.")
        return self._run("force-unlock", "-force", told.lock_id).code == 0

    def _run(
        self, *arguments: str, folder: Path | None = None, told: "_Told | None" = None, keeps_output: bool = False
    ) -> Ended:
        return self.held.run(
            [_program(), *arguments],
            cwd=folder or self.folder,
            environment=environment_for(TF_IN_AUTOMATION="1", TF_INPUT="0", CHECKPOINT_DISABLE="1"),
            on_line=told.take if told else None,
            keeps_output=keeps_output,
        )


class _Told:
    """What one command says in its machine-readable log."""

    def __init__(self, held: Workspace) -> None:
        self.held = held
        self.errors: list[tuple[str, str]] = []
        self.planned: list[tuple[str, str]] = []
        self.summary = Plan(known=[]).summary

    def take(self, line: str) -> None:
        """Read one line; what is no JSON is only logged."""
        try:
            said = json.loads(line)
            kind, message = said["type"], str(said["@message"])
        except (ValueError, KeyError, TypeError):
            self.held.log(line)
            return
        if kind not in {"version", "outputs"}:
            self.held.log(message)
        if kind == "diagnostic":
            self._note(said.get("diagnostic", {}), message)
        elif kind == "planned_change":
            change = said.get("change", {})
            self.planned.append((str(change.get("resource", {}).get("addr", "?")), str(change.get("action", ""))))
        elif kind == "change_summary":
            self.summary = message

    @property
    def lock_id(self) -> str:
        """The lock that is in the way, if that is what was wrong."""
        details = [detail for summary, detail in self.errors if LOCKED in summary]
        found = LOCK_ID.search(details[0]) if details else None
        return found.group(1) if found else ""

    def error(self, ended: Ended) -> Exception:
        """Give what to raise for a command that failed."""
        summary, detail = self.errors[0] if self.errors else ("", "")
        if LOCKED in summary:
            return Retry("Somebody else has locked the Terraform state of this service.", after=30.0, is_fault=False)
        if not summary:
            return _retry(ended)
        reason = f"{summary}: {' '.join(detail.split())}"[:500].rstrip(": ")
        return Failed(reason) if summary.startswith(FINAL) else Retry(reason, is_fault=False)

    def _note(self, diagnostic: dict[str, Any], message: str) -> None:
        if diagnostic.get("severity") == "error":
            detail = str(diagnostic.get("detail", ""))
            self.errors.append((str(diagnostic.get("summary", message)), detail))
            for line in detail.splitlines()[:20]:
                self.held.log(line)


def _program() -> str:
    program = shutil.which("tofu") or shutil.which("terraform")
    if not program:
        raise Failed("Neither tofu nor terraform is installed here.", left_nothing=True)
    return program


def _retry(ended: Ended) -> Retry:
    """Say why a command failed in words of its own. The module is at fault, or the network: not all of Terraform."""
    said = [line.strip(" │╷╵") for line in ended.last_lines]
    reason = next((line for line in said if line.startswith("Error:")), f"{ended.reason} (code {ended.code})")
    return Retry(f"Terraform: {reason.removeprefix('Error: ')}", is_fault=False)
