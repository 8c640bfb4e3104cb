"""Objects in a Kubernetes cluster: applied by the server, watched until they work, deleted with what is theirs."""

import base64
from collections.abc import Iterable
from typing import Any

from core import secrets
from provisioning.connectors import kubernetes_api as api
from provisioning.connectors.base import Answer, Call, Connector, Done, Failed, Missing, Retry, Working
from provisioning.connectors.http_answers import found_at
from provisioning.connectors.kubernetes_objects import Wanted, is_name, is_ours, sent, uses_secrets, wanted_of, wrong
from provisioning.connectors.kubernetes_ready import waits_for

POLL_SECONDS = 3.0
Object = dict[str, Any]


class Kubernetes(Connector):
    """Brings the objects of `manifests` about. Ours carry the instance's id as the label `greenlane/instance`.

    Its reference is the paths of the objects, one a line: what undoing has to look at, whatever the workflow says then.
    """

    idempotency = "lookup"

    def start(self, call: Call) -> Answer:
        """Apply all objects, none where any is somebody else's, and see whether they work."""
        placed = _placed(call)
        _refuse_foreign(call, placed)
        return _state(call, placed, _applied(call, placed))

    def last_operation(self, call: Call) -> Answer:
        """Say what the objects still lack, or whether those to delete are gone."""
        if call.operation == "undo":
            return self.undo(call)
        placed = _placed(call)
        if call.operation == "update":
            return self._changed(call, placed)
        return _state(call, placed, {path: _read(call, path, wanted) for path, wanted in placed.items()})

    def update(self, call: Call) -> Answer:
        """Apply the objects as they are to be, then delete those that are wanted no longer.

        What there will be for a while is noted first, so that taking back half a change leaves nothing of it.
        """
        placed = _placed(call)
        if placed.keys() - _paths(call):
            _refuse_foreign(call, placed)
            both = [*_paths_in_order(call), *(path for path in placed if path not in _paths(call))]
            return Working(0.0, detail="The change begins.", external_ref="\n".join(both))
        return self._changed(call, placed)

    def undo(self, call: Call) -> Answer:
        """Delete our objects, last first, each after what belongs to it; done when all are gone."""
        call.check()
        left = _deleted(call, reversed(_to_delete(call)))
        if left:
            return Working(POLL_SECONDS, detail=f"Waits for {left} object{'s' * (left > 1)} to go.")
        return Done(detail="All its objects are gone.")

    def describe(self, call: Call) -> Answer:
        """Look whether all objects are there, are ours and work. Raises Missing where one is gone."""
        placed = _placed(call)
        found = {path: _read(call, path, wanted, gone=Missing) for path, wanted in placed.items()}
        answer = _state(call, placed, found)
        if isinstance(answer, Working):
            raise Failed(answer.detail)
        return answer

    def preview(self, call: Call) -> Answer:
        """Have the cluster say what it would do, as a dry run of the same calls."""
        placed = _placed(call)
        _refuse_foreign(call, placed)
        for path, wanted in placed.items():
            _, is_new = api.apply(call, path, wanted, sent(call, wanted), dry_run=True)
            call.log(f"{wanted}: would be {'made' if is_new else 'changed'}")
        return Done(detail="The cluster would take all objects.")

    def rotate(self, call: Call) -> Answer:
        """Apply the objects that hold passwords, with the new ones."""
        placed = {path: wanted for path, wanted in _placed(call).items() if uses_secrets(wanted.body)}
        if not placed:
            raise Failed("No object of this service holds a password.")
        for path, wanted in placed.items():
            _read(call, path, wanted, gone=Missing)
        _applied(call, placed)
        return Done(detail="The cluster has the new password.")

    def _changed(self, call: Call, placed: dict[str, Wanted]) -> Answer:
        _refuse_foreign(call, placed)
        found = _applied(call, placed)
        left = _deleted(call, (path for path in reversed(_paths_in_order(call)) if path not in placed))
        if left:
            return Working(POLL_SECONDS, detail="Waits for objects that are wanted no longer to go.")
        return _state(call, placed, found)


def _placed(call: Call) -> dict[str, Wanted]:
    """Give the wanted objects by their paths, in the workflow's order."""
    call.check()
    objects = wanted_of(call)
    _check_places(call, objects)
    return {api.path_of(call, wanted): wanted for wanted in objects}


def _check_places(call: Call, objects: list[Wanted]) -> None:
    """Raise Failed, before anything is made, for outputs and conditions that nobody could read."""
    ready, outputs, passwords = (call.inputs.get(name) or {} for name in ("ready", "outputs", "secret_outputs"))
    if not all(isinstance(one, dict) for one in (ready, outputs, passwords)):
        raise wrong("“ready” must be conditions by kind, “outputs” and “secret_outputs” places by name")
    for output, place in passwords.items():
        if not is_name(str(place).partition("#")[0]) or "#" not in str(place) or not call.inputs.get("namespace"):
            raise wrong(f"the password “{output}” must be read from “secret-name#key” in the step's namespace")
    for output, place in outputs.items():
        kind, name, pointer = _place(place)
        fitting = [one for one in objects if one.kind == kind and name in {"", one.name}]
        if not pointer.startswith("/") or len(fitting) != 1 or kind == "Secret":
            raise wrong(f"the output “{output}” must be read from one object of the step that is no Secret")


def _place(place: Any) -> tuple[str, str, str]:
    """Take `Kind/name#/json/pointer` apart; the name may be left out."""
    of, _, pointer = str(place).partition("#")
    kind, _, name = of.partition("/")
    return kind, name, pointer


def _paths_in_order(call: Call) -> list[str]:
    return [path for path in call.external_ref.splitlines() if path.startswith(("/api/", "/apis/"))]


def _paths(call: Call) -> set[str]:
    return set(_paths_in_order(call))


def _to_delete(call: Call) -> list[str]:
    """Give the paths of all that may be there: what the reference has, and what the workflow wants."""
    known = _paths_in_order(call)
    try:
        placed = list(_placed(call))
    except Failed as error:
        if not known:
            raise
        call.log(f"{error} Only what is known to be there is deleted.")
        placed = []
    return list(dict.fromkeys([*known, *placed]))


def _refuse_foreign(call: Call, placed: dict[str, Wanted]) -> None:
    """Raise Failed where an object is there that is not ours, Retry where one of ours is still being deleted."""
    for path, wanted in placed.items():
        found = api.read(call, path)
        if found is None:
            continue
        if not is_ours(found, call):
            raise Failed(f"{wanted} is there already and Greenlane did not make it.", left_nothing=call.attempt <= 1)
        if found["metadata"].get("deletionTimestamp"):
            raise Retry(f"{wanted} is still being deleted.", after=POLL_SECONDS, is_fault=False)


def _applied(call: Call, placed: dict[str, Wanted]) -> dict[str, Object]:
    """Apply objects one by one; give them as they are now. A refusal of a later one has left those before it."""
    found: dict[str, Object] = {}
    bodies = {path: sent(call, wanted) for path, wanted in placed.items()}
    for path, wanted in placed.items():
        try:
            found[path], is_new = api.apply(call, path, wanted, bodies[path])
        except Failed as error:
            raise Failed(str(error), left_nothing=error.left_nothing and not found) from error
        call.log(f"{wanted}: {'made' if is_new else 'applied'}")
    return found


def _read(call: Call, path: str, wanted: Wanted, *, gone: type[Failed] = Failed) -> Object:
    found = api.read(call, path)
    if found is None:
        raise gone(f"{wanted} is not there any more.")
    if not is_ours(found, call):
        raise Failed(f"{wanted} is there, but Greenlane did not make it.")
    return found


def _deleted(call: Call, paths: Iterable[str]) -> int:
    """Delete what is ours at `paths`, in their order; give how many are still there."""
    left = 0
    for path in paths:
        found = api.read(call, path)
        if found is None:
            continue
        if not is_ours(found, call):
            call.log(f"{path} is not ours and is left alone.")
            continue
        left += 1
        if not found["metadata"].get("deletionTimestamp"):
            api.delete(call, path, str(found["metadata"].get("uid", "")))
            call.log(f"{path}: is being deleted")
    return left


def _state(call: Call, placed: dict[str, Wanted], found: dict[str, Object]) -> Answer:
    """Say how far the objects are: Working with what the first of them lacks, or Done with the outputs."""
    refs = "\n".join(dict.fromkeys([*_paths_in_order(call), *placed]))
    for path, wanted in placed.items():
        lacking = waits_for(found[path], call.inputs.get("ready") or {})
        if lacking:
            return Working(POLL_SECONDS, detail=f"{wanted} waits for {lacking}.", external_ref=refs)
    outputs: dict[str, Any] = {}
    for output, place in (call.inputs.get("outputs") or {}).items():
        kind, name, pointer = _place(place)
        path = next(path for path, one in placed.items() if one.kind == kind and name in {"", one.name})
        try:
            outputs[output] = found_at(found[path], pointer)
        except LookupError:
            return Working(POLL_SECONDS, detail=f"Waits for {placed[path]} to have {pointer}.", external_ref=refs)
    passwords: dict[str, str] = {}
    # A change keeps them, and so whether they were shown.
    read = call.inputs.get("secret_outputs") or {} if call.operation != "update" else {}
    for output, place in read.items():
        passwords[output] = _password(call, place)
        if not passwords[output]:
            return Working(POLL_SECONDS, detail="Waits for its password.", external_ref=refs)
    return Done(outputs, detail="It runs in the cluster.", external_ref="\n".join(placed), secrets=passwords)


def _password(call: Call, place: str) -> str:
    """Read what `name#key` of a Secret in the step's namespace holds; an empty text where it is not there yet."""
    name, _, key = place.partition("#")
    found = api.read(call, api.path_of_secret(str(call.inputs["namespace"]), name)) or {}
    data = found.get("data")
    held = data.get(key) if isinstance(data, dict) else None
    try:
        password = base64.b64decode(str(held or ""), validate=True).decode()
    except ValueError:
        raise Failed(f"The key “{key}” of the Secret {name} holds no text.") from None
    secrets.remember(password)
    return password
