"""What operators look at: runs by what stands with them, the step at which each stands, and how back ends answer."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from django.conf import settings
from django.db import connection
from django.db.models import Case, Exists, IntegerField, OuterRef, Q, Value, When

from provisioning.models import Run, RunQuerySet, Step, StepQuerySet
from provisioning.services.runs import CANCELED

# Where a run stands: these steps are neither still to come nor over. Most urgent for a person first.
IN_HAND = [
    Step.State.COMPENSATION_FAILED,
    Step.State.OUTCOME_UNKNOWN,
    Step.State.FAILED,
    Step.State.WAITING_FOR_PERSON,
    Step.State.RUNNING,
    Step.State.POLLING,
    Step.State.RETRY,
    Step.State.READY,
]
_asks = Exists(
    Step.objects.filter(
        run=OuterRef("pk"), kind=Step.Kind.DO, state__in=[Step.State.FAILED, Step.State.OUTCOME_UNKNOWN]
    )
)
_was_canceled = Q(state=Run.State.COMPENSATED, reason=CANCELED)
TABS: dict[str, tuple[str, Q]] = {
    "operator": ("Needs an operator", Q(state=Run.State.COMPENSATION_FAILED) | Q(state=Run.State.RUNNING) & Q(_asks)),
    "running": ("Running", Q(state=Run.State.RUNNING) & ~Q(_asks)),
    "undoing": ("Being undone", Q(state=Run.State.COMPENSATING)),
    "failed": ("Failed", Q(state__in=[Run.State.COMPENSATED, Run.State.ABANDONED]) & ~_was_canceled),
    "done": ("Done", Q(state=Run.State.SUCCEEDED) | _was_canceled),
}
MAX_TEXT = 100
# How many of the newest attempts tell what is usual: bounded, however old the installation is.
LATEST_ATTEMPTS = 20_000
SLOW_FOR = timedelta(minutes=2)


@dataclass(frozen=True)
class Wanted:
    """Which runs are asked for; what is empty narrows nothing."""

    tab: str = ""
    state: str = ""
    back_end: str = ""
    connector: str = ""
    offering: str = ""
    text: str = ""
    since: datetime | None = None


@dataclass(frozen=True)
class Standing:
    """How one back end stands at this moment, by the database's clock."""

    back_end: str
    name: str
    connector: str
    is_open: bool
    failures: int
    last_error: str
    opened_at: datetime | None
    probe_at: datetime | None
    slow_at: datetime | None
    calls: int
    waiting: int
    limit: int | None
    usual_seconds: float | None
    longest_seconds: float | None
    now: datetime

    @property
    def is_full(self) -> bool:
        """Whether as many calls are under way as may be."""
        return self.limit is not None and self.calls >= self.limit

    @property
    def is_slow(self) -> bool:
        """Whether a call there took long lately, so that it gets half of the places at most."""
        return self.slow_at is not None and self.now - self.slow_at < SLOW_FOR


def matching(runs: RunQuerySet, wanted: Wanted) -> RunQuerySet:
    """Narrow `runs` to what is wanted."""
    if wanted.tab in TABS:
        runs = runs.filter(TABS[wanted.tab][1])
    if wanted.state:
        runs = runs.filter(state=wanted.state)
    if wanted.back_end:
        runs = runs.filter(_stands_at(back_end=wanted.back_end))
    if wanted.connector:
        runs = runs.filter(_stands_at(connector=wanted.connector))
    if wanted.offering:
        runs = runs.filter(instance__plan__version__offering__slug=wanted.offering)
    if wanted.since:
        runs = runs.filter(created_at__gte=wanted.since)
    text = wanted.text.strip()[:MAX_TEXT]
    return runs.filter(_says(text)) if text else runs


def _stands_at(**where: str) -> Q:
    """Those that stand at such a step, or, where they are done, had one."""
    steps = Step.objects.filter(run=OuterRef("pk"), **where)
    return Q(Exists(steps.filter(state__in=IN_HAND))) | Q(state=Run.State.SUCCEEDED) & Q(Exists(steps))


def _says(text: str) -> Q:
    """Those of a service, person, order or error like `text`."""
    found = (
        Q(instance__name__icontains=text)
        | Q(reason__icontains=text)
        | Q(instance__owner__username__icontains=text)
        | Q(instance__owner__name__icontains=text)
        | Q(Exists(Step.objects.filter(run=OuterRef("pk"), error__icontains=text)))
    )
    if text.isdecimal() and text.isascii():
        found |= Q(context__order_number=int(text))
    return found


def steps_in_hand(runs: list[Run]) -> dict[Any, Step]:
    """Give, by run, the step at which each of `runs` stands; none for those that are over. One query."""
    urgency = Case(
        *(When(state=state, then=Value(rank)) for rank, state in enumerate(IN_HAND)), output_field=IntegerField()
    )
    rows: StepQuerySet = Step.objects.filter(run__in=[run.pk for run in runs], state__in=IN_HAND)
    rows = rows.annotate(rank=urgency).order_by("-rank", "-seq").select_related("task").defer("inputs", "outputs")
    found: dict[Any, Step] = {}
    states = {run.pk: run.state for run in runs}
    for step in rows:
        # What failed before the undoing began is history.
        if step.kind == Step.Kind.COMPENSATE or states[step.run_id] == Run.State.RUNNING:
            found[step.run_id] = step
    return found


STANDINGS = """
    WITH busy AS (
        SELECT back_end, max(connector) AS connector,
               count(*) FILTER (WHERE lease_token IS NOT NULL AND lease_expires_at > clock_timestamp()) AS calls,
               count(*) FILTER (WHERE lease_token IS NULL AND state IN ('ready', 'retry')) AS waiting
        FROM provisioning_step WHERE state IN ('ready', 'retry', 'running', 'polling') GROUP BY back_end
    ),
    usual AS (
        SELECT step.back_end,
               percentile_cont(0.5) WITHIN GROUP (ORDER BY attempt.took) AS usual,
               percentile_cont(0.95) WITHIN GROUP (ORDER BY attempt.took) AS longest
        FROM (
            SELECT step_id, outcome, extract(epoch FROM finished_at - started_at) AS took
            FROM provisioning_stepattempt ORDER BY id DESC LIMIT %(latest)s
        ) AS attempt
        JOIN provisioning_step AS step ON step.id = attempt.step_id
        WHERE %(with_usual)s AND attempt.outcome = 'succeeded' GROUP BY step.back_end
    ),
    names AS (
        SELECT back_end FROM busy UNION SELECT back_end FROM usual
        UNION SELECT back_end FROM provisioning_breaker
        UNION SELECT slug FROM catalog_backend WHERE is_active
    )
    SELECT names.back_end, row.name, coalesce(row.connector, busy.connector), breaker.state = 'open',
           breaker.failures, breaker.last_error, breaker.opened_at, breaker.probe_at, breaker.slow_at,
           coalesce(busy.calls, 0), coalesce(busy.waiting, 0), row.limit, usual.usual, usual.longest, clock_timestamp()
    FROM names
    LEFT JOIN busy USING (back_end)
    LEFT JOIN usual USING (back_end)
    LEFT JOIN provisioning_breaker AS breaker USING (back_end)
    LEFT JOIN catalog_backend AS row ON row.slug = names.back_end
    WHERE names.back_end <> ''
    ORDER BY breaker.state = 'open' DESC NULLS LAST, names.back_end
"""


def standings(*, with_usual: bool = False) -> dict[str, Standing]:
    """Give how every back end stands, silent ones first; `with_usual` also how long calls there usually take."""
    with connection.cursor() as cursor:
        cursor.execute(STANDINGS, {"latest": LATEST_ATTEMPTS if with_usual else 0, "with_usual": with_usual})
        rows = cursor.fetchall()
    return {standing.back_end: standing for standing in map(_standing, rows)}


def _standing(row: tuple[Any, ...]) -> Standing:
    back_end, name, connector, is_open, failures, last_error, *rest = row
    opened_at, probe_at, slow_at, calls, waiting, limit, usual, longest, now = rest
    declared = settings.CONNECTORS.get(back_end, {}).get("limit")
    return Standing(
        back_end=back_end,
        name=name or back_end,
        connector=connector or (back_end if back_end in settings.CONNECTORS else ""),
        is_open=bool(is_open),
        failures=failures or 0,
        last_error=last_error or "",
        opened_at=opened_at,
        probe_at=probe_at,
        slow_at=slow_at,
        calls=calls,
        waiting=waiting,
        limit=limit or declared,
        usual_seconds=usual,
        longest_seconds=longest,
        now=now,
    )
