"""The whole demo organization in one transaction: all of it or nothing."""

from dataclasses import dataclass

from django.db import connection, transaction

from accounts.models import BusinessUnit, CostCenter, Person
from config.demo_data.people import COST_CENTERS, PEOPLE, UNITS
from config.seeding.catalog import seed_catalog
from config.seeding.history import seed_history
from config.seeding.live import place_live_orders
from config.seeding.organization import seed_organization
from core import events
from core.models import Event
from core.problems import Conflict
from provisioning.services import measure_delivery_times

SEED_LOCK = 4_102_003
SEEDED = "demo.seeded"


@dataclass(frozen=True)
class SignIn:
    """How one demo person signs in; `password` is None where it stays what it was."""

    username: str
    password: str | None
    name: str
    what: str


def seed(password: str) -> list[SignIn]:
    """Make what is missing of the demo organization; give how its people sign in.

    `password` becomes everybody's; empty: new people get a random one and the others keep theirs. Raises
    Conflict where the database belongs to somebody else, or where another seeding is under way.
    """
    with transaction.atomic():
        _be_alone()
        _refuse_other_peoples_database()
        people, passwords = seed_organization(password)
        seed_catalog(people)
        made = seed_history(people)
        if made:
            measure_delivery_times()
        if not Event.objects.filter(name=SEEDED).exists():
            place_live_orders(people)
            events.record(SEEDED, people["admin"], actor=people["admin"])
    return [SignIn(entry.username, passwords[entry.username], entry.name, entry.what) for entry in PEOPLE]


def _be_alone() -> None:
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_try_advisory_xact_lock(%s)", [SEED_LOCK])
        if not cursor.fetchone()[0]:
            raise Conflict("seeding", "The demo organization is being seeded by another command right now.")


def _refuse_other_peoples_database() -> None:
    """Never give a known password to a real `admin` or `finance`."""
    if Event.objects.filter(name=SEEDED).exists():
        return
    taken = (
        Person.objects.filter(username__in=[person.username for person in PEOPLE]).exists()
        or BusinessUnit.objects.filter(slug__in=[unit.slug for unit in UNITS]).exists()
        or CostCenter.objects.filter(code__in=[account.code for account in COST_CENTERS]).exists()
    )
    if taken:
        raise Conflict(
            "not-a-demo",
            "This database holds people, units or cost centers that are not the demo's."
            " seed_demo fills only a database of its own.",
        )
