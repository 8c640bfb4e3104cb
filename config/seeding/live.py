"""Two orders that the demo's workers really deliver as soon as they run: one that works, one that is undone."""

from django.conf import settings

import orders.services as orders
from catalog.models import Offering
from config.seeding.organization import People

OFFERING = "project-space"
# The second wants a name that another department registered long ago.
WANTED = {"spring-fair": "spring-fair", "intranet-relaunch": "intranet"}


def place_live_orders(people: People) -> None:
    """Order two project spaces for the business user; needs the demo's register of names."""
    if not settings.DEMO_NAMES_URL:
        return
    offering = Offering.objects.select_related("current_version").get(slug=OFFERING)
    version = offering.current_version
    if version is None:
        return
    for name, host in WANTED.items():
        wanted = orders.Wanted(
            plan=f"{OFFERING}/small",
            name=name,
            cost_center="4100",
            parameters={"host": host},
            terms_hash=version.terms_hash,
            purpose="test",
            data_classification="internal",
        )
        orders.place(wanted, actor=people["business"])
