"""What every request passes: text that cannot be stored is refused, refusals are explained."""

from collections.abc import Callable

from django.core.exceptions import BadRequest, PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse, QueryDict

from core import tracing
from core.problems import Conflict
from core.states import IllegalMove
from core.transactions import Busy, is_unreachable
from core.views import BUSY, fail, is_api, refuse

GetResponse = Callable[[HttpRequest], HttpResponse]

FORMS = {"application/x-www-form-urlencoded", "multipart/form-data"}


def enter_trace(get_response: GetResponse) -> GetResponse:
    """Let the request belong to the trace that its caller names in `traceparent`, or to a new one."""

    def middleware(request: HttpRequest) -> HttpResponse:
        tracing.enter(tracing.trace_of(request.headers.get("traceparent", "")))
        tracing.enter(tracing.new_trace_id())
        try:
            return get_response(request)
        finally:
            tracing.enter("")

    return middleware


def refuse_unstorable_text(get_response: GetResponse) -> GetResponse:
    """Answer 400 to NUL characters in the address: PostgreSQL cannot hold them."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if "\0" in request.path or _has_nul(request.GET):
            return refuse(request, 400, "The address has a character that cannot be stored.")
        return get_response(request)

    return middleware


def _has_nul(sent: QueryDict) -> bool:
    return any("\0" in name or any("\0" in str(value) for value in values) for name, values in sent.lists())


class _Explainer:
    """Turns the errors that services raise into pages, in one place."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> HttpResponse | None:
        """Refuse forms with NUL characters, before any view reads them. The API takes no forms, and says so itself."""
        if request.content_type in FORMS and not is_api(request) and _has_nul(request.POST):
            raise BadRequest("The form has a character that cannot be stored.")
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        """Give the page that explains `error`, or None for what nobody foresaw."""
        if isinstance(error, IllegalMove | Conflict):
            return refuse(request, 409, str(error))
        if isinstance(error, PermissionDenied):
            return refuse(request, 403, str(error))
        if isinstance(error, Busy) or (isinstance(error, DatabaseError | InterfaceError) and is_unreachable(error)):
            return fail(request, BUSY)
        return None


def explain_refusals(get_response: GetResponse) -> _Explainer:
    """Give 409 for what is no longer possible, 403 for a refusal, 503 where the database is busy."""
    return _Explainer(get_response)
