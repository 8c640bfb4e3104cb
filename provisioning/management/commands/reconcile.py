"""`reconcile`: look whether what was delivered is still there, and mark what is missing."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.conf import settings
from django.core.management.base import CommandError

from catalog.models import BackEnd
from core.management.plain import PlainCommand
from provisioning.services.reconcile import reconcile

UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


def age(text: str) -> timedelta:
    """Read an age such as 90s, 30m, 1h or 2d. Raises ArgumentTypeError for anything else."""
    match = re.fullmatch(r"(\d{1,5})([smhd])?", text)
    if not match:
        raise ArgumentTypeError("an age is a number with s, m, h or d, such as 30m")
    return timedelta(**{UNITS[match[2] or "s"]: int(match[1])})


class Command(PlainCommand):
    """Exit 0 where all that could be looked at is there, 1 where something is missing."""

    help = (
        "Look at the back ends whether every delivered service is still there. What is gone is marked as missing, what "
        "is there again as active; nothing is made or deleted."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Declare what narrows it."""
        parser.add_argument(
            "--connector", default="", metavar="NAME", help="only services of this connector or back end"
        )
        parser.add_argument(
            "--older-than",
            type=age,
            default=timedelta(),
            metavar="AGE",
            help="only those not looked at for so long, such as 30m or 1h (default: all)",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        """Look, and say what was found."""
        name = options["connector"]
        if name and name not in settings.CONNECTORS and not BackEnd.objects.filter(slug=name).exists():
            raise CommandError(f"There is no connector or back end “{name}”.")
        found = reconcile(
            connector_name=name,
            older_than=options["older_than"],
            watch=lambda done, total: self.show_progress(done, total, "services"),
        )
        self.stdout.write(
            f"{found.looked_at} services looked at: {found.there} there, {len(found.again)} there again, "
            f"{len(found.missing)} missing, {found.unsure} could not be looked at."
        )
        for line in found.again:
            self.stdout.write(f"There again: {line}")
        if found.missing:
            raise CommandError("\n".join([f"Missing: {line}" for line in found.missing]))
