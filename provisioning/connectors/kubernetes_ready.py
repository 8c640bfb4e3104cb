"""Whether a Kubernetes object does what it is for, from what its controllers write into its status. Pure."""

from collections.abc import Callable, Mapping
from typing import Any

from provisioning.connectors.base import Failed

Object = Mapping[str, Any]
# A word for `ready` beside the types of conditions: it is enough that the object is there.
EXISTS = "exists"


def waits_for(found: Object, ready: Mapping[str, Any]) -> str:
    """Say what an object still lacks, in a few words; an empty text where it is ready.

    `ready` names a condition by kind, or EXISTS, and goes before what is usual for the kind. Raises Failed where the
    object says itself that it will never be ready.
    """
    kind = str(found.get("kind", ""))
    wanted = ready.get(kind)
    if wanted == EXISTS:
        return ""
    if wanted:
        return _lacks_condition(found, str(wanted))
    usual = USUAL.get(kind)
    if usual is not None and _group(found) in BUILT_IN:
        return usual(found)
    return _lacks_condition(found, "Ready") if _condition(found, "Ready") else ""


def _deployment(found: Object) -> str:
    progress = _condition(found, "Progressing")
    if _is_current(found) and progress.get("status") == "False":
        raise Failed(f"{_named(found)} does not come up: {_words(progress)}.")
    wanted, status = found.get("spec", {}).get("replicas", 1), _status(found)
    if not _is_current(found) or status.get("updatedReplicas", 0) < wanted:
        return "its new pods"
    return _lacks_condition(found, "Available")


def _stateful_set(found: Object) -> str:
    wanted, status = found.get("spec", {}).get("replicas", 1), _status(found)
    ready = min(status.get("readyReplicas", 0), status.get("updatedReplicas", status.get("readyReplicas", 0)))
    return "" if _is_current(found) and ready >= wanted else f"{wanted} ready pods"


def _daemon_set(found: Object) -> str:
    status = _status(found)
    wanted = status.get("desiredNumberScheduled", 0)
    ready = min(status.get("numberAvailable", 0), status.get("updatedNumberScheduled", 0))
    return "" if _is_current(found) and ready >= wanted else f"{wanted} ready pods"


def _job(found: Object) -> str:
    failed = _condition(found, "Failed")
    if failed.get("status") == "True":
        raise Failed(f"{_named(found)} has failed: {_words(failed)}.")
    return _lacks_condition(found, "Complete")


def _pod(found: Object) -> str:
    phase = _status(found).get("phase")
    if phase == "Failed":
        raise Failed(f"{_named(found)} has failed: {_words(_status(found))}.")
    return "" if phase == "Succeeded" else _lacks_condition(found, "Ready")


def _phase(wanted: str) -> Callable[[Object], str]:
    def lacks(found: Object) -> str:
        phase = _status(found).get("phase")
        if phase in {"Lost", "Failed"}:
            raise Failed(f"{_named(found)} is {phase}.")
        return "" if phase == wanted else f"the phase {wanted}"

    return lacks


def _service(found: Object) -> str:
    if found.get("spec", {}).get("type") != "LoadBalancer":
        return ""
    return "" if _status(found).get("loadBalancer", {}).get("ingress") else "its address"


USUAL: dict[str, Callable[[Object], str]] = {
    "Deployment": _deployment,
    "StatefulSet": _stateful_set,
    "DaemonSet": _daemon_set,
    "Job": _job,
    "Pod": _pod,
    "PersistentVolumeClaim": _phase("Bound"),
    "Namespace": _phase("Active"),
    "Service": _service,
    "CustomResourceDefinition": lambda found: _lacks_condition(found, "Established"),
}
BUILT_IN = {"", "apps", "batch", "apiextensions.k8s.io"}


def _group(found: Object) -> str:
    return str(found.get("apiVersion", "")).rpartition("/")[0]


def _status(found: Object) -> dict[str, Any]:
    status = found.get("status")
    return status if isinstance(status, dict) else {}


def _is_current(found: Object) -> bool:
    """Tell whether the status speaks of what was last asked for."""
    return bool(_status(found).get("observedGeneration", 0) >= found.get("metadata", {}).get("generation", 0))


def _condition(found: Object, kind: str) -> dict[str, Any]:
    conditions = _status(found).get("conditions")
    rows = [one for one in conditions if isinstance(one, dict)] if isinstance(conditions, list) else []
    return next((one for one in rows if one.get("type") == kind), {})


def _lacks_condition(found: Object, kind: str) -> str:
    condition = _condition(found, kind)
    generation = found.get("metadata", {}).get("generation", 0)
    is_old = condition.get("observedGeneration", generation) < generation
    return "" if condition.get("status") == "True" and not is_old else f"the condition {kind}"


def _named(found: Object) -> str:
    return f"{found.get('kind')} {found.get('metadata', {}).get('name')}"


def _words(said: Mapping[str, Any]) -> str:
    text = str(said.get("message") or said.get("reason") or "it does not say why")
    return " ".join(text.split())[:300].rstrip(".")
