"""People, units and cost centers are kept by services; nobody raises his own rights."""

import pytest
from django.contrib.auth.models import Group
from django.urls import NoReverseMatch, reverse

import accounts.services as accounts
from accounts.models import BusinessUnit, CostCenter, Membership, Person, Role
from core.models import Event
from tests.admin.admin_pages import add_row, errors_of, said, sent_by, submit


def page(row, name="change"):
    return reverse(f"admin:accounts_{row._meta.model_name}_{name}", args=[row.pk])


@pytest.fixture
def platform_admin(org):
    """A platform admin who is no superuser."""
    accounts.grant_role(org.approver, Role.PLATFORM_ADMIN, org.units["it"], actor=org.admin)
    org.approver.refresh_from_db()
    return org.approver


def test_a_person_is_added_with_a_password_and_can_sign_in(org, platform_admin, staff):
    answer = submit(
        staff("approver"),
        reverse("admin:accounts_person_add"),
        username="new",
        name="New Person",
        email="new@example.com",
        unit=org.units["research"].pk,
        password="correct-horse-9",
    )
    person = Person.objects.get(username="new")
    assert answer.status_code == 200
    assert person.check_password("correct-horse-9")
    assert set(person.groups.all()) == {org.units["research"].group, org.units["company"].group}
    assert Event.objects.get(name="person.created", subject_id=person.pk).actor == platform_admin.name


WRONG_PEOPLE = [
    ({"password": "12345678"}, "password"),
    ({"password": "new-person-77"}, "password"),
    ({"username": "business"}, "username"),
    ({"username": "a b"}, "username"),
    ({"email": "nonsense"}, "email"),
    ({"unit": "nonsense"}, "unit"),
]


def test_what_is_wrong_with_a_new_person_stands_at_its_field(org, staff):
    for fields, at in WRONG_PEOPLE:
        given = {"username": "new-person-77", "name": "New", "email": "n@example.com", "password": "correct-horse-9"}
        answer = submit(staff("admin"), reverse("admin:accounts_person_add"), **given | fields)
        assert list(errors_of(answer)) == [at]
        assert not Person.objects.filter(name="New").exists()


def test_a_person_moves_and_his_sessions_end(org, staff):
    theirs = staff("business")
    before = org.business.credentials_version
    submit(staff("admin"), page(org.business), unit=org.units["research"].pk, name="Maria Keller-Wei")
    org.business.refresh_from_db()
    assert (org.business.unit, org.business.name) == (org.units["research"], "Maria Keller-Wei")
    assert org.business.credentials_version > before
    assert "_auth_user_id" not in theirs.get("/admin/").wsgi_request.session


def test_a_person_is_shut_out_and_let_in_again(org, staff):
    client = staff("admin")
    sent = sent_by(client.get(page(org.business)))
    sent.pop("is_active")
    client.post(page(org.business), sent)
    org.business.refresh_from_db()
    assert not org.business.is_active
    submit(client, page(org.business), is_active="on")
    org.business.refresh_from_db()
    assert org.business.is_active
    names = Event.objects.filter(subject_id=org.business.pk).order_by("-id").values_list("name", flat=True)
    assert list(names[:2]) == ["person.enabled", "person.disabled"]


def test_nobody_shuts_himself_out(org, platform_admin, staff):
    client = staff("approver")
    sent = sent_by(client.get(page(platform_admin)))
    sent.pop("is_active")
    assert "cannot shut yourself out" in errors_of(client.post(page(platform_admin), sent))["is_active"]


def test_roles_are_granted_and_revoked(org, platform_admin, staff):
    client = staff("approver")
    sent = add_row(sent_by(client.get(page(org.colleague))), "memberships", role=Role.IT_ADMIN, unit=org.units["it"].pk)
    client.post(page(org.colleague), sent | {"memberships-0-DELETE": "on"})
    roles = list(Membership.objects.filter(person=org.colleague).values_list("role", "granted_by__username"))
    assert roles == [(Role.IT_ADMIN, "approver")]
    org.colleague.refresh_from_db()
    assert org.colleague.is_staff


@pytest.mark.parametrize("name", ["approver", "admin"])
def test_nobody_gives_himself_a_role(org, platform_admin, staff, name):
    client, person = staff(name), org.people[name]
    had = set(person.memberships.values_list("role", flat=True))
    sent = sent_by(client.get(page(person)))
    assert "memberships-__prefix__-role" not in sent
    forged = {
        "memberships-TOTAL_FORMS": "5",
        "memberships-INITIAL_FORMS": "0",
        "memberships-4-role": Role.FINANCE,
        "memberships-4-unit": str(org.units["it"].pk),
        "memberships-4-person": str(person.pk),
    }
    client.post(page(person), sent | forged)
    assert set(person.memberships.values_list("role", flat=True)) == had


def test_rights_beside_roles_cannot_be_sent(org, platform_admin, staff):
    forged = {"is_superuser": "on", "is_staff": "on", "groups": "1", "user_permissions": "1", "username": "root"}
    submit(staff("approver"), page(org.business), **forged)
    org.business.refresh_from_db()
    assert (org.business.is_superuser, org.business.is_staff, org.business.username) == (False, False, "business")
    assert not org.business.user_permissions.exists()


def test_a_lost_password_is_set_anew_and_ends_what_used_the_old_one(org, platform_admin, staff):
    client = staff("approver")
    answer = client.post(page(org.business, "password"), {"password": "short"}, follow=True)
    assert "too short" in answer.content.decode()
    answer = client.post(page(org.business, "password"), {"password": "staple-battery-4"}, follow=True)
    assert "has a new password" in said(answer)
    before = org.business.credentials_version
    org.business.refresh_from_db()
    assert org.business.check_password("staple-battery-4")
    assert org.business.credentials_version > before


def test_nobody_becomes_a_superuser_by_setting_his_password(org, platform_admin, staff):
    client = staff("approver")
    assert "Set a new password" not in client.get(page(org.admin)).content.decode()
    assert client.post(page(org.admin, "password"), {"password": "staple-battery-4"}).status_code == 403
    org.admin.refresh_from_db()
    assert not org.admin.check_password("staple-battery-4")


def test_ones_own_password_needs_the_old_one(org, staff):
    answer = staff("admin").post(page(org.admin, "password"), {"password": "staple-battery-4"}, follow=True)
    assert "on your profile page" in said(answer)


def test_units_are_opened_and_hung_elsewhere_but_not_below_themselves(org, staff):
    client = staff("admin")
    submit(
        client,
        reverse("admin:accounts_businessunit_add"),
        slug="brand",
        name="Brand",
        parent=org.units["marketing"].pk,
    )
    brand = BusinessUnit.objects.get(slug="brand")
    submit(client, page(brand), parent=org.units["research"].pk)
    brand.refresh_from_db()
    assert brand.parent == org.units["research"]
    answer = submit(client, page(org.units["company"]), parent=brand.pk)
    assert "within itself" in errors_of(answer)["parent"]
    answer = submit(client, reverse("admin:accounts_businessunit_add"), slug="brand", name="Twice")
    assert "already exists" in errors_of(answer)["slug"]


def test_finance_keeps_cost_centers_and_finds_their_owners(org, staff):
    client = staff("finance")
    found = client.get(
        reverse("admin:autocomplete"),
        {"term": "Maria", "app_label": "accounts", "model_name": "costcenter", "field_name": "owner"},
    )
    assert [one["text"] for one in found.json()["results"]] == ["Maria Keller"]
    add = reverse("admin:accounts_costcenter_add")
    given = {"code": "4200", "name": "Events", "unit": org.units["marketing"].pk, "is_active": "on"}
    submit(client, add, owner=org.business.pk, **given)
    center = CostCenter.objects.get(code="4200")
    assert center.owner == org.business
    answer = submit(client, add, owner="nonsense", **given)
    assert set(errors_of(answer)) == {"code", "owner"}
    submit(client, page(center), name="Fairs")
    center.refresh_from_db()
    assert center.name == "Fairs"
    assert client.get(reverse("admin:accounts_person_changelist")).status_code == 403


def test_groups_and_tokens_have_no_pages(org):
    for route in ("auth_group", "auth_permission", "accounts_apitoken", "knox_authtoken", "provisioning_secret"):
        with pytest.raises(NoReverseMatch):
            reverse(f"admin:{route}_changelist")
    assert Group.objects.exists()
