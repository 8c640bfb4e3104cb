"""`import_broker`: draft offerings out of a service broker's catalog."""

from argparse import ArgumentParser
from typing import Any

from django.core.management.base import CommandError

from accounts.models import Person
from catalog.models import BackEnd, Category
from core.management.plain import PlainCommand
from provisioning.services import import_catalog


class Command(PlainCommand):
    """Says of each service what came of it, and what of it could not be taken over."""

    help = (
        "Fetch the catalog of a service broker and draft one offering a service, or bring the drafts of an"
        " earlier import in line with it. Nothing is published; what changed at the broker is written, and"
        " what a curator made of the rest stays."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        """Ask for the broker, for whom, and where new offerings go."""
        parser.add_argument("back_end", help="the broker: slug of a back end with the connector osb")
        parser.add_argument("--user", required=True, help="who imports: his sign-in name")
        parser.add_argument("--category", default="", help="slug of the shelf for new offerings (the first one)")
        parser.add_argument("--owner", default="", help="service owner of new offerings: his sign-in name (--user)")

    def handle(self, *args: Any, **options: Any) -> None:
        """Import in the person's name, as he would on the broker's page."""
        actor = _person(options["user"])
        owner = _person(options["owner"]) if options["owner"] else actor
        back_end = BackEnd.objects.filter(slug=options["back_end"]).first()
        if back_end is None:
            raise CommandError(f"There is no back end “{options['back_end']}”.")
        imported = import_catalog(back_end, category=_category(options["category"]), service_owner=owner, actor=actor)
        for what, slugs in (
            ("Drafted", imported.created),
            ("Changed", imported.updated),
            ("Unchanged", imported.unchanged),
        ):
            for slug in slugs:
                self.stdout.write(f"{what}: {slug}")
        for problem in imported.problems:
            self.stdout.write(f"Note: {problem}")
        if not imported.created + imported.updated + imported.unchanged:
            raise CommandError("The broker lists no service that could be taken over.")


def _person(username: str) -> Person:
    person = Person.objects.filter(username=username, is_active=True).first()
    if person is None:
        raise CommandError(f"There is no active person with the sign-in name “{username}”.")
    return person


def _category(slug: str) -> Category:
    category = Category.objects.filter(slug=slug).first() if slug else Category.objects.first()
    if category is None:
        raise CommandError(f"There is no category “{slug}”." if slug else "There is no category yet; add one.")
    return category
