"""Commands that say what is wrong in one sentence, and nothing else."""

import sys
from typing import Any

from django.core.exceptions import PermissionDenied
from django.core.management.base import BaseCommand, CommandError, SystemCheckError
from django.db import DatabaseError, InterfaceError

from core.problems import Conflict, Invalid
from core.states import IllegalMove
from core.transactions import Busy, is_unreachable, sqlstate

# PostgreSQL misses a table or a column.
NOT_MIGRATED = {"42P01", "42703"}
REFUSALS = (Invalid, Conflict, IllegalMove, PermissionDenied, Busy)


class PlainCommand(BaseCommand):
    """Exit 0 when all is well, 1 with a sentence on stderr where something is wrong, 2 for bad usage.

    What a service refuses is such a sentence. A fault that nobody foresaw keeps its traceback.
    """

    def execute(self, *args: Any, **options: Any) -> str | None:
        """Run the command; called from Python it raises CommandError, from a shell it exits."""
        try:
            return self._execute(*args, **options)
        except SystemCheckError:
            raise  # speaks for itself
        except CommandError as error:
            if not getattr(self, "_called_from_command_line", False) or options.get("traceback"):
                raise
            self.stderr.write(str(error))
            sys.exit(error.returncode)

    def _execute(self, *args: Any, **options: Any) -> str | None:
        try:
            return super().execute(*args, **options)
        except REFUSALS as error:
            raise CommandError(str(error)) from error
        except (DatabaseError, InterfaceError) as error:
            if sqlstate(error) in NOT_MIGRATED:
                raise CommandError("The database is not up to date: run `manage.py migrate`.") from error
            if not is_unreachable(error):
                raise
            raise CommandError("The database cannot be reached.") from error

    @property
    def is_watched(self) -> bool:
        """Whether a person looks at a terminal and wants to see progress."""
        return bool(getattr(self.stderr, "isatty", lambda: False)())

    def show_progress(self, done: int, total: int, what: str) -> None:
        """Draw a progress bar on a terminal, over the one before; nothing elsewhere."""
        if not self.is_watched:
            return
        width = 30
        filled = width * done // max(total, 1)
        end = "\n" if done >= total else ""
        self.stderr.write(f"\r[{'#' * filled}{'.' * (width - filled)}] {done} of {total} {what}", ending=end)
