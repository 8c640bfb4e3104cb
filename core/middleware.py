"""What every request passes: text that cannot be stored is refused, refusals are explained."""

from collections.abc import Callable, Iterable

from django.core.exceptions import BadRequest, PermissionDenied
from django.db import DatabaseError, InterfaceError
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from core.states import IllegalMove
from core.transactions import Busy, is_unreachable

GetResponse = Callable[[HttpRequest], HttpResponse]


def refuse_unstorable_text(get_response: GetResponse) -> GetResponse:
    """Answer 400 to NUL characters in the address or the form: PostgreSQL cannot hold them."""

    def middleware(request: HttpRequest) -> HttpResponse:
        if "\0" in request.path or any(_has_nul(values) for _, values in request.GET.lists()):
            return render(
                request,
                "400.html",
                {"message": "The address has a character that cannot be stored."},
                status=400,
            )
        return get_response(request)

    return middleware


def _has_nul(values: Iterable[object]) -> bool:
    return any("\0" in str(value) for value in values)


class _Explainer:
    """Turns the errors that services raise into pages, in one place."""

    def __init__(self, get_response: GetResponse) -> None:
        self.get_response = get_response

    def __call__(self, request: HttpRequest) -> HttpResponse:
        return self.get_response(request)

    def process_view(self, request: HttpRequest, *_: object) -> HttpResponse | None:
        if (
            request.content_type == "application/x-www-form-urlencoded"
            or request.content_type == "multipart/form-data"
        ):
            if any(_has_nul(values) for _, values in request.POST.lists()):
                raise BadRequest("The form has a character that cannot be stored.")
        return None

    def process_exception(self, request: HttpRequest, error: Exception) -> HttpResponse | None:
        if isinstance(error, IllegalMove):
            return render(request, "409.html", {"message": str(error)}, status=409)
        if isinstance(error, PermissionDenied):
            return render(request, "403.html", {"message": str(error)}, status=403)
        if isinstance(error, Busy) or (
            isinstance(error, (DatabaseError, InterfaceError)) and is_unreachable(error)
        ):
            response = render(
                request, "503.html", {"message": str(error) if isinstance(error, Busy) else ""}, status=503
            )
            response["Retry-After"] = str(Busy.retry_after)
            return response
        return None


def explain_refusals(get_response: GetResponse) -> _Explainer:
    """Give 409 for a move that is no longer possible, 403 for a refusal, 503 where the database is busy."""
    return _Explainer(get_response)
