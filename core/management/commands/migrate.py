"""`migrate`, as the role that owns the tables; then the application role gets what it may have."""

from typing import Any

import environ
from django.conf import settings
from django.core.management.commands.migrate import Command as Migrate
from django.db import connection

# Rows that say what happened: the application adds and reads them, and nothing else.
APPEND_ONLY = ["core_event", "core_eventseal", "approvals_decision", "orders_termsacceptance"]


class Command(Migrate):
    """Django's own command on DATABASE_OWNER_URL, followed by the grants."""

    def handle(self, *args: Any, **options: Any) -> None:
        """Migrate as owner, then grant."""
        owner = environ.Env.db_url_config(settings.DATABASE_OWNER_URL)
        usual = {name: connection.settings_dict[name] for name in ("USER", "PASSWORD", "OPTIONS")}
        connection.close()
        # A migration may take longer than a request may, and wait longer for a lock.
        patient = {**usual["OPTIONS"], "options": "-c timezone=UTC"}
        connection.settings_dict.update(USER=owner["USER"], PASSWORD=owner["PASSWORD"], OPTIONS=patient)
        try:
            super().handle(*args, **options)
            if options["database"] == "default" and not options["plan"] and not options["check_unapplied"]:
                self.grant(environ.Env.db_url_config(settings.DATABASE_URL)["USER"], owner["USER"])
        finally:
            connection.close()
            connection.settings_dict.update(usual)

    def grant(self, role: str, owner: str) -> None:
        """Give the application role its rights: all on rows, but only reading and adding on the append-only ones."""
        if role == owner:
            return
        name = connection.ops.quote_name(role)
        with connection.cursor() as cursor:
            cursor.execute(f"GRANT USAGE ON SCHEMA public TO {name}")
            cursor.execute(f"GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO {name}")
            cursor.execute(f"GRANT USAGE, SELECT, UPDATE ON ALL SEQUENCES IN SCHEMA public TO {name}")
            cursor.execute(f"REVOKE INSERT, UPDATE, DELETE ON django_migrations FROM {name}")
            cursor.execute("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'")
            existing = {row[0] for row in cursor.fetchall()}
            for table in APPEND_ONLY:
                if table in existing:
                    cursor.execute(f"REVOKE UPDATE, DELETE ON {table} FROM {name}")
            cursor.execute("SELECT table_name FROM information_schema.views WHERE table_schema = 'public'")
            for (view,) in cursor.fetchall():
                # Whoever may write to a view writes with its owner's rights.
                cursor.execute(f"REVOKE INSERT, UPDATE, DELETE ON {connection.ops.quote_name(view)} FROM {name}")
