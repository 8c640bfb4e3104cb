"""A call as a workflow step describes it, read and filled in. docs/connectors.md has the table of all fields."""

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

from django.conf import settings

from provisioning.connectors.base import Call, Failed
from provisioning.connectors.calling import back_end_of

SUCCESS = (200, 201, 202, 204)
POLL_SECONDS = 5.0
OPERATIONS = {"start", "undo", "update", "describe", "rotate"}
# Says that the path is the one that the back end itself named in a Location header.
LOCATION = "location"
# Stands in paths for what the back end calls the thing.
REFERENCE = "{external_ref}"

FIELDS = {"method", "path", "headers", "body", "success", "outputs", "secret_outputs", "external_ref", "poll"}
POLL_FIELDS = {"path", "every", "status", "done", "failed", "detail", "result"}
FORM = "application/x-www-form-urlencoded"
_PATH = re.compile(r"[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*")
_DOTS = re.compile(r"(?:\.|%2e){1,2}", re.IGNORECASE)


@dataclass(frozen=True)
class Poll:
    """How to ask how far the back end got: where, every how many seconds, and which values mean what."""

    path: str
    every: float = POLL_SECONDS
    status: str = ""
    done: tuple[Any, ...] = ()
    failed: tuple[Any, ...] = ()
    detail: str = ""
    result: str = ""


@dataclass(frozen=True)
class Asked:
    """One call and what to read from its answer. Pointers are those of RFC 6901."""

    method: str
    path: str
    headers: Mapping[str, Any]
    body: Any
    success: tuple[int, ...]
    outputs: Mapping[str, str]
    secret_outputs: Mapping[str, str]
    external_ref: str
    poll: Poll | None
    waits: bool


def asked_for(call: Call, operation: str) -> Asked | None:
    """Read what the step says of `operation`; None where it says nothing. Raises Failed for what nobody can do."""
    if operation == "start":
        said = {name: value for name, value in call.inputs.items() if name in FIELDS}
        return _asked(said, "POST", waits=call.inputs.get("wait_for_callback") is True)
    if call.inputs.get(operation) is None:
        return None
    said = _object(call.inputs[operation], operation)
    unknown = sorted(set(said) - FIELDS - {"wait_for_callback"})
    if unknown:
        raise _wrong(f"“{operation}” has no field “{unknown[0]}”")
    method = {"undo": "DELETE", "describe": "GET"}.get(operation, "PUT")
    return _asked(said, method, waits=said.get("wait_for_callback") is True)


def _asked(said: Mapping[str, Any], method: str, *, waits: bool) -> Asked:
    path = said.get("path")
    if not isinstance(path, str) or not path:
        raise _wrong("“path” must say where to call")
    return Asked(
        method=str(said.get("method") or method).upper(),
        path=path,
        headers=_object(said.get("headers", {}), "headers"),
        body=said.get("body"),
        success=_statuses(said.get("success", SUCCESS)),
        outputs=_pointers(said.get("outputs", {}), "outputs"),
        secret_outputs=_pointers(said.get("secret_outputs", {}), "secret_outputs"),
        external_ref=_pointer(said.get("external_ref", ""), "external_ref", also=LOCATION),
        poll=_poll(said.get("poll")),
        waits=waits,
    )


def _poll(said: Any) -> Poll | None:
    if said is None:
        return None
    _object(said, "poll")
    unknown = sorted(set(said) - POLL_FIELDS)
    if unknown:
        raise _wrong(f"“poll” has no field “{unknown[0]}”")
    every = said.get("every", POLL_SECONDS)
    if isinstance(every, bool) or not isinstance(every, int | float) or not 0 < every <= 3600:  # noqa: PLR2004 (an hour)
        raise _wrong("“every” must be a number of seconds, an hour at most")
    for name in ("path", "result"):
        if not isinstance(said.get(name, LOCATION), str):
            raise _wrong(f"“{name}” of “poll” must be text")
    return Poll(
        path=said.get("path") or LOCATION,
        every=float(every),
        status=_pointer(said.get("status", ""), "status"),
        done=_values(said.get("done", ()), "done"),
        failed=_values(said.get("failed", ()), "failed"),
        detail=_pointer(said.get("detail", ""), "detail"),
        result=said.get("result", ""),
    )


def parts_of(external_ref: str) -> tuple[str, str]:
    """Take apart what is kept while the back end works: where to ask, and its name of the thing."""
    if not external_ref.startswith("poll "):
        return "", external_ref
    _, operation, *rest = external_ref.split(" ", 2)
    return operation, rest[0] if rest else ""


def path_of(path: str, external_ref: str) -> str:
    """Fill `{external_ref}`, percent-encoded, into a path whose other values the engine has filled in.

    Raises Failed where the back end has told no reference, and for a path that would lead somewhere else.
    """
    if REFERENCE in path and not external_ref:
        raise Failed("The back end never said what it calls the thing; somebody has to look for it there.")
    filled = path.replace(REFERENCE, quote(external_ref, safe=""))
    where = filled.partition("?")[0]
    if not _PATH.fullmatch(filled) or any(_DOTS.fullmatch(part) for part in where.split("/")) or "//" in where:
        raise Failed("The path of this step leads somewhere else than it says.", left_nothing=True)
    return filled


def content_of(asked: Asked, call: Call) -> tuple[dict[str, str], bytes | None]:
    """Give headers and body with the step's passwords in their places. Raises Failed for a place without a value."""
    headers = {name: _text(_filled(value, call), name) for name, value in asked.headers.items()}
    if asked.body is None:
        return headers, None
    kind = next((value for name, value in headers.items() if name.lower() == "content-type"), "")
    if isinstance(asked.body, str):
        return headers if kind else headers | {"Content-Type": "text/plain; charset=utf-8"}, asked.body.encode()
    body = _filled(asked.body, call)
    if kind.partition(";")[0].strip().lower() == FORM:
        pairs = {name: _text(value, name) for name, value in _object(body, "body").items()}
        return headers, urlencode(pairs).encode()
    content = json.dumps(body, ensure_ascii=False, allow_nan=False).encode()
    return headers if kind else headers | {"Content-Type": "application/json"}, content


def _filled(value: Any, call: Call) -> Any:
    """Replace {"$secret": name} and {"$call": name}. Only whole objects count, so no text can ask for a password."""
    if isinstance(value, list):
        return [_filled(item, call) for item in value]
    if not isinstance(value, dict):
        return value
    if set(value) == {"$secret"}:
        return _known(call.secrets, value["$secret"], "password")
    if set(value) == {"$call"}:
        return _known(_facts(call), value["$call"], "fact")
    return {name: _filled(item, call) for name, item in value.items()}


def _known(values: Mapping[str, str], name: object, kind: str) -> str:
    if not isinstance(name, str) or name not in values:
        raise _wrong(f"there is no {kind} “{str(name)[:40]}”")
    return values[name]


def _facts(call: Call) -> dict[str, str]:
    slug = back_end_of(call).slug
    return {
        "idempotency_key": str(call.idempotency_key),
        "external_ref": parts_of(call.external_ref)[1],
        "callback_url": f"{settings.PUBLIC_URL}/api/v1/callbacks/{slug}/",
    }


def _wrong(what: str) -> Failed:
    return Failed(f"The workflow's step is wrong: {what}.", left_nothing=True)


def _object(said: Any, name: str) -> dict[str, Any]:
    if not isinstance(said, dict):
        raise _wrong(f"“{name}” must be an object")
    return said


def _text(value: Any, name: str) -> str:
    if isinstance(value, bool) or not isinstance(value, str | int | float):
        raise _wrong(f"“{name}” must be text")
    return str(value)


def _pointer(said: Any, name: str, *, also: str = "") -> str:
    if isinstance(said, str) and (said in ("", also) or said.startswith("/")):
        return said
    raise _wrong(f"“{name}” must be a JSON pointer such as /id")


def _pointers(said: Any, name: str) -> dict[str, str]:
    return {str(key): _pointer(value, f"{name}/{key}") for key, value in _object(said, name).items()}


def _values(said: Any, name: str) -> tuple[Any, ...]:
    if not isinstance(said, list | tuple):
        raise _wrong(f"“{name}” must be a list of values")
    return tuple(said)


def _statuses(said: Any) -> tuple[int, ...]:
    values = _values(said, "success")
    if not values or not all(type(value) is int and 200 <= value <= 399 for value in values):  # noqa: PLR2004 (RFC 9110)
        raise _wrong("“success” must be a list of statuses from 200 to 399")
    return values
