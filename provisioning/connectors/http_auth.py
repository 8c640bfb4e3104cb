"""How a call says who it is: HTTP Basic (RFC 7617), bearer token (RFC 6750), or a signature over the call.

The signature is described, with an example, in docs/connectors.md.
"""

import base64
import hashlib
import hmac
import time

from provisioning.connectors.base import BackEnd, Failed

HMAC_HEADER = "X-Greenlane-Signature"


def headers_for(back_end: BackEnd, method: str, path: str, body: bytes) -> dict[str, str]:
    """Give the headers that sign the call in; `path` with its query. Raises Failed where a credential is missing.

    config.auth says which way (`none`, `bearer`, `basic`, `hmac`); unset, the credentials that are there say it.
    """
    way = back_end.config.get("auth") or _usual_way(back_end)
    if way == "none":
        return {}
    if way == "bearer":
        return {"Authorization": f"Bearer {_credential(back_end, 'token')}"}
    if way == "basic":
        pair = f"{back_end.config.get('username', '')}:{_credential(back_end, 'password')}"
        return {"Authorization": f"Basic {base64.b64encode(pair.encode()).decode()}"}
    if way == "hmac":
        name = str(back_end.config.get("header") or HMAC_HEADER)
        return {name: signature(_credential(back_end, "hmac_key"), method, path, body, int(time.time()))}
    raise Failed(f"The back end “{back_end.slug}” has an unknown way to sign in: {way!r}.", left_nothing=True)


def signature(key: str, method: str, path: str, body: bytes, timestamp: int) -> str:
    """Sign method, path with query, time (Unix seconds) and body: `t=...,v1=...`, HMAC-SHA-256 (RFC 2104) in hex."""
    text = f"{timestamp}\n{method}\n{path}\n{hashlib.sha256(body).hexdigest()}"
    return f"t={timestamp},v1={hmac.new(key.encode(), text.encode(), hashlib.sha256).hexdigest()}"


def _usual_way(back_end: BackEnd) -> str:
    if back_end.credentials.get("token"):
        return "bearer"
    return "basic" if back_end.credentials.get("password") else "none"


def _credential(back_end: BackEnd, name: str) -> str:
    value = back_end.credentials.get(name, "")
    if not value:
        raise Failed(f"The back end “{back_end.slug}” has no {name.replace('_', ' ')}; enter it.", left_nothing=True)
    return value
