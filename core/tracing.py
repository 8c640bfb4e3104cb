"""One trace from the request that ordered to the back end's log, in W3C Trace Context's terms.

https://www.w3.org/TR/trace-context/: version 00, 32 hex digits for the trace, 16 for the caller's span.
"""

import re
import secrets
from contextvars import ContextVar

FORMAT = re.compile(r"[0-9a-f]{2}-(?P<trace>[0-9a-f]{32})-(?P<span>[0-9a-f]{16})-[0-9a-f]{2}(-.*)?")
_current: ContextVar[str] = ContextVar("trace_id", default="")


def new_trace_id() -> str:
    """Give the trace of the work under way, or begin a new one: 32 hex digits."""
    return _current.get() or secrets.token_hex(16)


def current() -> str:
    """Give the trace of the work under way, or an empty string."""
    return _current.get()


def enter(trace_id: str) -> None:
    """Let what follows in this thread or request belong to `trace_id`; empty: to none."""
    _current.set(trace_id)


def trace_of(header: str) -> str:
    """Read the trace from a `traceparent` header; an empty string for one that is missing or wrong."""
    found = FORMAT.fullmatch(header.strip())
    if found is None or not int(found["trace"], 16) or not int(found["span"], 16) or header.startswith("ff"):
        return ""
    return found["trace"]


def traceparent(trace_id: str, span: int) -> str:
    """Write the header for a call that belongs to `trace_id`; `span` is any number that is unique in it."""
    return f"00-{trace_id}-{span % 2**64 or 1:016x}-01"
