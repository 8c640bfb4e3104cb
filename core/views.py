"""Pages that no app owns: refusals, faults, and what machines ask about our health."""

import sys
from pathlib import Path
from typing import Any

from django.conf import settings
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import render

from core.transactions import Busy, is_unreachable


def bad_request(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that the request cannot be understood."""
    if _is_api(request):
        return _problem(400, "Your input is not valid", "The request cannot be understood.")
    return render(request, "400.html", {"message": str(exception)}, status=400)


def not_found(request: HttpRequest, exception: Exception) -> HttpResponse:
    """Say that nothing is here that this person may see."""
    if _is_api(request):
        return _problem(404, "Not found", "There is nothing here that you may see.")
    return render(request, "404.html", status=404)


def server_error(request: HttpRequest) -> HttpResponse:
    """Answer for a fault: 503 where the database is away, else 500; from a file, since nothing else is sure."""
    error = sys.exc_info()[1]
    away = error is not None and is_unreachable(error)
    code, title = (503, "Not available right now") if away else (500, "Something went wrong here")
    if _is_api(request):
        response: HttpResponse = _problem(
            code, title, "Please try again. If it goes on, tell the IT department."
        )
    else:
        page = Path(settings.BASE_DIR, "templates", f"{code}.html").read_text("utf-8")
        response = HttpResponse(page, status=code)
    if away:
        response["Retry-After"] = str(Busy.retry_after)
    return response


def csrf_failure(request: HttpRequest, reason: str = "") -> HttpResponse:
    """Say that the form is too old or came from elsewhere."""
    if _is_api(request):
        return _problem(403, "Not allowed", "The request lacks a valid CSRF token.")
    message = (
        "This form is too old, or it was not sent from this site. Go back, reload the page and send it again."
    )
    return render(request, "403.html", {"message": message}, status=403)


def _is_api(request: HttpRequest) -> bool:
    return request.path.startswith("/api/")


def _problem(code: int, title: str, detail: str) -> HttpResponse:
    body: dict[str, Any] = {"type": "about:blank", "title": title, "status": code, "detail": detail}
    return JsonResponse(body, status=code, content_type="application/problem+json")
