"""`runs`: look at the engine's work, and settle what it could not undo by itself."""

from argparse import ArgumentParser
from typing import Any
from uuid import UUID

from django.core.management.base import CommandError

from accounts.models import Person
from core.management.plain import PlainCommand
from core.transactions import run as in_transaction
from provisioning.models import Run
from provisioning.services import abandon_run, retry_run

HEADINGS = ("Run", "Began", "State", "Kind", "Service", "Why")


class Command(PlainCommand):
    """`list` looks; `retry` and `abandon` act in the name of a person who may."""

    help = "List the runs of workflows; try again, or give up, one whose undoing failed."

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare the three verbs."""
        verbs = parser.add_subparsers(dest="verb", required=True, metavar="list|retry|abandon")
        listing = verbs.add_parser("list", help="the newest runs")
        listing.add_argument("--state", choices=Run.State.values, help="only those in this state")
        listing.add_argument("--limit", type=int, default=50, help="how many at most (50)")
        retry = verbs.add_parser("retry", help="try again to undo what could not be undone")
        abandon = verbs.add_parser("abandon", help="give up undoing: what is left was cleared by hand")
        for verb in (retry, abandon):
            verb.add_argument("run", type=UUID, help="the run's id, as `list` shows it")
            verb.add_argument("--user", required=True, help="who does it: his sign-in name")
        abandon.add_argument("--reason", required=True, help="why, for the audit trail")

    def handle(self, *args: Any, **options: Any) -> None:
        """Do the chosen verb."""
        if options["verb"] == "list":
            self._list(options["state"], options["limit"])
            return
        run = Run.objects.filter(pk=options["run"]).first()
        if run is None:
            raise CommandError(f"There is no run {options['run']}.")
        actor = Person.objects.filter(username=options["user"]).first()
        if actor is None:
            raise CommandError(f"There is no person with the sign-in name “{options['user']}”.")
        if options["verb"] == "retry":
            in_transaction(lambda: retry_run(run, actor=actor))
            self.stdout.write("The workers try again to undo it.")
        else:
            abandon_run(run, options["reason"], actor=actor)
            self.stdout.write("The run is abandoned.")

    def _list(self, state: str | None, limit: int) -> None:
        runs = Run.objects.select_related("instance")
        if state:
            runs = runs.filter(state=state)
        rows = [HEADINGS]
        rows += [
            (
                str(run.pk),
                f"{run.created_at:%Y-%m-%d %H:%M}",
                run.state,
                run.kind,
                run.instance.name,
                run.reason[:80],
            )
            for run in runs[: max(limit, 0)]
        ]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in rows:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
