"""Services of an Open Service Broker (API 2.17): instances, their bindings, and all of it asynchronously.

What is to be done next, or is being waited for, stands in the step's external_ref: see State. `start` only ever asks
for the instance; everything after it begins from a State that is stored, so that a lost worker's successor knows it.
"""

import json
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from typing import Any
from urllib.parse import quote, urlencode

from core import secrets
from provisioning.connectors import calling, osb_bodies, osb_client, osb_mitigation
from provisioning.connectors.base import Answer, Call, Connector, Done, Failed, Missing, Retry, Working
from provisioning.connectors.osb_client import Reply
from provisioning.connectors.osb_mitigation import BIND, DEPROVISION, PROVISION, UNBIND, UPDATE

OK, GONE, NOT_FOUND, ACCEPTED, FAULTS = 200, 410, 404, 202, 500
# A deletion that the broker began and could not end is asked for again so often, then an operator looks.
DELETE_AGAIN, LONGEST_PAUSE = 20, 300.0
STATES = ("in progress", "succeeded", "failed")
FIRST_QUESTION, SHORTEST_PAUSE, LONGEST_QUESTION = 1.0, 2.0, 60.0
MAX_SECRETS, LONGEST_NAME = 50, 40
OTHER_BINDINGS = {
    "syslog_drain_url": "a log drain",
    "route_service_url": "a route service",
    "volume_mounts": "a volume",
}


@dataclass(frozen=True)
class State:
    """How far a step has got at the broker.

    `phase` is what the broker is at (a request of the table), or "to bind", "to fetch", "to unbind",
    "to deprovision" for what we ask next, or "ready", "bound" at the end.
    """

    phase: str = ""
    operation: str = ""
    dashboard_url: str = ""
    # The plan to name while polling: for a change the one before it.
    plan: str = ""
    # When the polling began, in seconds since the step did.
    since: float = 0.0
    tries: int = 0
    # While a change is under way: the phase before it, which is the one after it too.
    kept: str = ""

    def write(self) -> str:
        """Give it as external_ref: JSON without what is empty."""
        return json.dumps({name: value for name, value in asdict(self).items() if value})

    @classmethod
    def read(cls, external_ref: str) -> "State":
        """Read what `write` gave; anything else is a state of which nothing is known."""
        try:
            known = cls(**json.loads(external_ref))
        except (ValueError, TypeError):
            return cls()
        return known if isinstance(known.phase, str) else cls()


class OpenServiceBroker(Connector):
    """Delivers an instance of a broker's service, and with `bind` the credentials of a binding."""

    idempotency = "key"

    def start(self, call: Call) -> Answer:
        """Ask for the instance. Asked again after a lost worker, the broker finds it by its id."""
        body = {
            **osb_bodies.ids(call),
            **osb_bodies.about(call),
            "parameters": osb_bodies.parameters_of(call),
            **osb_bodies.maintenance(call.inputs),
        }
        reply = osb_client.change(call, PROVISION, "PUT", body=body)
        state = State(dashboard_url=_url_in(call, reply), plan=osb_bodies.ids(call)["plan_id"])
        return _begun(call, state, PROVISION, reply)

    def last_operation(self, call: Call) -> Answer:
        """Ask how far the broker got, or take the next step of our own."""
        state = State.read(call.external_ref)
        try:
            if state.phase in _NEXT:
                return _NEXT[state.phase](call, state)
            if state.phase in _POLLED:
                return _poll(call, state)
        except Failed as error:
            if error.left_nothing:  # said of this one request; what was begun before it is there
                raise Failed(str(error)) from error
            raise
        raise Failed("It is not known what the broker was asked for.")

    def undo(self, call: Call) -> Answer:
        """Delete the binding if there may be one, then the instance, each until it is gone."""
        state = State.read(call.external_ref)
        fresh = State(dashboard_url=state.dashboard_url, plan=osb_bodies.ids(call)["plan_id"])
        return _unbind(call, fresh) if _may_be_bound(call) else _deprovision(call, fresh)

    def describe(self, call: Call) -> Answer:
        """Fetch the instance, where the broker can tell (`instances_retrievable` in its catalog)."""
        if call.inputs.get("instances_retrievable") is not True:
            raise Failed("This service's broker cannot tell whether it is there (instances_retrievable).")
        answer = osb_client.ask(call, "GET", f"{osb_client.path_of(call)}?{urlencode(osb_bodies.ids(call))}")
        body = osb_client.object_in(answer)
        if answer.status == OK and body is not None:
            url = _url_in(call, Reply(OK, body))
            return Done(outputs={"dashboard_url": url} if url else {}, detail="The broker has it.")
        _, said = osb_client.refusal(answer)
        if answer.status == NOT_FOUND:
            raise Missing("The broker has no such service instance.")
        if osb_client.is_busy(answer) or answer.status >= FAULTS or answer.status in calling.NOT_NOW:
            raise Retry(said, after=calling.retry_after(answer), is_fault=answer.status >= FAULTS)
        raise Failed(said)

    def update(self, call: Call) -> Answer:
        """Ask for another plan or other parameters; only what differs is sent. Never deletes anything."""
        before = call.before.get("limits", {})
        former_plan = str(before.get("plan_id") or osb_bodies.ids(call)["plan_id"])
        changes = osb_bodies.changes_in(call, former_plan)
        if not changes:
            return Done(detail="There was nothing to change at the broker.", external_ref=call.external_ref)
        if "plan_id" in changes and before.get("plan_updateable") is False:
            raise Failed("The broker lets nobody change from this plan to another.", left_nothing=True)
        previous = {
            "service_id": osb_bodies.ids(call)["service_id"],
            "plan_id": former_plan,
            **osb_bodies.maintenance(before),
        }
        body = {
            "service_id": osb_bodies.ids(call)["service_id"],
            **changes,
            "context": osb_bodies.about(call)["context"],
            "previous_values": previous,
            **osb_bodies.maintenance(call.inputs),
        }
        reply = osb_client.change(call, UPDATE, "PATCH", body=body)
        url = _url_in(call, reply) or State.read(call.external_ref).dashboard_url
        return _begun(call, State(dashboard_url=url, plan=former_plan, kept=_settled(call)), UPDATE, reply)

    def rotate(self, call: Call) -> Answer:
        """Delete the binding and make it anew: other credentials for the same instance."""
        if call.inputs.get("bind") is not True:
            raise Failed("This service has no credentials to change.", left_nothing=True)
        return _unbind(call, State(plan=osb_bodies.ids(call)["plan_id"]))


# --- what comes after what --------------------------------------------------------------------------


def _begun(call: Call, state: State, request: str, reply: Reply) -> Answer:
    """Wait for what the broker has begun, or go on where it is done already."""
    if reply.status != ACCEPTED:
        return _done(call, state, request)
    waiting = replace(state, phase=request, operation=reply.operation, since=call.elapsed)
    return Working(after=reply.after or FIRST_QUESTION, detail=_POLLED[request], external_ref=waiting.write())


def _done(call: Call, state: State, request: str) -> Answer:
    """Go on after `request` has succeeded."""
    outputs = {"dashboard_url": state.dashboard_url} if state.dashboard_url else {}
    if request == PROVISION and call.inputs.get("bind") is True:
        return _next(state, "to bind")
    if request == PROVISION:
        ready = State(phase="ready", dashboard_url=state.dashboard_url)
        return Done(outputs, detail="The service is set up.", external_ref=ready.write())
    if request == UPDATE:
        changed = State(phase=state.kept, dashboard_url=state.dashboard_url)
        return Done(outputs, detail="The service is changed.", external_ref=changed.write())
    if request == BIND:
        return _next(state, "to fetch")
    if request == UNBIND:
        return _next(state, "to bind" if call.operation == "rotate" else "to deprovision")
    return Done(detail="The broker has removed it.")


def _next(state: State, phase: str, *, after: float = 0.0, tries: int = 0) -> Working:
    """Store what is to be asked next before it is asked."""
    following = replace(state, phase=phase, operation="", since=0.0, tries=tries)
    return Working(after=after, detail=_NEXT_DETAIL[phase], external_ref=following.write())


def _settled(call: Call) -> str:
    """Give the phase of the instance, whatever change of it has begun."""
    state = State.read(call.external_ref)
    return state.kept if state.phase == UPDATE else state.phase


def _may_be_bound(call: Call) -> bool:
    """Tell whether a binding was ever asked for and is not known to be gone."""
    phase = _settled(call)
    if phase in {"to bind", BIND, "to fetch", "bound", "to unbind", UNBIND}:
        return True
    return not phase and call.was_done and call.inputs.get("bind") is True


def _bind(call: Call, state: State) -> Answer:
    about = {name: value for name, value in osb_bodies.about(call).items() if name == "context"}
    parameters = call.inputs.get("bind_parameters")
    body = {**osb_bodies.ids(call), **about, **({"parameters": parameters} if parameters else {})}
    reply = osb_client.change(call, BIND, "PUT", body=body)
    if reply.status == ACCEPTED:
        return _begun(call, state, BIND, reply)
    return _bound(call, state, reply.body)


def _fetch(call: Call, state: State) -> Answer:
    """Fetch the credentials of a binding that was made asynchronously."""
    path = osb_client.path_of(call, binding=True)
    answer = osb_client.ask(call, "GET", f"{path}?{urlencode(osb_bodies.ids(call))}")
    body = osb_client.object_in(answer)
    if answer.status != OK or body is None:
        _, said = osb_client.refusal(answer)
        if answer.status in {400, 401, 403}:
            raise Failed(said)
        pause = calling.retry_after(answer) or SHORTEST_PAUSE
        raise Retry(said, after=pause, is_fault=answer.status >= FAULTS)
    return _bound(call, state, body)


def _bound(call: Call, state: State, body: dict[str, Any]) -> Done:
    """Give the credentials of a binding; every value is kept as a secret."""
    for name, what in OTHER_BINDINGS.items():
        if body.get(name):
            raise Failed(f"The broker gives {what} ({name}), which is only for applications on its own platform.")
    credentials = body.get("credentials") or {}
    if not isinstance(credentials, dict):
        raise Failed("The broker gave credentials that are no JSON object.")
    until = (body.get("metadata") or {}).get("expires_at") if isinstance(body.get("metadata"), dict) else None
    if until:
        call.log(f"The credentials expire at {str(until)[:40]}.")
    bound = State(phase="bound", dashboard_url=state.dashboard_url)
    return Done(
        {"dashboard_url": state.dashboard_url} if state.dashboard_url else {},
        detail="It has new credentials." if call.operation == "rotate" else "It is set up, with its credentials.",
        external_ref=bound.write(),
        secrets=_secrets_of(credentials),
    )


def _unbind(call: Call, state: State) -> Answer:
    reply = osb_client.change(call, UNBIND, "DELETE", query=osb_bodies.ids(call))
    return _begun(call, state, UNBIND, reply)


def _deprovision(call: Call, state: State) -> Answer:
    reply = osb_client.change(call, DEPROVISION, "DELETE", query=osb_bodies.ids(call))
    return _begun(call, state, DEPROVISION, reply)


_NEXT: dict[str, Callable[[Call, State], Answer]] = {
    "to bind": _bind,
    "to fetch": _fetch,
    "to unbind": _unbind,
    "to deprovision": _deprovision,
}
_NEXT_DETAIL = {
    "to bind": "The service is there; its credentials come next.",
    "to fetch": "The credentials are made.",
    "to unbind": "The credentials will be removed.",
    "to deprovision": "The service will be removed.",
}
_POLLED = {
    PROVISION: "The broker is setting it up.",
    UPDATE: "The broker is changing it.",
    BIND: "The broker is making the credentials.",
    UNBIND: "The broker is removing the credentials.",
    DEPROVISION: "The broker is removing it.",
}


# --- polling ----------------------------------------------------------------------------------------


def _poll(call: Call, state: State) -> Answer:
    """Ask `last_operation` until the broker says success or failure, or its time is over (then it has failed).

    Everything else it may answer is no answer, and is asked again.
    """
    is_late = _is_late(call, state)
    try:
        said, description, after = _progress(call, state)
    except Retry as error:
        if not is_late:
            raise
        said, description, after = "failed", str(error), None
    if said == "succeeded":
        return _done(call, state, state.phase)
    if said == "in progress" and not is_late:
        age = call.elapsed - state.since
        pause = after or min(max(age / 10, SHORTEST_PAUSE), LONGEST_QUESTION)
        return Working(after=pause, detail=description or _POLLED[state.phase], external_ref=call.external_ref)
    late = "It took longer than the broker's maximum. " if is_late else ""
    return _failed(state, f"{late}The broker could not do it{f': {description}' if description else '.'}")


def _progress(call: Call, state: State) -> tuple[str, str, float | None]:
    """Give (state, description, seconds to wait) of the last operation. Raises Retry where it is not said."""
    is_binding = state.phase in {BIND, UNBIND}
    query = {"service_id": osb_bodies.ids(call)["service_id"], "plan_id": state.plan or osb_bodies.ids(call)["plan_id"]}
    if state.operation:
        query["operation"] = state.operation
    path = f"{osb_client.path_of(call, binding=is_binding)}/last_operation"
    answer = osb_client.ask(call, "GET", f"{path}?{urlencode(query, quote_via=quote, safe='')}")
    if answer.status == GONE and state.phase in osb_client.DELETIONS:
        return "succeeded", "", None
    body = osb_client.object_in(answer) or {}
    after = calling.retry_after(answer)
    if answer.status != OK or body.get("state") not in STATES:
        _, said = osb_client.refusal(answer)
        told = said if answer.status != OK else "The broker does not say how far it got."
        raise Retry(told, after=after or SHORTEST_PAUSE, is_fault=answer.status >= FAULTS)
    description = osb_client.line(body.get("description"), 200)
    if body.get("instance_usable") is False:
        description = f"{description} The service cannot be used any more.".lstrip()
    return body["state"], description, after


def _is_late(call: Call, state: State) -> bool:
    longest = call.inputs.get("maximum_polling_duration")
    if not isinstance(longest, int) or isinstance(longest, bool) or longest <= 0:
        return False  # the step's own time limit ends it
    return call.elapsed - state.since >= longest


def _failed(state: State, said: str) -> Answer:
    """Go on after an asynchronous request has failed: by the table, or, where it deletes, by deleting again."""
    if state.phase not in osb_client.DELETIONS:
        row = osb_mitigation.row_for(f"poll {state.phase}", osb_mitigation.FAILED)
        raise Failed(said, left_nothing=state.phase == PROVISION and row.delete == osb_mitigation.NOTHING)
    if state.tries >= DELETE_AGAIN:
        raise Failed(f"{said} It was asked {state.tries + 1} times.")
    pause = min(2.0**state.tries, LONGEST_PAUSE)
    return _next(state, f"to {state.phase}", after=pause, tries=state.tries + 1)


# --- what came back --------------------------------------------------------------------------------


def _url_in(call: Call, reply: Reply) -> str:
    """Give the dashboard's address, if it is one for a browser."""
    url = reply.body.get("dashboard_url") or ""
    if not isinstance(url, str) or not url.startswith(("https://", "http://")) or any(letter <= " " for letter in url):
        if url:
            call.log("The broker's dashboard_url is no web address and is left out.")
        return ""
    return url[:2000]


def _secrets_of(credentials: dict[str, Any]) -> dict[str, str]:
    """Give every value as a secret of its own: text as it is, anything else as JSON, empty ones not at all."""
    if len(credentials) > MAX_SECRETS:
        raise Failed(f"The broker gave more than {MAX_SECRETS} credentials.")
    found: dict[str, str] = {}
    for name, value in credentials.items():
        text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
        short = name[:LONGEST_NAME] or "value"
        if short in found:
            raise Failed("The broker gave two credentials whose names begin the same.")
        if value is not None and text:
            secrets.remember(text)
            found[short] = text
    return found
