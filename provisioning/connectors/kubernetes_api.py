"""Kubernetes' API as plain REST: where an object is, reading, server-side apply, deleting."""

import json
import threading
import time
from typing import Any
from urllib.parse import quote, urlencode

from core import egress
from provisioning.connectors import calling
from provisioning.connectors.base import Call, Failed, Retry
from provisioning.connectors.kubernetes_objects import Wanted, wrong

MANAGER = "greenlane"
CACHE_SECONDS = 60.0
MOST_CACHED = 200
OK, CREATED, ACCEPTED, NOT_FOUND, CONFLICT = 200, 201, 202, 404, 409

# Which names and scopes the kinds of a group have there, by back end and version: (until when, {kind: (name, ...)}).
_known: dict[tuple[str, str, str], tuple[float, dict[str, tuple[str, bool]]]] = {}
_lock = threading.Lock()


def path_of(call: Call, wanted: Wanted) -> str:
    """Give the path of an object, as the API says where its kind is. Raises Failed where there is no such kind."""
    name, is_namespaced = _resource(call, wanted)
    if is_namespaced and not wanted.namespace:
        raise wrong(f"{wanted} needs a namespace")
    where = f"namespaces/{quote(wanted.namespace)}/" if is_namespaced else ""
    return f"{_root(wanted.version)}/{where}{name}/{quote(wanted.name)}"


def path_of_secret(namespace: str, name: str) -> str:
    """Give the path of a Secret."""
    return f"/api/v1/namespaces/{quote(namespace)}/secrets/{quote(name)}"


def read(call: Call, path: str) -> dict[str, Any] | None:
    """Read an object; None where it is not there."""
    answer = calling.request(call, "GET", path, accept={OK, NOT_FOUND})
    return None if answer.status == NOT_FOUND else _with_metadata(answer)


def apply(
    call: Call, path: str, wanted: Wanted, body: dict[str, Any], *, dry_run: bool = False
) -> tuple[dict[str, Any], bool]:
    """Bring an object in line with `body` by server-side apply; give it as it is now, and whether it is new.

    Fields that somebody else manages are not taken from him: raises Failed, as for whatever else is refused.
    """
    call.check()
    query = {"fieldManager": MANAGER, "force": "false"} | ({"dryRun": "All"} if dry_run else {})
    answer = calling.request(
        call,
        "PATCH",
        f"{path}?{urlencode(query)}",
        # JSON is YAML, and is what cannot be written in a way that means something else.
        body=json.dumps(body, ensure_ascii=False, allow_nan=False).encode(),
        headers={"Content-Type": "application/apply-patch+yaml"},
    )
    if answer.status not in {OK, CREATED}:
        raise _refusal(call, wanted, answer)
    return _with_metadata(answer), answer.status == CREATED


def delete(call: Call, path: str, uid: str) -> None:
    """Delete the object that has `uid`, after all that belongs to it. One that is gone or is another is left alone."""
    call.check()
    body = {"propagationPolicy": "Foreground", "preconditions": {"uid": uid}}
    options = {"apiVersion": "v1", "kind": "DeleteOptions", **body}
    calling.request(call, "DELETE", path, json=options, accept={OK, ACCEPTED, NOT_FOUND, CONFLICT})


def _refusal(call: Call, wanted: Wanted, answer: egress.Answer) -> Retry | Failed:
    refusal = calling.refusal(call, answer)
    if isinstance(refusal, Retry):
        return refusal
    return Failed(f"{wanted}: {refusal}", left_nothing=refusal.left_nothing)


def _resource(call: Call, wanted: Wanted) -> tuple[str, bool]:
    """Give the name of a kind in addresses, and whether its objects are in namespaces."""
    back_end = calling.back_end_of(call)
    place = (back_end.slug, back_end.address, wanted.version)
    until, kinds = _known.get(place, (0.0, {}))
    if time.monotonic() >= until or wanted.kind not in kinds:
        kinds = _discovered(call, wanted.version)
        with _lock:
            if len(_known) >= MOST_CACHED:
                _known.clear()
            _known[place] = (time.monotonic() + CACHE_SECONDS, kinds)
    if wanted.kind not in kinds:
        raise Failed(f"The cluster knows no {wanted.kind} of {wanted.version}.", left_nothing=call.attempt <= 1)
    return kinds[wanted.kind]


def _discovered(call: Call, version: str) -> dict[str, tuple[str, bool]]:
    answer = calling.request(call, "GET", _root(version), accept={OK, NOT_FOUND})
    if answer.status == NOT_FOUND:
        return {}
    rows = _object(answer).get("resources")
    if not isinstance(rows, list):
        raise Retry("The cluster does not say which kinds it knows.")
    return {
        str(row["kind"]): (quote(str(row["name"])), row.get("namespaced") is True)
        for row in rows
        if isinstance(row, dict) and "kind" in row and "/" not in str(row.get("name", "/"))
    }


def _root(version: str) -> str:
    return f"/apis/{version}" if "/" in version else f"/api/{version}"


def _with_metadata(answer: egress.Answer) -> dict[str, Any]:
    found = _object(answer)
    if not isinstance(found.get("metadata"), dict):
        raise Retry("The cluster is not there: something answers, but not with an object that has metadata.")
    return found


def _object(answer: egress.Answer) -> dict[str, Any]:
    try:
        found = answer.json()
    except egress.BadAnswer as error:
        raise Retry(f"The cluster is not there: {error}") from error
    if not isinstance(found, dict):
        raise Retry("The cluster is not there: something answers, but not with an object.")
    return found
