"""The part of AWX's API (v2; the automation controller has the same) that launching and watching jobs needs."""

import json
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlencode

from core import egress
from provisioning.connectors import calling
from provisioning.connectors.base import Call, Failed, Retry

RUNNING = {"new", "pending", "waiting", "running"}
FAILURES = {"failed", "error", "canceled"}
# Templates of each kind, their jobs, and the name that a launch gives the job's number.
KINDS = {"job": ("job_templates", "jobs"), "workflow": ("workflow_job_templates", "workflow_jobs")}
PAGE = 50  # rows that fit into one answer
MOST_PAGES = 10
OK, NOT_FOUND = 200, 404
EVENTS = 25
NODES = 50


@dataclass(frozen=True)
class Job:
    """One launch. `ref` is `jobs/12` or `workflow_jobs/9`."""

    ref: str
    status: str
    explanation: str = ""
    artifacts: dict[str, Any] = field(default_factory=dict)

    @property
    def is_running(self) -> bool:
        """Whether it has not come to its end yet."""
        return self.status in RUNNING


@dataclass(frozen=True)
class Template:
    """A template of one kind, and what AWX's own clock said when it was looked up; None where it did not say."""

    path: str
    kind: str
    looked_up_at: datetime | None


def get(call: Call, path: str, **query: Any) -> dict[str, Any]:
    """Read one thing. Raises Retry where AWX says something unexpected, Failed for a refusal."""
    return body_of(_answer(call, path, query, accept={OK}))


def _answer(call: Call, path: str, query: dict[str, Any], *, accept: set[int]) -> egress.Answer:
    address = f"{_root(call)}{path}" + (f"?{urlencode(query)}" if query else "")
    return calling.request(call, "GET", address, accept=accept)


def post(call: Call, path: str, body: dict[str, Any]) -> egress.Answer:
    """Do one thing, and give the answer whatever its status."""
    return calling.request(call, "POST", f"{_root(call)}{path}", json=body)


def body_of(answer: egress.Answer) -> dict[str, Any]:
    """Give the JSON object of an answer. Raises Retry where it is none: something else answers for AWX."""
    try:
        found = answer.json()
    except egress.BadAnswer as error:
        raise Retry(f"AWX is not there: {error}") from error
    if not isinstance(found, dict):
        raise Retry("AWX is not there: something answers, but not with a JSON object.")
    return found


def template_of(call: Call, kind: str, template: Any) -> Template:
    """Find a template by its number or its name. Raises Failed where there is none, or more than one."""
    folder = KINDS[kind][0]
    if isinstance(template, int) or str(template).isdecimal():
        answer = _answer(call, f"{folder}/{int(template)}/", {}, accept={OK, NOT_FOUND})
        rows = [] if answer.status == NOT_FOUND else [body_of(answer)]
    else:
        answer = _answer(call, f"{folder}/", {"name": str(template), "page_size": 2}, accept={OK})
        rows = rows_of(body_of(answer))
    if len(rows) != 1 or not isinstance(rows[0].get("id"), int):
        why = "has several" if rows else "has no"
        raise Failed(f"AWX {why} {kind} template “{template}”{': use its number' if rows else ''}.")
    return Template(f"{folder}/{rows[0]['id']}/", kind, _clock_of(answer))


def _clock_of(answer: egress.Answer) -> datetime | None:
    with suppress(ValueError, TypeError):
        return parsedate_to_datetime(answer.headers.get("date", "")).astimezone(UTC)
    return None


def rows_of(page: dict[str, Any]) -> list[dict[str, Any]]:
    """Give the rows of a list. Raises Retry where there is none."""
    rows = page.get("results")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise Retry("AWX gave a list without rows.")
    return rows


def launches_of(
    call: Call, template: Template, *, seconds: float | None = None
) -> tuple[list[tuple[Job, dict[str, Any]]], bool]:
    """List the newest jobs of a template with their variables, newest first; and whether that is all of them.

    With `seconds`, those of the last so many seconds, by AWX's own clock. AWX lets nobody search by variables, so
    they are read here; a newer one gives them in lists only on request.
    """
    found: list[tuple[Job, dict[str, Any]]] = []
    query: dict[str, Any] = {"order_by": "-id", "page_size": PAGE}
    if seconds is not None and template.looked_up_at:
        query["created__gt"] = (template.looked_up_at - timedelta(seconds=seconds)).isoformat()
    path = f"{template.path}{KINDS[template.kind][1]}/"
    for number in range(1, MOST_PAGES + 1):
        page = get(call, path, **query, page=number)
        if any("extra_vars" not in row for row in rows_of(page)):
            query["include"] = "extra_vars"
            page = get(call, path, **query, page=number)
        found += [(job_of(row, template.kind), _variables(row)) for row in rows_of(page)]
        if not page.get("next"):
            return found, True
    return found, False


def job_of(row: dict[str, Any], kind: str) -> Job:
    """Read a job. Raises Retry where it has no number or status."""
    number, status = row.get("id"), row.get("status")
    if not isinstance(number, int) or not isinstance(status, str):
        raise Retry("AWX gave a job without number and status.")
    artifacts = row.get("artifacts")
    return Job(
        f"{KINDS[kind][1]}/{number}",
        status,
        str(row.get("job_explanation") or ""),
        artifacts if isinstance(artifacts, dict) else {},
    )


def job_at(call: Call, ref: str) -> Job | None:
    """Read the job of a reference; None where AWX has it no more. Raises Retry for whatever else stands in the way."""
    kind = next(kind for kind, (_, folder) in KINDS.items() if ref.startswith(f"{folder}/"))
    try:
        answer = _answer(call, f"{ref}/", {}, accept={OK, NOT_FOUND})
    except Failed as error:
        # A job that runs is not given up because a token has run out.
        raise Retry(str(error)) from error
    return None if answer.status == NOT_FOUND else job_of(body_of(answer), kind)


def artifacts_of_workflow(call: Call, ref: str) -> dict[str, Any]:
    """Join what the jobs of a workflow set by set_stats, later ones over earlier ones; of the first nodes only."""
    nodes = rows_of(get(call, f"{ref}/workflow_nodes/", order_by="id", page_size=NODES))
    joined: dict[str, Any] = {}
    for node in nodes:
        job = node.get("summary_fields", {}).get("job") or {}
        if job.get("type", "job") == "job" and job.get("status") == "successful" and isinstance(job.get("id"), int):
            ran = job_at(call, f"jobs/{job['id']}")
            joined |= ran.artifacts if ran else {}
    return joined


def log_of(call: Call, ref: str) -> None:
    """Write the last lines of a job's output, or the nodes of a workflow, into the step's log, where they are given."""
    try:
        if ref.startswith("workflow_jobs/"):
            for node in rows_of(get(call, f"{ref}/workflow_nodes/", order_by="id", page_size=NODES)):
                job = node.get("summary_fields", {}).get("job") or {}
                call.log(f"{job.get('name', 'A node')}: {job.get('status', 'not run')}")
            return
        events = rows_of(get(call, f"{ref}/job_events/", order_by="-counter", page_size=EVENTS))
    except (Retry, Failed) as error:
        call.log(f"The job's output could not be read: {error}")
        return
    for event in reversed(events):
        for line in str(event.get("stdout") or "").splitlines():
            call.log(line)


def _variables(row: dict[str, Any]) -> dict[str, Any]:
    try:
        found = json.loads(row.get("extra_vars") or "{}")
    except (TypeError, ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def _root(call: Call) -> str:
    """Say where the API begins: below `/api/v2/`, unless the back end's address ends with the version itself."""
    return "" if calling.back_end_of(call).address.rstrip("/").endswith("/v2") else "api/v2/"
