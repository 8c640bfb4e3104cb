"""What machines ask about us: alive, ready, and the numbers."""

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST

from config import measures
from provisioning import sweeper

SWEEP_IS_LATE_SECONDS = 30.0
PARTS = ("database", "broker", "sweeper", "queue", "workers")


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that the process lives; asks nobody."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say by name what works: 503 without a database; with `?strict=1` for anything that does not."""
    parts = _parts()
    down = parts["database"] != "ok"
    degraded = any(parts[name] != "ok" for name in PARTS)
    failed = down or (degraded and request.GET.get("strict") == "1")
    status = "down" if down else "degraded" if degraded else "ok"
    return JsonResponse({"status": status, **parts}, status=503 if failed else 200)


def _parts() -> dict[str, object]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        age, waited, pulse = sweeper.seconds_since_sweep(), sweeper.oldest_due_seconds(), sweeper.last_pulse()
        workers = sweeper.workers()
    except (DatabaseError, InterfaceError):
        connection.close()
        return {"database": "down", **dict.fromkeys(PARTS[1:], "unknown")}
    # The workers say whether the broker takes messages: this request does not wait for it.
    swept = age is not None and age < max(SWEEP_IS_LATE_SECONDS, 3.0 * settings.SWEEP_SECONDS) - 5
    broker = "degraded" if pulse is None or not swept else str(pulse.facts.get("broker", "degraded"))
    silent = [name for name, silence, _ in workers if silence > sweeper.SILENT_SECONDS]
    return {
        "database": "ok",
        "broker": broker,
        "sweeper": "ok" if swept else "degraded",
        "queue": "ok" if waited < SWEEP_IS_LATE_SECONDS else "degraded",
        "workers": "ok" if workers and not silent else "degraded",
        "sweeper_age_seconds": round(age, 1) if age is not None else None,
        "oldest_due_seconds": round(waited, 1),
        "silent_workers": silent,
    }


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Give the numbers in Prometheus' text format; 503 without a database."""
    try:
        return HttpResponse(measures.text(), content_type=CONTENT_TYPE_LATEST)
    except (DatabaseError, InterfaceError):
        connection.close()
        return HttpResponse("the database cannot be reached\n", status=503, content_type="text/plain")
