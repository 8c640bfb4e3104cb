"""`runs`: look at the engine's work, and do what its operators do."""

from argparse import ArgumentParser
from datetime import datetime
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError
from django.utils import timezone
from django.utils.dateparse import parse_datetime

import provisioning.services as provisioning
from accounts.models import Person
from core.management.plain import PlainCommand
from provisioning.models import Run, Step
from provisioning.services import shown
from provisioning.services.watching import TABS, Wanted, matching, standings

HEADINGS = ("Run", "Began", "State", "Kind", "Service", "Why")
VERBS = "list|show|retry|skip|abandon|undo|resolve"
SHOWN_ATTEMPTS, SHOWN_LINES = 10, 50


class Command(PlainCommand):
    """`list` and `show` look; the other verbs act in the name of a person who may."""

    help = "List and show the runs of workflows; try them again, leave out a step, undo or abandon them."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar=VERBS)
        listing = verbs.add_parser("list", help="the newest runs")
        _add_filters(listing)
        listing.add_argument("--limit", type=int, default=50, help="how many at most (50)")
        show = verbs.add_parser("show", help="one run with its steps, attempts and logs")
        show.add_argument("run", type=UUID, help="the run's id, as `list` shows it")
        retry = verbs.add_parser("retry", help="go on with a run from where it stands, or with all that match")
        retry.add_argument("run", type=UUID, nargs="?", help="the run's id; left out with --all")
        retry.add_argument("--all", action="store_true", help="all runs that match the filters, 500 at most")
        _add_filters(retry)
        skip = verbs.add_parser("skip", help="leave out a step: the run goes on without it")
        resolve = verbs.add_parser("resolve", help="say what became of a step whose outcome is unknown")
        for verb in (skip, resolve):
            verb.add_argument("step", type=UUID, help="the step's id, as `show` shows it")
        resolve.add_argument("answer", choices=provisioning.Finding.values, help="what is so")
        resolve.add_argument("--output", action="append", default=[], metavar="NAME=VALUE", help="what it gave")
        resolve.add_argument("--external-ref", default="", help="what the back end calls it")
        abandon = verbs.add_parser("abandon", help="give a run up: what is left was cleared by hand, or may stay")
        undo = verbs.add_parser("undo", help="stop a run and take back what it made")
        for verb in (abandon, undo):
            verb.add_argument("run", type=UUID, help="the run's id, as `list` shows it")
        for verb in (retry, skip, resolve, abandon, undo):
            verb.add_argument("--user", required=True, help="who does it: his sign-in name")
        for verb in (skip, resolve, abandon, undo):
            verb.add_argument("--reason", required=True, help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do the chosen verb."""
        getattr(self, f"_{options['verb']}")(options)

    def _list(self, options: dict[str, Any]) -> None:
        runs = matching(_all_runs(), _wanted(options)).order_by("-created_at", "-id")
        rows = [
            (
                str(row.run.pk),
                f"{timezone.localtime(row.run.created_at):%Y-%m-%d %H:%M}",
                row.run.state,
                row.run.kind,
                row.run.instance.name,
                f"{row.step.name}: {row.why}" if row.step else row.why,
            )
            for row in shown.rows_of(list(runs[: max(options["limit"], 0)]), standings())
        ]
        widths = [max(map(len, column)) for column in zip(HEADINGS, *rows, strict=True)]
        for line in (HEADINGS, *rows):
            cells = (cell.ljust(width) for cell, width in zip(line, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())

    def _show(self, options: dict[str, Any]) -> None:
        run: Any = _run(options)
        known = standings()
        row = shown.rows_of([run], known)[0]
        self.stdout.write(f"{run.instance.name}: {run.get_kind_display().lower()}, {row.label.lower()}. {row.why}")
        attempts, lines = shown.attempts_of(run, SHOWN_ATTEMPTS), shown.lines_of(run, SHOWN_LINES)
        for step in shown.steps_of(run):
            says = shown.why_of(run, step, known) or step.error or step.detail
            self.stdout.write(f"\n{step.pk}  {step.name} ({step.back_end or step.connector}): {step.state}")
            if says:
                self.stdout.write(f"  {says}")
            for attempt in attempts[step.pk]:
                self.stdout.write(f"  {_time(attempt.started_at)} attempt {attempt.number}: {attempt.outcome}")
            for line in lines[step.pk]:
                self.stdout.write(f"  {_time(line.at)} | {line.text}")

    def _retry(self, options: dict[str, Any]) -> None:
        if options["all"] == bool(options["run"]):
            raise CommandError("Name one run, or all that match with --all.", returncode=2)
        if options["run"]:
            run = provisioning.retry_run(_run(options), actor=_person(options))
            self.stdout.write(f"Run {run.pk} goes on.")
            return
        done = provisioning.retry_many(_wanted(options), actor=_person(options))
        for pk, sentence in done.refused:
            self.stderr.write(f"{pk}: {sentence}")
        self.stdout.write(f"{done.retried} {'run goes' if done.retried == 1 else 'runs go'} on.")
        if done.refused:
            raise CommandError(f"{len(done.refused)} {'does' if len(done.refused) == 1 else 'do'} not.")

    def _skip(self, options: dict[str, Any]) -> None:
        step = provisioning.skip_step(_step(options), options["reason"], actor=_person(options))
        self.stdout.write(f"“{step.name}” is left out.")

    def _resolve(self, options: dict[str, Any]) -> None:
        pairs = [pair.partition("=") for pair in options["output"]]
        step = provisioning.resolve_unknown(
            _step(options),
            options["answer"],
            outputs={name.strip(): value.strip() for name, _, value in pairs},
            external_ref=options["external_ref"],
            reason=options["reason"],
            actor=_person(options),
        )
        self.stdout.write(f"“{step.name}” is {step.get_state_display().lower()}.")

    def _abandon(self, options: dict[str, Any]) -> None:
        provisioning.abandon_run(_run(options), options["reason"], actor=_person(options))
        self.stdout.write("The run is abandoned.")

    def _undo(self, options: dict[str, Any]) -> None:
        provisioning.undo_run(_run(options), options["reason"], actor=_person(options))
        self.stdout.write("What the run made is taken back.")


def _add_filters(parser: ArgumentParser) -> None:
    parser.add_argument("--state", choices=Run.State.values, default="", help="only those in this state")
    parser.add_argument("--stands", choices=list(TABS), default="", help="only those under this tab of the page")
    parser.add_argument("--back-end", default="", help="only those that stand at this back end")
    parser.add_argument("--connector", default="", help="only those that stand at this connector")
    parser.add_argument("--offering", default="", help="only those of this offering, by its slug")
    parser.add_argument("--text", default="", help="only those with this in name, person, order number or error")
    parser.add_argument("--since", type=_moment, help="only those that began at this time (ISO 8601) or later")


def _moment(text: str) -> datetime:
    """Read a time; without a zone it is the site's. Raises ValueError, which argparse words."""
    found = parse_datetime(text)
    if found is None:
        raise ValueError(text)
    return found if timezone.is_aware(found) else timezone.make_aware(found)


def _wanted(options: dict[str, Any]) -> Wanted:
    names = ("state", "back_end", "connector", "offering", "text", "since")
    return Wanted(tab=options["stands"], **{name: options[name] for name in names})


def _all_runs() -> Any:
    """Who runs this command reads the database anyway."""
    return shown.with_details(Run.objects.all())


def _run(options: dict[str, Any]) -> Run:
    run = _all_runs().filter(pk=options["run"]).first()
    if run is None:
        raise CommandError(f"There is no run {options['run']}.")
    return run


def _step(options: dict[str, Any]) -> Step:
    step = Step.objects.select_related("run").filter(pk=options["step"]).first()
    if step is None:
        raise CommandError(f"There is no step {options['step']}.")
    return step


def _person(options: dict[str, Any]) -> Person:
    actor = Person.objects.filter(username=options["user"]).first()
    if actor is None:
        raise CommandError(f"There is no person with the sign-in name “{options['user']}”.")
    return actor


def _time(at: datetime) -> str:
    return f"{timezone.localtime(at):%Y-%m-%d %H:%M:%S}"
