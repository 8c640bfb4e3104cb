"""The numbers that /metrics gives, each by one query over indexed rows."""

from collections.abc import Iterable
from typing import Any

from django.db import connection
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from provisioning import sweeper

STATES = """
    SELECT 'order', state, count(*) FROM orders_order GROUP BY state
    UNION ALL SELECT 'run', state, count(*) FROM provisioning_run GROUP BY state
    UNION ALL SELECT 'step', state, count(*) FROM provisioning_step GROUP BY state
"""
ATTEMPTS = """
    SELECT connector, back_end, outcome, count(*),
           coalesce(percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds), 0),
           coalesce(percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds), 0)
    FROM (
        SELECT step.connector, step.back_end, attempt.outcome,
               extract(epoch FROM attempt.finished_at - attempt.started_at) AS seconds
        FROM provisioning_stepattempt AS attempt JOIN provisioning_step AS step ON step.id = attempt.step_id
        WHERE attempt.started_at > now() - interval '1 hour'
    ) AS recent
    GROUP BY connector, back_end, outcome
"""
ORPHANS = """
    SELECT back_end, count(*), extract(epoch FROM now() - min(created_at))
    FROM provisioning_step
    WHERE kind = 'compensate' AND started_at IS NOT NULL AND state NOT IN ('succeeded', 'canceled', 'skipped')
    GROUP BY back_end
"""
BREAKERS = "SELECT back_end, (state = 'open')::int, failures FROM provisioning_breaker"


def text() -> bytes:
    """Write all numbers down in Prometheus' text format. Raises DatabaseError where they cannot be had."""
    registry = CollectorRegistry()
    for add in (_states, _attempts, _orphans, _breakers, _workers):
        add(registry)
    return generate_latest(registry)


def _rows(sql: str) -> Iterable[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql)
        return cursor.fetchall()


def _gauge(registry: CollectorRegistry, name: str, says: str, labels: Iterable[str] = ()) -> Gauge:
    return Gauge(f"greenlane_{name}", says, list(labels), registry=registry)


def _states(registry: CollectorRegistry) -> None:
    rows = _gauge(registry, "rows", "Rows by what they are and in which state", ["what", "state"])
    for what, state, number in _rows(STATES):
        rows.labels(what, state).set(number)


def _attempts(registry: CollectorRegistry) -> None:
    labels = ["connector", "back_end", "outcome"]
    number = _gauge(registry, "step_attempts", "Attempts of the last hour", labels)
    seconds = _gauge(registry, "step_seconds", "Seconds that attempts of the last hour took", [*labels, "quantile"])
    for connector, back_end, outcome, count, median, slow in _rows(ATTEMPTS):
        number.labels(connector, back_end, outcome).set(count)
        seconds.labels(connector, back_end, outcome, "0.5").set(median)
        seconds.labels(connector, back_end, outcome, "0.95").set(slow)


def _orphans(registry: CollectorRegistry) -> None:
    number = _gauge(registry, "orphans", "Things that should be gone from a back end and are not yet", ["back_end"])
    age = _gauge(registry, "oldest_orphan_seconds", "Seconds since the oldest of them should be gone", ["back_end"])
    for back_end, count, oldest in _rows(ORPHANS):
        number.labels(back_end).set(count)
        age.labels(back_end).set(oldest)


def _breakers(registry: CollectorRegistry) -> None:
    is_open = _gauge(registry, "breaker_open", "Whether a back end counts as silent", ["back_end"])
    failures = _gauge(registry, "breaker_failures", "Failures one after the other", ["back_end"])
    for back_end, state, count in _rows(BREAKERS):
        is_open.labels(back_end).set(state)
        failures.labels(back_end).set(count)


def _workers(registry: CollectorRegistry) -> None:
    age = sweeper.seconds_since_sweep()
    sweep = _gauge(registry, "sweeper_age_seconds", "Seconds since a worker last looked for due work")
    sweep.set(-1 if age is None else age)
    oldest = _gauge(registry, "oldest_due_step_seconds", "Seconds that the oldest due step has waited")
    oldest.set(sweeper.oldest_due_seconds())
    silence = _gauge(registry, "worker_silent_seconds", "Seconds since a worker last said something", ["worker"])
    places = _gauge(registry, "worker_places", "Steps that a worker does at a time", ["worker"])
    for name, seconds, number in sweeper.workers():
        silence.labels(name).set(seconds)
        places.labels(name).set(number)
