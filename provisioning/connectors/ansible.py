"""A playbook of a configured project, run by ansible-runner as a process of its own.

Ansible and ansible-runner are GPLv3: they are started, never imported.
"""

import json
import re
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from provisioning.connectors.ansible_project import RUN, Playbook, Project, RunResult
from provisioning.connectors.base import Call, Connector, Done, Failed, Missing
from provisioning.connectors.child import Workspace, as_data, workspace, write_whole

PLACE = "ansible"
PLAYBOOK = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*(/[A-Za-z0-9][A-Za-z0-9._-]*)+\.ya?ml")
HOSTS = re.compile(r"[A-Za-z0-9*!&][A-Za-z0-9.,:*!&_\[\]-]{0,199}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
OURS = "greenlane"
# What Ansible reads in JSON as something else than data.
MARKED = "__ansible"


@contextmanager
def _place(call: Call) -> Iterator[Workspace]:
    """Hold the instance's folder, free of what a killed run left: its variables hold passwords."""
    with workspace(call, PLACE) as held:
        shutil.rmtree(held.folder / RUN, ignore_errors=True)
        yield held


class Ansible(Connector):
    """Delivers what a playbook makes. Playbooks do nothing twice, so a second run goes on where the first stopped."""

    idempotency = "lookup"

    def start(self, call: Call) -> Done:
        """Run the playbook."""
        return self._run(call)

    def update(self, call: Call) -> Done:
        """Run the playbook again, with the inputs of now."""
        return self._run(call)

    def rotate(self, call: Call) -> Done:
        """Run the playbook again, with the new passwords."""
        if not call.secrets:
            raise Failed("This service has no password to change.", left_nothing=True)
        return self._run(call)

    def undo(self, call: Call) -> Done:
        """Run the playbook that takes back what the first one made."""
        playbook, takes_back = _playbook(call, "playbook"), call.inputs.get("undo_playbook")
        with _place(call) as held:
            begun = _begun(held)
            if playbook.name not in begun and not call.was_done:
                return Done(detail="There was nothing to take back.")
            if not takes_back:
                raise Failed(
                    f"The workflow names no undo_playbook: take back by hand what the playbook {playbook.name} made."
                )
            result = _playbook(call, "undo_playbook").run(held, _variables(call), limit=_limit(call))
            _remember(held, begun - {playbook.name})
        return Done(detail=f"The undo playbook ended well: {result.summary}.")

    def describe(self, call: Call) -> Done:
        """Run the playbook in check mode: Failed where it would change something."""
        playbook = _playbook(call, "playbook")
        with _place(call) as held:
            if playbook.name not in _begun(held):
                raise Missing("The playbook has never run for this service.")
            result = playbook.run(held, _variables(call), limit=_limit(call), is_check=True)
        if result.changed:
            raise Failed(f"It differs from what was ordered: the playbook would change it ({result.summary}).")
        return Done(detail="Ansible finds it as ordered.", outputs=_outputs(call, result, is_check=True))

    def preview(self, call: Call) -> Done:
        """Run the playbook in check mode, with the differences in the log; nothing is changed."""
        playbook = _playbook(call, "playbook")
        with _place(call) as held:
            result = playbook.run(held, _variables(call), limit=_limit(call), is_check=True)
        return Done(detail=f"The playbook would do this: {result.summary}.")

    def _run(self, call: Call) -> Done:
        playbook, variables = _playbook(call, "playbook"), _variables(call)
        limit = _limit(call)
        with _place(call) as held:
            playbook.prepare(held)
            _remember(held, _begun(held) | {playbook.name})
            result = playbook.run(held, variables, limit=limit)
        return Done(
            outputs=_outputs(call, result),
            detail=f"The playbook ended well: {result.summary}.",
            external_ref=playbook.name,
        )


def _playbook(call: Call, key: str) -> Playbook:
    """Give the playbook `project/path.yml` that an input names. Raises Failed for any other place."""
    given = call.inputs.get(key)
    if not isinstance(given, str) or not PLAYBOOK.fullmatch(given):
        raise Failed(
            f"The input {key} must name a project and a playbook in it, such as “web/site.yml”.", left_nothing=True
        )
    project, _, path = given.partition("/")
    return Project(project).playbook(path)


def _limit(call: Call) -> str:
    given = call.inputs.get("limit", "")
    if given and (not isinstance(given, str) or not HOSTS.fullmatch(given)):
        raise Failed("The input limit must be a pattern of hosts.", left_nothing=True)
    return str(given)


def _variables(call: Call) -> dict[str, Any]:
    """Give the extra variables: the workflow's, and what is known of the call as `greenlane`. All texts are data."""
    given = call.inputs.get("variables", {})
    names = list(given) if isinstance(given, dict) else [""]
    if not all(VARIABLE.fullmatch(name) and name != OURS for name in names):
        raise Failed(
            f"The input variables must be an object of values by the names of variables, without “{OURS}”.",
            left_nothing=True,
        )
    if not isinstance(call.inputs.get("outputs", []), list | dict):
        raise Failed("The input outputs must be a list of names that the playbook sets.", left_nothing=True)
    ours = {
        "operation": call.operation,
        "instance_id": str(call.instance_id),
        "instance_name": call.instance_name,
        "idempotency_key": str(call.idempotency_key),
        "fencing_token": call.fencing_token,
        "outputs": call.outputs,
        "secrets": call.secrets,
    }
    variables = as_data({**given, OURS: ours}, "The input variables")
    return {name: _unsafe(value) for name, value in variables.items()}


def _unsafe(value: Any) -> Any:
    """Mark every text so that Ansible never reads it as a template."""
    if isinstance(value, str):
        return {"__ansible_unsafe": value}
    if isinstance(value, list):
        return [_unsafe(one) for one in value]
    if isinstance(value, dict):
        if any(str(name).startswith(MARKED) for name in value):
            raise Failed(f"Names in the input variables may not begin with {MARKED}.", left_nothing=True)
        return {name: _unsafe(one) for name, one in value.items()}
    return value


def _outputs(call: Call, result: RunResult, *, is_check: bool = False) -> dict[str, Any]:
    """Give what the playbook set with set_stats, as the input `outputs` picks and names it."""
    wanted = call.inputs.get("outputs")
    if wanted is None:
        return result.stats
    named = wanted if isinstance(wanted, dict) else {name: name for name in wanted}
    lacking = [source for source in named.values() if source not in result.stats]
    if lacking and not is_check:
        raise Failed(f"The playbook set no “{lacking[0]}” (with set_stats).")
    return {name: result.stats[source] for name, source in named.items() if source in result.stats}


def _begun(held: Workspace) -> set[str]:
    """List the playbooks that were begun for this instance and not taken back."""
    path = held.folder / "begun.json"
    return set(json.loads(path.read_text())) if path.exists() else set()


def _remember(held: Workspace, names: set[str]) -> None:
    write_whole(held.folder / "begun.json", json.dumps(sorted(names)))
