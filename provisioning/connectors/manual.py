"""Work that a person does: the step waits until somebody has noted that it is done."""

import json
from typing import Any

from accounts.models import Role
from provisioning.connectors.base import Answer, Call, Connector, Done, Failed, Waiting

LONGEST_TITLE, LONGEST_VALUE = 120, 500
MOST_HOURS = 24 * 90


class Manual(Connector):
    """Gives a task to the people of a role."""

    idempotency = "key"

    def start(self, call: Call) -> Waiting:
        """Ask a person of the role to do it, and say which outputs he has to enter."""
        call.check()
        title = call.step_name or f"Set up {call.instance_name}"
        return _ask(
            call,
            "A person does this by hand.",
            title,
            str(call.inputs.get("instructions", "")),
            _output_fields(call),
        )

    def update(self, call: Call) -> Answer:
        """Ask a person to change what was done; where nothing differs for him, nobody is asked."""
        call.check()
        changes = _changes(call)
        if not changes:
            return Done(detail="Nothing changes in what a person has set up.")
        listed = "\n".join(f"- {name}: {_shown(old)} becomes {_shown(new)}" for name, old, new in changes)
        text = f"What was ordered has changed. Change it, then note it here.\n\n{listed}"
        said = str(call.inputs.get("instructions", ""))
        fields = [field | {"optional": True} for field in _output_fields(call)]
        return _ask(
            call,
            "A person changes this by hand.",
            f"Change {call.instance_name}",
            text + (f"\n\nHow it was set up:\n\n{said}" if said else ""),
            fields,
        )

    def undo(self, call: Call) -> Answer:
        """Ask a person to take it back; where nobody had done it, there is nothing to take back."""
        call.check()
        if not call.was_done:
            return Done(detail="Nobody had done it yet: nothing to take back.")
        known = "\n".join(f"- {name}: {_shown(value)}" for name, value in sorted(call.outputs.items()))
        return _ask(
            call,
            "A person takes this back by hand.",
            f"Take back {call.instance_name}",
            "This was done by hand. The order was stopped, or the service is to be removed: undo it, then note it here."
            + (f"\n\nWhat is known about it:\n\n{known}" if known else ""),
            [],
        )

    def describe(self, call: Call) -> Done:
        """Nobody but a person could look."""
        raise Failed("What a person has set up cannot be checked by itself.")


def _ask(call: Call, detail: str, title: str, instructions: str, fields: list[dict[str, Any]]) -> Waiting:
    """Hand the task to the people of its role."""
    return Waiting(
        detail=detail,
        task={
            "title": title[:LONGEST_TITLE],
            "instructions": instructions,
            "role": _role(call).value,
            "output_fields": fields,
            "due_hours": _due_hours(call),
        },
    )


def _changes(call: Call) -> list[tuple[str, Any, Any]]:
    """List what differs from what was in force: plan, limits, parameters; each with its name, old and new value."""
    now, before = call.context, call.before
    changes = [("plan", before.get("plan"), now.get("plan"))]
    for group in ("limits", "parameters"):
        old, new = before.get(group) or {}, now.get(group) or {}
        changes += [(name.replace("_", " "), old.get(name), new.get(name)) for name in sorted(old.keys() | new.keys())]
    return [(name, old, new) for name, old, new in changes if old != new]


def _shown(value: Any) -> str:
    """Write a value within Markdown, as text that formats and links nothing."""
    if value is None:
        return "nothing"
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    line = " ".join(text.split()).replace("`", "'")[:LONGEST_VALUE]
    return f"`{line}`" if line else "nothing"


def _role(call: Call) -> Role:
    wanted = call.inputs.get("assignee_role", Role.IT_ADMIN)
    if wanted not in Role.values:
        raise Failed(f"assignee_role must be one of: {', '.join(Role.values)}.")
    return Role(wanted)


def _output_fields(call: Call) -> list[dict[str, Any]]:
    """Give the fields to fill in, each with name and title; `optional` ones may stay empty."""
    fields = call.inputs.get("output_fields", [])
    if not isinstance(fields, list):
        raise Failed("output_fields must be a list.")
    return [_output_field(field) for field in fields]


def _output_field(field: Any) -> dict[str, Any]:
    known = {"name": field} if isinstance(field, str) else field
    if not isinstance(known, dict) or not isinstance(known.get("name"), str) or not known["name"]:
        raise Failed("Each of output_fields must be a name, or an object with name and title.")
    title = known.get("title") or known["name"].replace("_", " ").capitalize()
    return {"name": known["name"], "title": str(title), "optional": bool(known.get("optional", False))}


def _due_hours(call: Call) -> float | None:
    hours = call.inputs.get("due_hours")
    if hours is None:
        return None
    if isinstance(hours, bool) or not isinstance(hours, int | float) or not 0 < hours <= MOST_HOURS:
        raise Failed(f"due_hours must be a number above 0 and at most {MOST_HOURS}.")
    return hours
