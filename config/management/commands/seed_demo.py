"""`seed_demo`: fill the database with the demo organization."""

from typing import Any

from django.conf import settings

from config.seeding import SignIn, seed
from core.management.plain import PlainCommand

HEADINGS = SignIn("Sign-in", "Password", "Name", "What he or she is")
UNCHANGED = "(as before)"


class Command(PlainCommand):
    """Repeatable: a second run makes only what is gone."""

    help = (
        "Fill an empty database with the demo organization: people, cost centers, offerings and months of"
        " orders. Run again, it makes only what is missing. Passwords come from DEMO_PASSWORD; unset, one is"
        " drawn and printed. Prints who signs in how."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Seed, then print the people."""
        rows = [HEADINGS, *seed(settings.DEMO_PASSWORD)]
        columns = [(row.username, row.password or UNCHANGED, row.name, row.what) for row in rows]
        widths = [max(map(len, column)) for column in zip(*columns, strict=True)]
        for row in columns:
            cells = (cell.ljust(width) for cell, width in zip(row, widths, strict=True))
            self.stdout.write("  ".join(cells).rstrip())
