"""What machines ask about us: alive, ready, and the numbers."""

from django.conf import settings
from django.db import DatabaseError, InterfaceError, connection
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.views.decorators.http import require_safe
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge, generate_latest

from provisioning import sweeper

SWEEP_IS_LATE_SECONDS = 30.0
STATES = """
    SELECT 'order', state, count(*) FROM orders_order GROUP BY state
    UNION ALL SELECT 'run', state, count(*) FROM provisioning_run GROUP BY state
    UNION ALL SELECT 'step', state, count(*) FROM provisioning_step GROUP BY state
"""


@require_safe
def healthz(request: HttpRequest) -> JsonResponse:
    """Say that the process lives; asks nobody."""
    return JsonResponse({"status": "ok"})


@require_safe
def readyz(request: HttpRequest) -> JsonResponse:
    """Say by name what works: 503 without a database; with `?strict=1` for anything that does not."""
    parts = _parts()
    down = parts["database"] != "ok"
    degraded = any(state != "ok" for name, state in parts.items() if name in {"database", "broker", "sweeper", "queue"})
    failed = down or (degraded and request.GET.get("strict") == "1")
    status = "down" if down else "degraded" if degraded else "ok"
    return JsonResponse({"status": status, **parts}, status=503 if failed else 200)


def _parts() -> dict[str, object]:
    try:
        with connection.cursor() as cursor:
            cursor.execute("SELECT 1")
        age, waited, pulse = sweeper.seconds_since_sweep(), sweeper.oldest_due_seconds(), sweeper.last_pulse()
    except (DatabaseError, InterfaceError):
        connection.close()
        return {"database": "down", "broker": "unknown", "sweeper": "unknown", "queue": "unknown"}
    # The workers say whether the broker takes messages: this request does not wait for it.
    swept = age is not None and age < max(SWEEP_IS_LATE_SECONDS, 3.0 * settings.SWEEP_SECONDS) - 5
    broker = "degraded" if pulse is None or not swept else str(pulse.facts.get("broker", "degraded"))
    return {
        "database": "ok",
        "broker": broker,
        "sweeper": "ok" if swept else "degraded",
        "queue": "ok" if waited < SWEEP_IS_LATE_SECONDS else "degraded",
        "sweeper_age_seconds": round(age, 1) if age is not None else None,
        "oldest_due_seconds": round(waited, 1),
    }


@require_safe
def metrics(request: HttpRequest) -> HttpResponse:
    """Give the numbers in Prometheus' text format; 503 without a database."""
    registry = CollectorRegistry()
    rows = Gauge("greenlane_rows", "Rows by what they are and in which state", ["what", "state"], registry=registry)
    sweep = Gauge("greenlane_sweeper_age_seconds", "Seconds since a worker last looked for due work", registry=registry)
    oldest = Gauge(
        "greenlane_oldest_due_step_seconds", "Seconds that the oldest due step has waited", registry=registry
    )
    try:
        with connection.cursor() as cursor:
            cursor.execute(STATES)
            for what, state, number in cursor:
                rows.labels(what, state).set(number)
        age = sweeper.seconds_since_sweep()
        sweep.set(-1 if age is None else age)
        oldest.set(sweeper.oldest_due_seconds())
    except (DatabaseError, InterfaceError):
        connection.close()
        return HttpResponse("the database cannot be reached\n", status=503, content_type="text/plain")
    return HttpResponse(generate_latest(registry), content_type=CONTENT_TYPE_LATEST)
