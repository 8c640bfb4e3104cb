"""The demo's offerings: drafted by one IT admin, published by another, as the rules ask."""

from django.conf import settings

import catalog.services as catalog
from accounts.models import BusinessUnit
from catalog.models import BackEnd, Category, Offering, OfferingVersion, Plan, Price, WorkflowStep
from config.demo_data import network, technical, workplace
from config.demo_data.shapes import CATEGORIES, DemoOffering
from config.seeding.organization import People

OFFERINGS: tuple[DemoOffering, ...] = technical.OFFERINGS + workplace.OFFERINGS + network.OFFERINGS


def seed_catalog(people: People) -> None:
    """Make the missing categories and offerings; what a curator changed since stays changed."""
    shelves = {shelf.slug: _shelf(position) for position, shelf in enumerate(CATEGORIES)}
    units = {unit.slug: unit for unit in BusinessUnit.objects.select_related("group")}
    there = set(Offering.objects.values_list("slug", flat=True))
    has_names = bool(settings.DEMO_NAMES_URL)
    if has_names:
        _save_names(people)
    for entry in OFFERINGS:
        if entry.slug not in there and (has_names or not entry.needs_names):
            offering = _publish(entry, shelves[entry.category], people)
            for unit in entry.units:
                catalog.entitle(offering, units[unit], actor=people["curator"])
            if entry.paused:
                catalog.pause(offering, entry.paused, actor=people["service_owner"])


def _save_names(people: People) -> None:
    """Say where the register of names listens now; its port is another one after a reset."""
    row = BackEnd.objects.filter(slug="names").first()
    if row and row.address == settings.DEMO_NAMES_URL:
        return
    catalog.save_back_end(
        row,
        slug="names",
        name="Register of names",
        connector="http",
        address=settings.DEMO_NAMES_URL,
        config={"auth": "bearer"},
        credentials={"token": settings.DEMO_NAMES_TOKEN},
        limit=None,
        is_active=True,
        actor=people["curator"],
    )


def _shelf(position: int) -> Category:
    shelf = CATEGORIES[position]
    row, _ = Category.objects.get_or_create(
        slug=shelf.slug,
        defaults={
            "name": shelf.name,
            "icon": shelf.icon,
            "color": shelf.color,
            "position": position,
        },
    )
    return row


def _publish(entry: DemoOffering, shelf: Category, people: People) -> Offering:
    author = people["curator"]
    offering = catalog.add_offering(
        slug=entry.slug,
        name=entry.name,
        category=shelf,
        service_owner=people["service_owner"],
        icon=entry.icon,
        actor=author,
    )
    version = offering.versions.get()
    catalog.save_draft(
        version,
        name=entry.name,
        summary=entry.summary,
        description=entry.description,
        parameters_schema=entry.schema,
        terms=entry.terms,
        purposes=list(entry.purposes),
        data_classes=list(entry.data_classes),
        promised_delivery_seconds=entry.delivered_within,
        promised_availability=entry.availability,
        actor=author,
    )
    _add_parts(entry, version, people)
    catalog.publish(version, actor=people["curator2"])
    return Offering.objects.get(pk=offering.pk)


def _add_parts(entry: DemoOffering, version: OfferingVersion, people: People) -> None:
    author = people["curator"]
    for position, size in enumerate(entry.plans):
        plan = Plan(
            version=version,
            slug=size.slug,
            name=size.name,
            description=size.description,
            limits=size.limits,
            position=position,
        )
        catalog.save_part(plan, actor=author)
        for kind, amount in size.prices.items():
            catalog.save_part(Price(plan=plan, kind=kind, amount=amount, currency="USD"), actor=author)
    for position, step in enumerate(entry.steps):
        row = WorkflowStep(
            version=version,
            position=position,
            name=step.name,
            connector=step.connector,
            operation=step.operation,
            inputs=step.inputs,
            back_end=step.back_end,
            when=step.when,
            timeout_seconds=step.timeout_seconds,
        )
        catalog.save_part(row, actor=author)
