"""`verify_audit`: whether the audit trail is what was written."""

from typing import Any

from django.core.management.base import CommandError
from django.db import transaction

from core import seals
from core.management.plain import PlainCommand
from core.models import Event, EventSeal

BATCH = 5_000
SHOWN = 50


class Command(PlainCommand):
    """Seals what is new, then walks the whole chain."""

    help = (
        "Seal the events that have no seal yet, then check every event against the chain of seals. An event that"
        " was edited, deleted or slipped in is named; the exit code is then 1."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seal, walk, and say what was found."""
        self._seal()
        total = EventSeal.objects.count()
        faults = list(seals.faults(lambda seq: self.show_progress(seq, total, "events checked")))
        unsealed = seals.unsealed_count()
        if unsealed:
            faults.append(f"{unsealed} events have no seal: they were slipped in long after their time.")
        for fault in faults[:SHOWN]:
            self.stderr.write(fault)
        if faults:
            raise CommandError(f"The audit trail is not what was written: {_count(len(faults), 'fault')}.")
        last = EventSeal.objects.order_by("-seq").first()
        head = f"; head hash {last.row_hash}" if last else ""
        self.stdout.write(f"{_count(last.seq if last else 0, 'event')} in an unbroken chain{head}")

    def _seal(self) -> None:
        total = Event.objects.filter(seal__isnull=True).count()
        done = 0
        while True:
            with transaction.atomic():
                sealed = seals.seal_events(limit=BATCH)
            if not sealed:
                return
            done += sealed
            self.show_progress(done, max(total, done), "events sealed")


def _count(number: int, what: str) -> str:
    return f"{number} {what}{'' if number == 1 else 's'}"
