"""Requests of the Open Service Broker API 2.17 for one step, and what their answers mean."""

import base64
import json
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlencode
from uuid import UUID, uuid4, uuid5

from core import egress
from provisioning.connectors import calling, osb_mitigation
from provisioning.connectors.base import CALL_SECONDS, BackEnd, Call, Failed, Lease, Retry
from provisioning.connectors.osb_bodies import PLATFORM
from provisioning.connectors.osb_mitigation import BIND, DEPROVISION, PROVISION, UNBIND, UPDATE

VERSION = "2.17"
MAX_OPERATION = 10_000  # characters, by the specification
# Rejected now, which need not be so next time: too early or too many, busy with the same instance; and for what is to
# be deleted also "not found", as routers say of a broker that restarts. Gone is 410 alone.
AGAIN, AGAIN_TO_DELETE = {425, 429}, {404, 409, 425, 429}
WORDS = {
    "AsyncRequired": "The broker wants what it was offered: that its work may take a while.",
    "MaintenanceInfoConflict": "The broker's plan has another maintenance version by now: import its services again.",
    "RequiresApp": "This service gives credentials to applications of the broker's own platform only.",
}
DELETIONS = {DEPROVISION, UNBIND}


@dataclass(frozen=True)
class Reply:
    """A success: its status, its body (a JSON object), and the seconds after which the broker wants to be asked."""

    status: int
    body: dict[str, Any] = field(default_factory=dict, repr=False)
    after: float | None = None

    @property
    def operation(self) -> str:
        """The broker's word for what it is doing; empty where it gave none."""
        return self.body.get("operation") or ""


def binding_id(instance_id: UUID) -> UUID:
    """Give the id of the one binding of an instance: the same for every attempt, and for whoever takes it back."""
    return uuid5(instance_id, "binding")


def path_of(call: Call, *, binding: bool = False) -> str:
    """Give the path of the step's instance, or of its binding."""
    below = f"/service_bindings/{binding_id(call.instance_id)}" if binding else ""
    return f"/v2/service_instances/{call.instance_id}{below}"


def change(
    call: Call, request: str, method: str, *, query: dict[str, str] | None = None, body: dict[str, Any] | None = None
) -> Reply:
    """Ask the broker for one change. `request` is the word of the table of orphan mitigation.

    Raises Failed or Retry for everything that is no success; `left_nothing` is as the table says. Where the end is
    unclear, what makes something is never asked for twice: it fails, and the engine deletes until it is gone.
    """
    asked = urlencode({**(query or {}), "accepts_incomplete": "true"}, quote_via=quote, safe="")
    path = path_of(call, binding=request in {BIND, UNBIND})
    try:
        answer = ask(call, method, f"{path}?{asked}", body=body)
    except Retry as error:
        if request in {PROVISION, BIND} and getattr(error.__cause__, "sent", False):
            raise _mitigated(request, osb_mitigation.TIMEOUT, f"No usable answer: {error}") from error
        raise
    except Failed as error:
        if request in DELETIONS and isinstance(error.__cause__, egress.TooLarge):
            raise Retry(str(error)) from error
        raise
    return _judged(request, answer)


def ask(call: Call, method: str, path: str, *, body: dict[str, Any] | None = None) -> egress.Answer:
    """Send one request and give the answer, whatever its status. Raises as `calling.request` does."""
    headers = {"X-Broker-API-Version": VERSION, "X-Broker-API-Request-Identity": str(call.step_id)}
    who = {name: call.context.get(name) for name in ("requester", "requester_name", "requester_email")}
    if who["requester"]:
        facts = {"user_id": who["requester"], "name": who["requester_name"], "email": who["requester_email"]}
        encoded = base64.b64encode(json.dumps(facts).encode()).decode()
        headers["X-Broker-API-Originating-Identity"] = f"{PLATFORM} {encoded}"
    return calling.request(call, method, path, json=body, headers=headers)


def fetch_catalog(back_end: BackEnd) -> dict[str, Any]:
    """Fetch a broker's catalog, within the time of one call. Raises Retry or Failed with a sentence."""
    nobody = uuid4()
    call = Call(
        step_id=nobody,
        operation="describe",
        attempt=1,
        idempotency_key=nobody,
        fencing_token=0,
        instance_id=nobody,
        instance_name="",
        inputs={},
        context={},
        outputs={},
        secrets={},
        external_ref="",
        lease=Lease(4 * CALL_SECONDS),
        back_end=back_end,
    )
    answer = ask(call, "GET", "/v2/catalog")
    body = object_in(answer)
    if answer.status != 200:  # noqa: PLR2004 (HTTP)
        raise Failed(refusal(answer)[1])
    if body is None:
        raise Failed("The broker's catalog cannot be read.")
    return body


def object_in(answer: egress.Answer) -> dict[str, Any] | None:
    """Give the JSON object that an answer holds; None where it holds anything else."""
    try:
        value = answer.json()
    except egress.BadAnswer:
        return None
    return value if isinstance(value, dict) else None


def refusal(answer: egress.Answer) -> tuple[str, str]:
    """Give the error code of an answer that is no success, and what it says in a sentence for IT."""
    body = object_in(answer) or {}
    code, told = line(body.get("error"), 60), line(body.get("description"), 300)
    if answer.status in {401, 403}:
        return code, f"The broker refused the credentials of the back end ({answer.status}). {told}".rstrip()
    if answer.status == 412:  # noqa: PLR2004 (HTTP)
        return code, f"The broker does not speak version {VERSION} of the API. {told}".rstrip()
    said = f"The broker answered {answer.status}{f' {code}' if code else ''}{f': {told}' if told else '.'}"
    return code, f"{WORDS[code]} {said}" if code in WORDS else said


def line(value: Any, longest: int) -> str:
    """Give what a broker says as one line that can be shown; nothing for what is no text."""
    text = value if isinstance(value, str) else ""
    return " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())[:longest]


def is_busy(answer: egress.Answer) -> bool:
    """Tell whether the broker works at the same instance or binding already."""
    return answer.status == 422 and refusal(answer)[0] == "ConcurrencyError"  # noqa: PLR2004 (HTTP)


def _judged(request: str, answer: egress.Answer) -> Reply:
    if request in DELETIONS and answer.status == 410:  # noqa: PLR2004 (HTTP: gone is what was wanted)
        return Reply(410)
    body = object_in(answer)
    if request in DELETIONS and answer.status == 200 and not answer.body.strip():  # noqa: PLR2004 (HTTP)
        body = {}
    kind = osb_mitigation.answer_of(answer.status, is_well_formed=body is not None and _is_well_formed(body))
    meaning = osb_mitigation.row_for(request, kind).meaning
    if meaning == osb_mitigation.SUCCESS:
        return Reply(answer.status, body or {}, calling.retry_after(answer))
    said = refusal(answer)[1] if answer.status >= 300 else f"The broker's answer {kind} cannot be read."  # noqa: PLR2004
    again = AGAIN_TO_DELETE if request in DELETIONS else AGAIN
    if meaning == osb_mitigation.NOT_RECEIVED or answer.status in again or is_busy(answer):
        raise Retry(said, after=calling.retry_after(answer), is_fault=False)
    raise _mitigated(request, kind, said, after=calling.retry_after(answer))


def _mitigated(request: str, kind: str, said: str, *, after: float | None = None) -> Retry | Failed:
    """Give what to raise for a failure, by the table.

    - What makes something fails; `left_nothing` where the table says that there is nothing to delete. A binding's
      instance is there in any case.
    - What deletes is asked for again until it succeeds; but a rejection (4xx) is an operator's affair.
    - A change may be sent again, and is never answered by deleting.
    """
    row = osb_mitigation.row_for(request, kind)
    if request == PROVISION:
        return Failed(said, left_nothing=row.delete == osb_mitigation.NOTHING)
    if request == BIND:
        return Failed(said)
    if row.meaning == osb_mitigation.REJECTED:
        return Failed(said, left_nothing=request == UPDATE)
    return Retry(said, after=after)


def _is_well_formed(body: dict[str, Any]) -> bool:
    """Tell whether the fields that the specification types are of their types."""
    operation, url = body.get("operation"), body.get("dashboard_url")
    credentials = body.get("credentials")
    return (
        (operation is None or (isinstance(operation, str) and len(operation) <= MAX_OPERATION))
        and (url is None or isinstance(url, str))
        and (credentials is None or isinstance(credentials, dict))
    )
