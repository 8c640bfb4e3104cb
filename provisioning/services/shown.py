"""Runs as pages, API and command show them: each with the step at which it stands, the words for that, its history."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db.models import F, Window
from django.db.models.functions import RowNumber

from provisioning.models import Run, RunQuerySet, Step, StepAttempt, StepLine
from provisioning.services.runs import ClockTimestamp, was_canceled
from provisioning.services.watching import Standing, steps_in_hand
from provisioning.services.why import next_try, why, why_step

# Long texts that nobody shows.
HEAVY = [f"instance__plan__version__{name}" for name in ("document", "parameters_schema", "terms", "description")]
HEAVY += ["instance__parameters", "instance__outputs"]
# A person has to decide; nothing goes on by itself.
NEEDS_OPERATOR = {Step.State.OUTCOME_UNKNOWN, Step.State.FAILED, Step.State.COMPENSATION_FAILED}
TONES = {
    Run.State.RUNNING: "info",
    Run.State.COMPENSATING: "warn",
    Run.State.SUCCEEDED: "ok",
    Run.State.COMPENSATED: "bad",
    Run.State.COMPENSATION_FAILED: "bad",
    Run.State.ABANDONED: "",
}


@dataclass(frozen=True)
class Row:
    """A run, the step at which it stands, and why; `next_at` is when that is tried again."""

    run: Run
    step: Step | None
    tone: str
    label: str
    why: str
    next_at: datetime | None


def seen_runs(person: Any) -> RunQuerySet:
    """Give the runs that `person` may look at, each with what is shown of it and the database's time as `now`."""
    return with_details(Run.objects.visible_to(person))


def with_details(runs: RunQuerySet) -> RunQuerySet:
    """Read with each of `runs` what `rows_of` needs of it."""
    return (
        runs.annotate(now=ClockTimestamp())
        .select_related("instance__plan__version__offering", "instance__owner")
        .defer(*HEAVY)
    )


def rows_of(runs: Sequence[Any], known: dict[str, Standing]) -> list[Row]:
    """Put runs of `seen_runs` into words, in one query; `known` says how the back ends stand."""
    steps = steps_in_hand(list(runs))
    return [_row(run, steps.get(run.pk), known) for run in runs]


def _row(run: Any, step: Step | None, known: dict[str, Standing]) -> Row:
    standing = known.get(step.back_end) if step else None
    tone, label = _tone(run, step)
    return Row(run, step, tone, label, why(run, step, standing, run.now), next_try(step, standing))


def _tone(run: Run, step: Step | None) -> tuple[str, str]:
    """Give the tone and the word for how `run` stands."""
    if run.state == Run.State.COMPENSATED and was_canceled(run):
        return "", "Canceled"
    if step is not None and run.state in Run.OPEN:
        if step.state in NEEDS_OPERATOR:
            return "bad", "Needs an operator"
        if step.state == Step.State.WAITING_FOR_PERSON:
            return "warn", "Waits for a person"
    return TONES[Run.State(run.state)], run.get_state_display()


def steps_of(run: Run) -> list[Step]:
    """Give the steps of `run` in the order in which they are taken, with their tasks."""
    return list(run.steps.select_related("task").order_by("-kind", "generation", "seq"))


def why_of(run: Any, step: Step, known: dict[str, Standing]) -> str:
    """Say what `step` of `run` waits for; nothing for one that is over, or that had failed before the undoing began."""
    if step.state == Step.State.FAILED and run.state != Run.State.RUNNING:
        return ""
    return why_step(step, known.get(step.back_end), run.now)


def attempts_of(run: Run, most: int) -> dict[Any, list[StepAttempt]]:
    """Give the last `most` attempts of each step of `run`, oldest first, by the step's id. One query."""
    return _last(StepAttempt.objects.filter(step__run=run), most)


def lines_of(run: Run, most: int) -> dict[Any, list[StepLine]]:
    """Give the last `most` lines of the log of each step of `run`, oldest first, by the step's id. One query."""
    return _last(StepLine.objects.filter(step__run=run), most)


def _last(rows: Any, most: int) -> dict[Any, list[Any]]:
    found: dict[Any, list[Any]] = defaultdict(list)
    place = Window(RowNumber(), partition_by="step_id", order_by=F("id").desc())
    for row in rows.annotate(place=place).filter(place__lte=most).order_by("id"):
        found[row.step_id].append(row)
    return found
