"""`create_token`: an API token for a script, from the machine on which Greenlane runs."""

import re
from argparse import ArgumentParser, ArgumentTypeError
from datetime import timedelta
from typing import Any

from django.core.management.base import CommandError

from accounts.models import Person, Scope
from accounts.services import create_token
from core.management.plain import PlainCommand

UNITS = {"d": "days", "h": "hours", "m": "minutes", "s": "seconds", "": "seconds"}


def lifetime(text: str) -> timedelta:
    """Read `30d`, `12h`, `15m` or `3600` (seconds)."""
    found = re.fullmatch(r"([0-9]{1,9})([dhms]?)", text, re.ASCII)
    if not found:
        raise ArgumentTypeError(f"“{text}” is no length of time: write 30d, 12h, 15m or 3600 (seconds).")
    return timedelta(**{UNITS[found[2]]: int(found[1])})


def scopes(text: str) -> list[str]:
    """Read scopes separated by commas."""
    chosen = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in chosen if name not in Scope.values]
    if unknown or not chosen:
        raise ArgumentTypeError(f"Choose scopes among {', '.join(Scope.values)}, separated by commas.")
    return chosen


class Command(PlainCommand):
    """Prints the token alone, so that a script can catch it."""

    help = (
        "Make an API token for a person and print it: the token alone, and only this once."
        " It may do what its scopes say, and never more than its person may."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Ask for whom, for how long and what for."""
        parser.add_argument("--user", required=True, help="whose token: his sign-in name")
        parser.add_argument(
            "--expires-in",
            type=lifetime,
            required=True,
            help="30d, 12h, 15m or 3600 (seconds); a year at most",
        )
        parser.add_argument("--scopes", type=scopes, required=True, help=f"among {','.join(Scope.values)}; by commas")
        parser.add_argument("--label", default="made by create_token", help="how it is called on his profile")

    def handle(self, *args: Any, **options: Any) -> None:
        """Make the token in the person's name, as he would on his profile."""
        person = Person.objects.filter(username=options["user"]).first()
        if person is None:
            raise CommandError(f"There is no person with the sign-in name “{options['user']}”.")
        if not person.is_active:
            raise CommandError(f"The account of “{person.username}” is closed: it gets no token.")
        _, text = create_token(
            person,
            label=options["label"],
            scopes=options["scopes"],
            expires_in=options["expires_in"],
            actor=person,
        )
        self.stdout.write(text)
