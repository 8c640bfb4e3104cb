"""Pages that no app owns: refusals, faults, and how a page that is only sent to is reached otherwise."""

import sys
from collections.abc import Callable
from functools import wraps
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.exceptions import BadRequest, RequestDataTooBig
from django.http import HttpRequest, HttpResponse, HttpResponseNotAllowed, HttpResponseRedirect, JsonResponse
from django.shortcuts import render
from django.urls import reverse

from core.transactions import Busy, is_unreachable

View = Callable[..., HttpResponse]

SEE_OTHER, BUSY = 303, 503
REFUSALS = {
    400: ("Your input is not valid", "The request cannot be understood."),
    403: ("Not allowed", "You may not do this."),
    404: ("Not found", "There is nothing here that you may see."),
    409: ("Not possible now", "Things have changed meanwhile."),
}
FAULTS = {500: "Something went wrong here", BUSY: "Not available right now"}


def see_other(to: str, *args: Any, **kwargs: Any) -> HttpResponseRedirect:
    """Send the browser on after a POST, so that a reload sends nothing again: 303 to the page named `to`."""
    return HttpResponseRedirect(reverse(to, args=args, kwargs=kwargs), status=SEE_OTHER)


def post_only(page: str, *shared: str) -> Callable[[View], View]:
    """Take POST alone, and lead whoever comes by GET to `page`.

    That happens when a session ended before the form was sent: the sign-in leads back to the form's address.
    `shared` names the arguments that both addresses have.
    """

    def decorate(view: View) -> View:
        @wraps(view)
        def answer(request: HttpRequest, **kwargs: Any) -> HttpResponse:
            if request.method == "POST":
                return view(request, **kwargs)
            if request.method in {"GET", "HEAD"}:
                return see_other(page, **{name: kwargs[name] for name in shared})
            return HttpResponseNotAllowed(["POST"])

        return answer

    return decorate


def refuse(request: HttpRequest, status: int, message: str = "") -> HttpResponse:
    """Answer with one of REFUSALS: a page for people, problem+json below /api/."""
    if is_api(request):
        title, detail = REFUSALS[status]
        return _problem(status, title, message or detail)
    return render(request, f"{status}.html", {"message": message}, status=status)


def fail(request: HttpRequest, status: int) -> HttpResponse:
    """Answer for a fault of ours, 500 or 503: from a file, since nothing else is sure to work."""
    if is_api(request):
        response: HttpResponse = _problem(
            status, FAULTS[status], "Please try again. If it goes on, tell the IT department."
        )
    else:
        page = Path(settings.BASE_DIR, "templates", f"{status}.html").read_text("utf-8")
        response = HttpResponse(page, status=status)
    if status == BUSY:
        response["Retry-After"] = str(Busy.retry_after)
    return response


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that the request cannot be understood; in our own words alone."""
    if isinstance(exception, RequestDataTooBig):
        limit = settings.DATA_UPLOAD_MAX_MEMORY_SIZE // 1024
        return refuse(request, 400, f"What was sent is larger than {limit} KiB.")
    return refuse(request, 400, str(exception) if isinstance(exception, BadRequest) else "")


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that nothing is here that this person may see."""
    return refuse(request, 404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer for a fault: 503 where the database is away, else 500."""
    error = sys.exc_info()[1]
    return fail(request, BUSY if error is not None and is_unreachable(error) else 500)


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say that the form is too old or came from elsewhere."""
    if is_api(request):
        return refuse(request, 403, "The request lacks a valid CSRF token.")
    return refuse(
        request,
        403,
        "This form is too old, or it was not sent from this site. Go back, reload the page and send it again.",
    )


def is_api(request: HttpRequest) -> bool:
    """Tell whether a program asks, which is answered with problem+json instead of a page."""
    return request.path.startswith("/api/")


def _problem(status: int, title: str, detail: str) -> HttpResponse:
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": status, "detail": detail}
    return JsonResponse(body, status=status, content_type="application/problem+json")
