"""Log lines: one JSON object a line, control characters escaped, so that no input can forge a second line."""

from collections.abc import MutableMapping
from typing import Any

import structlog

from core import tracing


def formatter() -> structlog.stdlib.ProcessorFormatter:
    """Build the formatter of the stderr handler."""
    return structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=[
            structlog.stdlib.add_log_level,
            structlog.stdlib.add_logger_name,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
        ],
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            structlog.processors.format_exc_info,
            _traced,
            _scrubbed,
            structlog.processors.JSONRenderer(),
        ],
    )


def _traced(_: Any, __: str, line: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Name the trace of the work under way, so that a line leads to the order and to the back end's log."""
    if trace_id := tracing.current():
        line["trace_id"] = trace_id
    return line


def _scrubbed(_: Any, __: str, line: MutableMapping[str, Any]) -> dict[str, Any]:
    from core.secrets import scrub  # noqa: PLC0415 (logging is set up before the apps)

    return {name: scrub(value) if isinstance(value, str) else value for name, value in line.items()}
