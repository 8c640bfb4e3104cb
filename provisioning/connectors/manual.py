"""Work that a person does: the step waits until somebody has noted that it is done."""

from typing import Any

from accounts.models import Role
from provisioning.connectors.base import Answer, Call, Connector, Done, Failed, Waiting

LONGEST_TITLE = 120
MOST_HOURS = 24 * 90


class Manual(Connector):
    """Gives a task to the people of a role."""

    idempotency = "key"

    def start(self, call: Call) -> Waiting:
        """Ask a person of the role to do it, and say which outputs he has to enter."""
        call.check()
        role = _role(call)
        return Waiting(
            detail="A person does this by hand.",
            task={
                "title": (call.step_name or f"Set up {call.instance_name}")[:LONGEST_TITLE],
                "instructions": str(call.inputs.get("instructions", "")),
                "role": role.value,
                "output_fields": _output_fields(call),
                "due_hours": _due_hours(call),
            },
        )

    def undo(self, call: Call) -> Answer:
        """Ask a person to take it back; where nobody had done it, there is nothing to take back."""
        call.check()
        if not call.was_done:
            return Done(detail="Nobody had done it yet: nothing to take back.")
        role = _role(call)
        known = "\n".join(f"- {name}: {value}" for name, value in sorted(call.outputs.items()))
        return Waiting(
            detail="A person takes this back by hand.",
            task={
                "title": f"Take back {call.instance_name}"[:LONGEST_TITLE],
                "instructions": "The order was stopped after this had been done. Undo it, then note it here."
                + (f"\n\nWhat is known about it:\n\n{known}" if known else ""),
                "role": role.value,
                "output_fields": [],
                "due_hours": _due_hours(call),
            },
        )

    def describe(self, call: Call) -> Done:
        """Nobody but a person could look."""
        raise Failed("What a person has set up cannot be checked by itself.")


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
