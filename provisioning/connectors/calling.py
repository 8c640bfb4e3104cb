"""HTTP calls of connectors to the back end that the workflow names."""

import json as jsons
import re
import time
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager, suppress
from email.utils import parsedate_to_datetime
from functools import partial
from typing import Any
from urllib.parse import urljoin

from core import egress
from provisioning.connectors import http_auth
from provisioning.connectors.base import BackEnd, Call, Failed, LeaseLost, Retry

# Statuses of the 4xx class that say "not now" (RFC 9110, 8470, 6585).
NOT_NOW = {408, 425, 429}
_ABSOLUTE = re.compile(r"[a-z][a-z0-9+.-]*:", re.IGNORECASE)


def request(
    call: Call,
    method: str,
    path_or_url: str,
    *,
    json: Any = None,
    body: bytes | None = None,
    headers: Mapping[str, str] | None = None,
    accept: Collection[int] = (),
) -> egress.Answer:
    """Call the step's back end, signed in as its row says, and give the answer.

    `path_or_url` is appended to the back end's address (a path, also one that begins with a slash), or is a URL
    at the same scheme, host and port. `json` is sent as JSON, `body` as it is; `headers` go over the usual ones,
    but not over those that sign in. With `accept`, any other status raises as `refusal` says; without, every
    status is given back.

    Raises Retry where there was no answer (its cause's `sent` tells whether the back end may have acted), Failed
    where the call is not allowed or the answer is too large, LeaseLost.
    """
    back_end = back_end_of(call)
    url = url_of(call, path_or_url)
    said = {**call.headers(), "Accept": "application/json"}
    if json is not None:
        body = jsons.dumps(json, ensure_ascii=False, allow_nan=False).encode()
        said["Content-Type"] = "application/json"
    said = _merged(said, headers or {})
    target = _parsed(url)
    said = _merged(said, http_auth.headers_for(back_end, method, target.path, body or b""))
    answer = _sent(call, method, url, said, body)
    call.log(f"{method} {target} {target.path.partition('?')[0]}: {answer.status}")
    if accept and answer.status not in accept:
        raise refusal(call, answer)
    return answer


def back_end_of(call: Call) -> BackEnd:
    """Give the step's back end. Raises Failed where it has none, or none with an address."""
    if call.back_end is None or not call.back_end.address:
        raise Failed("This step names no back end with an address.", left_nothing=True)
    return call.back_end


def url_of(call: Call, path_or_url: str) -> str:
    """Give the URL of a path below the back end's address, or of a URL there. Raises Failed for one elsewhere."""
    address = back_end_of(call).address
    if not _ABSOLUTE.match(path_or_url) and not path_or_url.startswith("//"):
        return address.rstrip("/") + "/" + path_or_url.lstrip("/") if path_or_url else address
    if path_or_url.startswith("//") or _parsed(path_or_url).origin != _parsed(address).origin:
        raise Failed("The back end's credentials go to no other host than its own.")
    return path_or_url


def location(call: Call, path_or_url: str, answer: egress.Answer) -> str:
    """Give the URL that the answer to `path_or_url` names in Location (RFC 9110, 10.2.2), or an empty string.

    Raises Failed for one at another host, which would get the back end's credentials.
    """
    named = answer.headers.get("location", "").strip()
    return url_of(call, urljoin(url_of(call, path_or_url), named)) if named else ""


def refusal(call: Call, answer: egress.Answer) -> Retry | Failed:
    """Give what to raise for a status that nobody expected: Retry for "not now" and faults, Failed for the rest.

    A first attempt that was refused (4xx) has left nothing; an earlier attempt may have.
    """
    said = f"The back end answered {answer.status}{_reason_in(answer)}."
    if answer.status in NOT_NOW:
        return Retry(said, after=retry_after(answer), is_fault=False)
    if answer.status >= 500:  # noqa: PLR2004 (the class of a server's own faults)
        return Retry(said, after=retry_after(answer))
    is_refused = 400 <= answer.status < 500  # noqa: PLR2004 (the class of refusals)
    return Failed(said, left_nothing=is_refused)


def retry_after(answer: egress.Answer) -> float | None:
    """Give the seconds that Retry-After (RFC 9110, 10.2.3) asks for, as a number or a date; None without one."""
    text = answer.headers.get("retry-after", "").strip()
    if text.isascii() and text.isdigit():
        return float(text[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(parsedate_to_datetime(text).timestamp() - time.time(), 0.0)
    return None


def _sent(call: Call, method: str, url: str, headers: dict[str, str], body: bytes | None) -> egress.Answer:
    certificate = str(back_end_of(call).config.get("ca_certificate") or "")
    seconds = call.remaining()
    try:
        return egress.call(
            method,
            url,
            headers=headers,
            body=body,
            seconds=seconds,
            cancel=partial(_until_lost, call),
            ca_certificate=certificate,
        )
    except egress.Canceled as error:
        raise LeaseLost(f"The lease of step {call.step_id} ran out during a call.") from error
    except egress.TooLarge as error:
        raise Failed(f"response_too_large: {error}") from error
    except egress.Refused as error:
        raise Failed(str(error), left_nothing=True) from error
    except egress.EgressError as error:
        raise Retry(str(error)) from error


@contextmanager
def _until_lost(call: Call, stop: Callable[[], object]) -> Iterator[None]:
    """While the block runs, losing the lease stops the call. Raises LeaseLost where that has just happened."""
    with call.lease.cancel_by(stop):
        call.check()
        yield


def _parsed(url: str) -> egress.Target:
    try:
        return egress.parse(url)
    except egress.Refused as error:
        raise Failed(str(error), left_nothing=True) from error


def _merged(below: Mapping[str, str], above: Mapping[str, str]) -> dict[str, str]:
    """Join headers; a name of `above` goes before the same name of `below` in any case."""
    named = {name.lower() for name in above}
    return {name: value for name, value in below.items() if name.lower() not in named} | dict(above)


def _reason_in(answer: egress.Answer) -> str:
    """Give the sentence that a JSON answer names as its reason (RFC 9457 and its forerunners), or nothing."""
    with suppress(egress.BadAnswer):
        told = answer.json()
        for name in ("detail", "description", "message", "error_description", "title", "error"):
            reason = told.get(name) if isinstance(told, dict) else None
            if isinstance(reason, str) and reason.strip():
                return f": {' '.join(reason.split())[:300].rstrip('.')}"
    return ""
