"""Any back end with a REST interface: the workflow says what to call and what to read from the answer."""

from typing import Any

from core import egress
from provisioning.connectors import calling
from provisioning.connectors.base import (
    Answer,
    Call,
    Connector,
    Done,
    Failed,
    Missing,
    Retry,
    Unknown,
    Working,
)
from provisioning.connectors.http_answers import document_of, found_at, read, read_secrets, text_of, told_by
from provisioning.connectors.http_requests import (
    LOCATION,
    Asked,
    Poll,
    asked_for,
    content_of,
    parts_of,
    path_of,
)

# How often a step is looked at that nothing but a callback ends; first soon, since news may outrun the answer.
CALLBACK_SECONDS = 60.0
FIRST_SECONDS = 2.0
GONE = {404, 410}
CONFLICT, ACCEPTED, UNAVAILABLE = 409, 202, 503
LONGEST_REF = 200
DONE, FAILED, WORKING = "done", "failed", "working"


class Http(Connector):
    """Makes the calls that the step describes; see docs/connectors.md for its fields."""

    idempotency = "key"

    def start(self, call: Call) -> Answer:
        """Make the call; with `lookup` look first, and go on with what is there."""
        asked = _asked(call, "start")
        if _way(call) == "lookup":
            try:
                return _look(call, wanted=asked)
            except Missing:
                call.log("It is not there yet.")
        return _settled(call, asked, _answer(call, asked))

    def last_operation(self, call: Call) -> Answer:
        """Ask how far it got, or read what the back end sent of itself."""
        asked = _asked(call, call.operation)
        news = call.news or {}
        if news.get("status") == "failed":
            raise Failed(f"The back end says: {news.get('detail') or 'it failed'}")
        if asked.poll:
            return _polled(call, asked, asked.poll)
        if news.get("status") == "succeeded":
            return _done(call, asked, news.get("outputs", {}), external_ref=call.external_ref)
        return Working(CALLBACK_SECONDS, detail=str(news.get("detail") or "")[:300])

    def undo(self, call: Call) -> Answer:
        """Make the call that takes it away; what is gone already is no error."""
        asked = asked_for(call, "undo")
        if asked is None:
            return Done(detail="There is nothing to take back here.")
        answer = _answer(call, asked, also=GONE)
        return Done(detail="It is gone.") if answer.status in GONE else _settled(call, asked, answer)

    def update(self, call: Call) -> Answer:
        """Make the call that changes it."""
        asked = _asked(call, "update")
        return _settled(call, asked, _answer(call, asked))

    def describe(self, call: Call) -> Answer:
        """Look whether it is there: 404 and 410 are Missing, another refusal is Failed."""
        return _look(call, wanted=None)

    def rotates(self, inputs: dict[str, Any]) -> bool:
        """Only where the workflow says how."""
        return "rotate" in inputs

    def rotate(self, call: Call) -> Answer:
        """Make the call that sets new passwords."""
        asked = _asked(call, "rotate")
        return _settled(call, asked, _answer(call, asked))

    def preview(self, call: Call) -> Answer:
        """Say in the log which call `start` would make; passwords stay names."""
        asked = _asked(call, "start")
        call.log(f"{asked.method} {calling.url_of(call, path_of(asked.path, call.external_ref))}")
        if asked.body is not None:
            call.log(f"Body: {asked.body}")
        return Done(detail="Nothing was called.")


def _asked(call: Call, operation: str) -> Asked:
    asked = asked_for(call, operation)
    if asked is None:
        raise Failed(f"The workflow does not say how to {operation} this.", left_nothing=True)
    return asked


def _way(call: Call) -> str:
    return str(call.inputs.get("idempotency") or Http.idempotency)


def _answer(call: Call, asked: Asked, *, also: set[int] | frozenset[int] = frozenset()) -> egress.Answer:
    """Make the call and give an answer of success, or one with a status of `also`. Raises for any other."""
    _, reference = parts_of(call.external_ref)
    if asked.path == LOCATION and not reference.startswith("/"):
        raise Failed("The back end never said where to find what it made; somebody has to look for it.")
    place = _at_origin(call, reference) if asked.path == LOCATION else path_of(asked.path, reference)
    headers, body = content_of(asked, call)
    # What looks or takes away may be repeated in any case.
    is_once = _way(call) == "none" and call.operation not in {"undo", "describe"}
    try:
        answer = calling.request(call, asked.method, place, headers=headers, body=body)
    except Retry as error:
        if is_once and getattr(error.__cause__, "sent", False):
            raise Unknown(f"{error} Whether it was done is not known.") from error
        raise
    if answer.status in asked.success or answer.status in also:
        return answer
    raise _refusal(call, answer, is_once=is_once)


def _refusal(call: Call, answer: egress.Answer, *, is_once: bool) -> Exception:
    error = calling.refusal(call, answer)
    if 300 <= answer.status < 400:  # noqa: PLR2004 (redirects)
        return Failed(f"The back end answered {answer.status}; redirects are not followed.")
    if answer.status == CONFLICT and _way(call) == "key" and calling.retry_after(answer) is not None:
        return Retry(f"{error} It is at work on it.", after=calling.retry_after(answer), is_fault=False)
    if is_once and answer.status >= 500 and answer.status != UNAVAILABLE:  # noqa: PLR2004 (faults)
        return Unknown(f"{error} Whether it was done is not known.")
    return error


def _settled(call: Call, asked: Asked, answer: egress.Answer) -> Answer:
    """Read from a first answer whether it is done."""
    document = document_of(answer)
    reference = _reference(call, asked.external_ref, document)
    if asked.external_ref == LOCATION:
        reference = _located(call, asked, answer) or reference
    verdict = _verdict(asked, answer, document)
    if verdict == FAILED and asked.poll:
        raise Failed(f"The back end says that it failed{told_by(document, asked.poll)}.")
    if verdict == DONE:
        return _done(call, asked, _result(call, asked, document, reference), external_ref=reference)
    return _working(call, asked, answer, reference)


def _verdict(asked: Asked, answer: egress.Answer, document: Any) -> str:
    poll = asked.poll
    if poll and poll.status:
        try:
            value = found_at(document, poll.status)
        except LookupError:
            return WORKING
        if value in poll.failed:
            return FAILED
        return DONE if value in poll.done else WORKING
    if asked.waits or (poll and answer.status == ACCEPTED):
        return WORKING
    return DONE


def _working(call: Call, asked: Asked, answer: egress.Answer, reference: str) -> Working:
    kept = reference
    if asked.poll and asked.poll.path == LOCATION:
        named = _located(call, asked, answer)
        if not named:
            raise Failed("The back end said that it works on it, and not where to ask (no Location).")
        kept = f"poll {named} {reference}".rstrip()
    after = calling.retry_after(answer)
    every = asked.poll.every if asked.poll else FIRST_SECONDS
    return Working(every if after is None else after, external_ref=_kept(kept))


def _polled(call: Call, asked: Asked, poll: Poll) -> Answer:
    """Ask once. An answer that says nothing about it is no end: the step's own deadline is."""
    operation, reference = parts_of(call.external_ref)
    place = _at_origin(call, operation) if poll.path == LOCATION else path_of(poll.path, reference)
    answer = calling.request(call, "GET", place)
    if answer.status in GONE and call.operation == "undo":
        return Done(detail="It is gone.")
    if answer.status not in {*asked.success, 303}:
        raise Retry(
            f"The back end answered {answer.status} when it was asked how far it got.",
            after=calling.retry_after(answer),
            is_fault=answer.status >= 500,  # noqa: PLR2004 (faults)
        )
    document = document_of(answer)
    verdict = _polled_verdict(asked, answer, document)
    if verdict == FAILED:
        raise Failed(f"The back end says that it failed{told_by(document, poll)}.")
    if verdict == DONE:
        return _done(call, asked, _result(call, asked, document, reference), external_ref=reference)
    after = calling.retry_after(answer)
    detail = told_by(document, poll).removeprefix(": ")
    return Working(poll.every if after is None else after, detail=detail, external_ref=call.external_ref)


def _polled_verdict(asked: Asked, answer: egress.Answer, document: Any) -> str:
    if asked.poll and asked.poll.status and document is None:
        raise Retry("The back end answered with no JSON when it was asked how far it got.")
    if asked.poll and not asked.poll.status:
        return WORKING if answer.status == ACCEPTED else DONE
    return _verdict(asked, answer, document)


def _result(call: Call, asked: Asked, document: Any, reference: str) -> Any:
    """Give the document that outputs are read from: the last answer, or what `poll.result` names."""
    if not asked.poll or not asked.poll.result or call.operation == "undo":
        return document
    place = path_of(asked.poll.result, reference)
    return document_of(calling.request(call, "GET", place, accept=asked.success))


def _look(call: Call, *, wanted: Asked | None) -> Answer:
    """Make the call that looks; `wanted` is the call of `start` that goes on from what is there."""
    asked = _asked(call, "describe")
    answer = _answer(call, asked, also=GONE)
    if answer.status in GONE:
        raise Missing(f"The back end answered {answer.status}: it is not there.", left_nothing=True)
    start = wanted or asked_for(call, "start") or asked
    document = document_of(answer)
    reference = _reference(call, asked.external_ref or start.external_ref, document)
    if wanted and wanted.poll:
        verdict = _verdict(wanted, answer, document)
        if verdict == FAILED:
            raise Failed(f"The back end says that it failed{told_by(document, wanted.poll)}.")
        if verdict == WORKING and wanted.poll.path == LOCATION:
            raise Retry("It is there and not ready yet.", after=wanted.poll.every, is_fault=False)
        if verdict == WORKING:
            return Working(wanted.poll.every, external_ref=_kept(reference))
    pointers = {**start.outputs, **asked.outputs}
    return Done(
        outputs=read(document, pointers, known=call.outputs if wanted is None else {}),
        detail="It is there.",
        external_ref=_kept(reference),
        secrets=read_secrets(document, asked.secret_outputs or wanted.secret_outputs) if wanted else {},
    )


def _done(call: Call, asked: Asked, document: Any, *, external_ref: str) -> Done:
    """Give what came of it. Passwords never come from a callback, whose body is stored as it came."""
    _, known = parts_of(external_ref)
    reference = known
    if asked.external_ref.startswith("/"):
        try:
            reference = text_of(found_at(document, asked.external_ref))
        except LookupError:
            if not known:
                raise Failed(f"The answer has nothing at {asked.external_ref}.") from None
    if asked.secret_outputs and call.news and not asked.poll:
        raise Failed("Passwords cannot come by a callback; let the step poll for them.")
    return Done(
        outputs=read(document, asked.outputs),
        detail="The back end confirmed it.",
        external_ref=_kept(reference),
        secrets=read_secrets(document, asked.secret_outputs),
    )


def _reference(call: Call, pointer: str, document: Any) -> str:
    """Give what the back end calls the thing, as far as this document tells; else what is known of it."""
    _, known = parts_of(call.external_ref)
    if not pointer.startswith("/"):
        return known
    try:
        return text_of(found_at(document, pointer))
    except LookupError:
        return known


def _located(call: Call, asked: Asked, answer: egress.Answer) -> str:
    """Give the path that the answer names in Location, or an empty string."""
    _, reference = parts_of(call.external_ref)
    here = _at_origin(call, reference) if asked.path == LOCATION else path_of(asked.path, reference)
    named = calling.location(call, here, answer)
    return egress.parse(named).path if named else ""


def _kept(reference: str) -> str:
    if len(reference) > LONGEST_REF:
        raise Failed(f"The back end's name for it has more than {LONGEST_REF} characters.")
    return reference


def _at_origin(call: Call, path: str) -> str:
    if not path.startswith("/"):
        raise Failed("The back end never said where to ask how far it got.")
    return f"{egress.parse(calling.back_end_of(call).address)}{path}"
