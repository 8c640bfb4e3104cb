"""Meridian Group: its business units, its people and its cost centers."""

from dataclasses import dataclass

from accounts.models import Role


@dataclass(frozen=True)
class Unit:
    """One business unit, and the unit that it lies within."""

    slug: str
    name: str
    parent: str | None = "company"


@dataclass(frozen=True)
class DemoPerson:
    """One person: how he signs in, where he works, and which role he has in which unit."""

    username: str
    name: str
    unit: str
    what: str
    roles: tuple[tuple[Role, str], ...] = ()
    is_superuser: bool = False

    @property
    def email(self) -> str:
        """An address of a domain that is reserved for examples."""
        return f"{self.name.lower().replace(' ', '.')}@meridian.example"


@dataclass(frozen=True)
class Account:
    """One cost center, whose it is and who answers for it."""

    code: str
    name: str
    unit: str
    owner: str


# A unit stands after the one that it lies within.
UNITS = (
    Unit("company", "Meridian Group", None),
    Unit("marketing", "Marketing"),
    Unit("research", "Research"),
    Unit("operations", "Operations"),
    Unit("it", "IT department"),
)

PEOPLE = (
    DemoPerson("admin", "Ada Brandt", "it", "Superuser: keeps people and units", is_superuser=True),
    DemoPerson(
        "business",
        "Maria Keller",
        "marketing",
        "Business user, orders on 4100 and 4200",
        ((Role.BUSINESS_USER, "marketing"),),
    ),
    DemoPerson(
        "business2",
        "Li Wei",
        "research",
        "Business user, orders on 5200 and 5300",
        ((Role.BUSINESS_USER, "research"),),
    ),
    DemoPerson(
        "approver",
        "Jo Hart",
        "operations",
        "Approver; owner of 5200, 5300, 6100 and 6200",
        ((Role.APPROVER, "company"), (Role.COST_CENTER_OWNER, "company")),
    ),
    DemoPerson(
        "owner",
        "Ana Costa",
        "marketing",
        "Owner of cost centers 4100 and 4200",
        ((Role.COST_CENTER_OWNER, "marketing"),),
    ),
    DemoPerson("curator", "Tom Lund", "it", "IT admin: drafts offerings", ((Role.IT_ADMIN, "company"),)),
    DemoPerson(
        "curator2",
        "Eva Novak",
        "it",
        "IT admin: publishes what others drafted",
        ((Role.IT_ADMIN, "company"),),
    ),
    DemoPerson(
        "reviewer_security",
        "Sam Okafor",
        "it",
        "Checkpoint reviewer, security",
        ((Role.CHECKPOINT_REVIEWER, "company"),),
    ),
    DemoPerson(
        "reviewer_access",
        "Priya Nair",
        "it",
        "Checkpoint reviewer, access",
        ((Role.CHECKPOINT_REVIEWER, "company"),),
    ),
    DemoPerson(
        "reviewer_network",
        "Diego Ramos",
        "it",
        "Checkpoint reviewer, network",
        ((Role.CHECKPOINT_REVIEWER, "company"),),
    ),
    DemoPerson(
        "reviewer_asset",
        "Hanna Vogt",
        "it",
        "Checkpoint reviewer, assets",
        ((Role.CHECKPOINT_REVIEWER, "company"),),
    ),
    DemoPerson(
        "service_owner",
        "Rita Moreau",
        "it",
        "Service owner of all demo offerings",
        ((Role.SERVICE_OWNER, "company"),),
    ),
    DemoPerson("finance", "Paul Stein", "company", "Finance: keeps cost centers", ((Role.FINANCE, "company"),)),
    DemoPerson("auditor", "Nora Lind", "company", "Auditor: sees, changes nothing", ((Role.AUDITOR, "company"),)),
)

COST_CENTERS = (
    Account("4100", "Brand and campaigns", "marketing", "owner"),
    Account("4200", "Market research", "marketing", "owner"),
    Account("5200", "Materials lab", "research", "approver"),
    Account("5300", "Data science", "research", "approver"),
    Account("6100", "Production", "operations", "approver"),
    Account("6200", "Logistics", "operations", "approver"),
)
