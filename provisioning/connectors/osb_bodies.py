"""What a step tells a service broker: which service and plan, for whom, with which parameters."""

from typing import Any

from provisioning.connectors.base import Call, Failed

PLATFORM = "greenlane"


def ids(call: Call) -> dict[str, str]:
    """Give service and plan as the broker's catalog calls them. Raises Failed where the workflow names none."""
    named = {name: call.inputs.get(name) for name in ("service_id", "plan_id")}
    for name, value in named.items():
        if not isinstance(value, str) or not value:
            raise Failed(f"This step names no {name}: an input of the step or a limit of the plan.", left_nothing=True)
    return {name: str(value) for name, value in named.items()}


def about(call: Call) -> dict[str, Any]:
    """Say for whom: the unit stands for the organization, the cost center for the space within it."""
    unit = str(call.context.get("unit") or "company")
    cost_center = str(call.context.get("cost_center") or unit)
    context = {
        "platform": PLATFORM,
        "instance_name": call.instance_name,
        "organization_guid": unit,
        "space_guid": cost_center,
    }
    return {"context": context, "organization_guid": unit, "space_guid": cost_center}


def parameters_of(call: Call) -> dict[str, Any]:
    """Give the step's own parameters, or else those of the order form, under the names that the broker knows."""
    own = call.inputs.get("parameters")
    if own is not None and not isinstance(own, dict):
        raise Failed("The input “parameters” must be an object.", left_nothing=True)
    return own if own is not None else _named(call, call.context.get("parameters", {}))


def _named(call: Call, parameters: dict[str, Any]) -> dict[str, Any]:
    names = call.inputs.get("parameter_names") or {}
    if not isinstance(names, dict):
        raise Failed("The input “parameter_names” must be an object.", left_nothing=True)
    return {str(names.get(name, name)): value for name, value in parameters.items()}


def changes_in(call: Call, former_plan: str) -> dict[str, Any]:
    """Give plan and parameters where they differ from what was in force."""
    plan_id, parameters = ids(call)["plan_id"], parameters_of(call)
    if call.inputs.get("parameters") is None:
        former = _named(call, call.before.get("parameters", {}))
        parameters = {name: value for name, value in parameters.items() if former.get(name) != value}
    changes: dict[str, Any] = {"plan_id": plan_id} if plan_id != former_plan else {}
    return changes | ({"parameters": parameters} if parameters else {})


def maintenance(inputs: dict[str, Any]) -> dict[str, Any]:
    """Give the maintenance version that `inputs`, or the limits of a plan, name; nothing besides it."""
    info = inputs.get("maintenance_info")
    version = info.get("version") if isinstance(info, dict) else None
    return {"maintenance_info": {"version": version}} if isinstance(version, str) and version else {}
