"""Units, people and cost centers of the demo organization."""

from django.contrib.auth.hashers import check_password, make_password

import accounts.services as accounts
from accounts.models import BusinessUnit, CostCenter, Person
from config.demo_data.people import COST_CENTERS, PEOPLE, UNITS, DemoPerson
from core import secrets

RANDOM_PASSWORD_LENGTH = 14

People = dict[str, Person]
# The password of each sign-in name, where it is known.
Passwords = dict[str, str | None]


def seed_organization(password: str) -> tuple[People, Passwords]:
    """Make the missing units, people and cost centers; give the people by sign-in name, and their passwords."""
    admin, admin_is_new = _admin()
    units = _units(admin)
    fresh = {entry.username for entry in PEOPLE if _make_person(entry, units, admin)}
    if admin_is_new:
        fresh.add(admin.username)
        home = next(entry for entry in PEOPLE if entry.username == admin.username)
        accounts.change_person(admin, name=home.name, email=home.email, unit=units[home.unit], actor=admin)
    names = [entry.username for entry in PEOPLE]
    people = {person.username: person for person in Person.objects.filter(username__in=names)}
    passwords = _set_passwords(people, fresh, password)
    _cost_centers(people, units)
    # Sessions and roles may have changed above: everybody is read afresh.
    return {person.username: person for person in Person.objects.filter(username__in=names)}, passwords


def _admin() -> tuple[Person, bool]:
    """Find or make the first person: nobody is there yet who could do it through a service."""
    entry = next(person for person in PEOPLE if person.is_superuser)
    found = Person.objects.filter(username=entry.username).first()
    if found:
        return found, False
    return Person.objects.create_superuser(entry.username, entry.email, None, name=entry.name), True


def _units(admin: Person) -> dict[str, BusinessUnit]:
    units = {unit.slug: unit for unit in BusinessUnit.objects.select_related("parent", "group")}
    for entry in UNITS:
        if entry.slug not in units:
            parent = units[entry.parent] if entry.parent else None
            units[entry.slug] = accounts.create_unit(slug=entry.slug, name=entry.name, parent=parent, actor=admin)
    return units


def _make_person(entry: DemoPerson, units: dict[str, BusinessUnit], admin: Person) -> bool:
    """Make one person with his roles, unless he is there; what was changed about him since stays changed."""
    if Person.objects.filter(username=entry.username).exists():
        return False
    person = accounts.create_person(
        username=entry.username,
        name=entry.name,
        email=entry.email,
        unit=units[entry.unit],
        actor=admin,
    )
    for role, unit in entry.roles:
        accounts.grant_role(person, role, units[unit], actor=admin)
    return True


def _set_passwords(people: People, fresh: set[str], password: str) -> Passwords:
    """Give new people their password, and others the wanted one where they have another.

    All share one password and so one hash: hashing takes half a second, fourteen times at every start is long.
    """
    if not password:
        password, wanted = secrets.generate(RANDOM_PASSWORD_LENGTH), fresh
    else:
        wanted = set(people)
    known = {
        encoded: check_password(password, encoded) for encoded in {people[name].password for name in wanted - fresh}
    }
    encoded = make_password(password) if fresh else ""
    for name in sorted(wanted):
        person = people[name]
        if name in fresh:
            Person.objects.filter(pk=person.pk).update(password=encoded)
        elif not known[person.password]:
            accounts.change_password(person, password, actor=people["admin"])
    return {name: password if name in wanted else None for name in people}


def _cost_centers(people: People, units: dict[str, BusinessUnit]) -> None:
    there = set(CostCenter.objects.values_list("code", flat=True))
    for entry in COST_CENTERS:
        if entry.code not in there:
            accounts.save_cost_center(
                None,
                code=entry.code,
                name=entry.name,
                unit=units[entry.unit],
                owner=people[entry.owner],
                is_active=True,
                actor=people["admin"],
            )
