"""What a Terraform module describes, made by `tofu` or `terraform`: one state for each service instance and step.

The program runs as a process (child.py) in a copy of the module below settings.WORK_ROOT, with the variables as a file
of data. Its machine-readable log (`-json`, both programs since 1.0) tells what happens and why it failed.
"""

import json
import re
from dataclasses import replace
from typing import Any

from provisioning.connectors.base import Call, Connector, Done, Failed, Missing
from provisioning.connectors.child import as_data, workspace
from provisioning.connectors.terraform_module import Module

# Terraform that is asked to end waits for what its providers are at, and saves its state.
GRACE_SECONDS = 60.0
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
VARIABLE = re.compile(r"[A-Za-z_][A-Za-z0-9_-]*")


class Terraform(Connector):
    """Delivers what a module describes."""

    idempotency = "lookup"

    def start(self, call: Call) -> Done:
        """Apply the module, or go on applying it: its state says what is there."""
        variables = _variables(call)
        with workspace(call, _place(call), grace=GRACE_SECONDS) as held:
            module = Module(held, _name(call))
            module.begin(variables)
            module.apply()
            return _done(call, module)

    def update(self, call: Call) -> Done:
        """Apply the module again, as it is now and with the inputs of now."""
        variables = _variables(call)
        with workspace(call, _place(call), grace=GRACE_SECONDS) as held:
            module = Module(held, _name(call))
            if not module.is_begun:
                raise Failed("There is nothing to change: this service's workspace is empty.", left_nothing=True)
            module.begin(variables)
            module.apply()
            return _done(call, module)

    def undo(self, call: Call) -> Done:
        """Destroy what the state knows, with the copy of the module that made it."""
        with workspace(call, _place(call), grace=GRACE_SECONDS) as held:
            module = Module(held, _name(call))
            if not module.is_known and call.was_done:
                raise Failed(
                    "The Terraform state of this service is gone, so nobody knows what to remove. "
                    "Look for it by hand, and check that WORK_ROOT is the same folder for all workers."
                )
            if not module.is_begun:
                return Done(detail="There was nothing to remove.")
            module.resume()
            count = len(module.resources())
            if count:
                module.destroy()
            module.forget()
        return Done(detail=f"Removed {_counted(count)}." if count else "There was nothing to remove.")

    def describe(self, call: Call) -> Done:
        """Plan anew: Missing where nothing is left, Failed where something differs from what was ordered."""
        with workspace(call, _place(call), grace=GRACE_SECONDS) as held:
            module = Module(held, _name(call))
            if not module.is_begun:
                raise Missing("Terraform knows nothing of this service.")
            module.resume()
            known = module.resources()
            plan = module.plan()
            done = _done(call, module)
        if not known or len(plan.gone) >= len(known):
            raise Missing("What Terraform made is not there any more.")
        if plan.differences:
            raise Failed(f"It differs from what was ordered: {', '.join(plan.differences[:5])}.")
        return replace(done, detail=f"Terraform finds {_counted(len(known))} as ordered.")

    def preview(self, call: Call) -> Done:
        """Plan, and change nothing: neither the state nor anything else."""
        variables = _variables(call)
        with workspace(call, _place(call), grace=GRACE_SECONDS) as held:
            plan = Module(held, _name(call)).preview(variables)
        return Done(detail=plan.summary)


def _done(call: Call, module: Module) -> Done:
    values = module.outputs()
    hidden = {name for name, value in values.items() if value.get("sensitive")}
    wanted = _wanted(call, "outputs", {name: name for name in values})
    secret = _wanted(call, "secret_outputs", {name: name for name in hidden})
    lacking = sorted({*wanted.values(), *secret.values()} - values.keys())
    if lacking:
        raise Failed(f"The module has no output “{lacking[0]}”.")
    secret |= {name: source for name, source in wanted.items() if source in hidden}
    count = len(module.resources())
    return Done(
        outputs={name: values[source]["value"] for name, source in wanted.items() if name not in secret},
        secrets={name: _as_text(values[source]["value"]) for name, source in secret.items()},
        detail=f"Terraform made {_counted(count)}.",
        external_ref=f"{call.instance_id.hex}/{_place(call)}",
    )


def _wanted(call: Call, key: str, otherwise: dict[str, str]) -> dict[str, str]:
    """Read which outputs are wanted, as {our name: the module's name}."""
    given = call.inputs.get(key)
    if given is None:
        return otherwise
    if isinstance(given, list) and all(isinstance(name, str) for name in given):
        return {name: name for name in given}
    if isinstance(given, dict) and all(isinstance(name, str) for name in given.values()):
        return dict(given)
    raise Failed(f"The input {key} must be a list of the module's outputs, or an object of such by new names.")


def _variables(call: Call) -> dict[str, Any]:
    """Check what can be checked before anything is made. Raises Failed."""
    variables = call.inputs.get("variables", {})
    if not isinstance(variables, dict) or not all(VARIABLE.fullmatch(name) for name in variables):
        raise Failed("The input variables must be an object of values by the names of variables.", left_nothing=True)
    try:
        for key in ("outputs", "secret_outputs"):
            _wanted(call, key, {})
    except Failed as error:
        raise Failed(str(error), left_nothing=True) from error
    return dict(as_data(variables, "The input variables"))


def _name(call: Call) -> str:
    """Give the module's name, which is that of a folder and no path."""
    return _checked(call.inputs.get("module"), "module")


def _place(call: Call) -> str:
    """Give the name of the step's folder: that of its first run, else the input `workspace`, else the module."""
    first, _, kept = call.external_ref.partition("/")
    if first == call.instance_id.hex and NAME.fullmatch(kept.removeprefix("terraform-")):
        return kept
    own = _checked(call.inputs["workspace"], "workspace") if "workspace" in call.inputs else _name(call)
    return f"terraform-{own}"


def _checked(given: Any, key: str) -> str:
    if not isinstance(given, str) or not NAME.fullmatch(given):
        raise Failed(f"The input {key} must be a name of letters, digits, hyphens and underscores.", left_nothing=True)
    return given


def _as_text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)


def _counted(count: int) -> str:
    return "1 thing" if count == 1 else f"{count} things"
