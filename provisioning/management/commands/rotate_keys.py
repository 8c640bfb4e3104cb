"""`rotate_keys`: leave an old encryption key behind."""

from typing import Any

from django.core.management.base import CommandError

import catalog.services as catalog
from core.management.plain import PlainCommand
from core.secrets import Unreadable
from provisioning.services.instances import rotate_keys


class Command(PlainCommand):
    """Run it once the new key stands first in ENCRYPTION_KEYS; then the old one can go."""

    help = (
        "Encrypt every stored secret anew with the first of ENCRYPTION_KEYS. Put the new key first and keep the"
        " old one after it, restart all processes, run this, then take the old key away."
    )

    def handle(self, *args: Any, **options: Any) -> None:
        """Encrypt anew, and say how many."""
        try:
            count = rotate_keys() + catalog.rotate_keys()
        except Unreadable as error:
            raise CommandError(f"{error} Put the key that it was stored with back into ENCRYPTION_KEYS.") from error
        self.stdout.write(f"{count} secret{' is' if count == 1 else 's are'} encrypted with the first key now.")
