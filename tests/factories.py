"""A small organization, made through the services, for tests to begin from."""

from dataclasses import dataclass, field
from typing import Any

import accounts.services as accounts
import catalog.services as catalog
from accounts.models import BusinessUnit, CostCenter, Person, Role
from catalog.models import Category, Offering, OfferingVersion, Plan, Price, WorkflowStep

PASSWORD = "correct-horse-battery-staple"
FORM = {
    "type": "object",
    "properties": {
        "storage": {
            "type": "integer",
            "title": "Storage",
            "default": 10,
            "minimum": 10,
            "maximum": 100,
            "x-unit": "GiB",
            "x-price": "0.5",
        },
        "backup": {"type": "boolean", "title": "Keep backups for 35 days", "default": False, "x-price": "6"},
    },
}
TERMS = "Use it for work. Delete what you no longer need."


@dataclass
class Organization:
    """Everyone and everything that `organization()` made, by sign-in name, unit slug and cost center code."""

    units: dict[str, BusinessUnit] = field(default_factory=dict)
    people: dict[str, Person] = field(default_factory=dict)
    cost_centers: dict[str, CostCenter] = field(default_factory=dict)

    def __getattr__(self, name: str) -> Person:
        people = self.__dict__.get("people", {})
        if name in people:
            return people[name]
        raise AttributeError(name)


PEOPLE = [
    ("business", "Maria Keller", "marketing", [Role.BUSINESS_USER]),
    ("colleague", "Jonas Berg", "marketing", [Role.BUSINESS_USER]),
    ("business2", "Li Wei", "research", [Role.BUSINESS_USER]),
    ("approver", "Jo Hart", "marketing", [Role.APPROVER]),
    ("owner", "Ana Costa", "marketing", [Role.COST_CENTER_OWNER]),
    ("curator", "Tom Lund", "it", [Role.IT_ADMIN]),
    ("curator2", "Eva Novak", "it", [Role.IT_ADMIN]),
    ("reviewer_security", "Sam Okafor", "it", [Role.CHECKPOINT_REVIEWER]),
    ("service_owner", "Rita Moreau", "it", [Role.SERVICE_OWNER]),
    ("finance", "Paul Stein", "it", [Role.FINANCE]),
    ("auditor", "Nora Lind", "it", [Role.AUDITOR]),
]


def organization() -> Organization:
    """Make marketing and research (each with a business user and a cost center) and the IT department."""
    made = Organization()
    admin = Person.objects.create_superuser("admin", "admin@example.com", PASSWORD, name="Ada Admin")
    made.people["admin"] = admin
    root = accounts.create_unit(slug="company", name="Company", actor=admin)
    made.units["company"] = root
    for slug in ("marketing", "research", "it"):
        made.units[slug] = accounts.create_unit(slug=slug, name=slug.title(), parent=root, actor=admin)
    for username, name, unit, roles in PEOPLE:
        person = accounts.create_person(
            username=username,
            name=name,
            unit=made.units[unit],
            email=f"{username}@example.com",
            password=PASSWORD,
            actor=admin,
        )
        for role in roles:
            accounts.grant_role(person, role, made.units[unit], actor=admin)
        made.people[username] = person
    for code, name, unit, owner in [
        ("4100", "Brand", "marketing", "owner"),
        ("5200", "Lab", "research", "business2"),
    ]:
        made.cost_centers[code] = accounts.save_cost_center(
            None,
            code=code,
            name=name,
            unit=made.units[unit],
            owner=made.people[owner],
            is_active=True,
            actor=admin,
        )
    return made


def published_offering(
    org: Organization,
    slug: str = "database",
    *,
    connector: str = "manual",
    units: tuple[str, ...] = ("marketing",),
    steps: list[dict[str, Any]] | None = None,
    form: dict[str, Any] | None = None,
    name: str = "",
) -> Offering:
    """Draft, price, publish (by another curator) and entitle an offering with plans `small` and `medium`."""
    category, _ = Category.objects.get_or_create(slug="data", defaults={"name": "Data", "icon": "db", "color": "data"})
    offering = catalog.add_offering(
        slug=slug,
        name=name or slug.title(),
        category=category,
        service_owner=org.service_owner,
        actor=org.curator,
    )
    version = offering.versions.get()
    catalog.save_draft(
        version,
        name=name or slug.title(),
        summary=f"A {slug} that is ready to use.",
        description="Nice.",
        terms=TERMS,
        parameters_schema=form or FORM,
        purposes=["development", "test", "production"],
        data_classes=["public", "internal"],
        promised_delivery_seconds=60,
        actor=org.curator,
    )
    for position, (plan_slug, amount) in enumerate([("small", "38.00"), ("medium", "76.00")]):
        plan = catalog.save_part(
            Plan(version=version, slug=plan_slug, name=plan_slug.title(), position=position),
            actor=org.curator,
        )
        catalog.save_part(Price(plan=plan, kind="monthly", amount=amount, currency="USD"), actor=org.curator)
    for position, step in enumerate(steps or [{"name": "Making it", "connector": connector}]):
        catalog.save_part(WorkflowStep(version=version, position=position, **step), actor=org.curator)
    catalog.publish(OfferingVersion.objects.get(pk=version.pk), actor=org.curator2)
    for unit in units:
        catalog.entitle(offering, org.units[unit], actor=org.curator)
    return Offering.objects.select_related("current_version").get(pk=offering.pk)


def wanted_body(offering: Offering, **changes: Any) -> dict[str, Any]:
    """Give the API's body of a valid order of `offering`'s small plan by `business`."""
    body = {
        "action": "add",
        "plan": f"{offering.slug}/small",
        "name": "campaign-db",
        "cost_center": "4100",
        "parameters": {},
        "terms_hash": offering.current_version.terms_hash,
        "purpose": "test",
        "data_classification": "internal",
    }
    return body | changes
