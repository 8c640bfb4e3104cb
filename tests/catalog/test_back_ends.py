"""Back ends: who keeps them, what they take, and credentials that are written, used and never shown."""

import pytest
from cryptography.fernet import Fernet
from django.core.exceptions import PermissionDenied
from django.core.management import call_command

import catalog.services as catalog
from catalog.models import BackEnd
from core import secrets
from core.models import Event
from core.problems import Invalid

CANARY = "canary-in-a-credential"
FACTS = {
    "slug": "broker",
    "name": "The broker",
    "connector": "http",
    "address": "https://broker.example:8443/api",
    "config": {"auth": "bearer"},
    "credentials": {"token": CANARY},
    "limit": None,
    "is_active": True,
}


@pytest.fixture
def save(org):
    """Keep a back end as an IT admin, changing some of FACTS."""

    def saved(row=None, *, by="curator", **changes):
        return catalog.save_back_end(row, **(FACTS | changes), actor=org.people[by])

    return saved


def test_it_admins_and_platform_admins_keep_back_ends_and_others_do_not(save):
    row = save()
    for name in ("curator", "admin"):
        assert save(row, by=name, name="Another name").name == "Another name"
    for name in ("business", "service_owner", "auditor", "reviewer_security", "finance"):
        with pytest.raises(PermissionDenied):
            save(row, by=name)
        with pytest.raises(PermissionDenied):
            save(by=name, slug="other")


def test_a_worker_gets_what_was_entered(save):
    save()
    row, credentials = catalog.opened("broker")
    assert (row.address, row.config, credentials) == (FACTS["address"], {"auth": "bearer"}, {"token": CANARY})
    assert CANARY not in secrets.scrub(f"Authorization: Bearer {CANARY}")
    with pytest.raises(LookupError):
        catalog.opened("nobody")


def test_what_is_out_of_use_still_serves_what_was_delivered(save):
    save(is_active=False)
    assert catalog.opened("broker")[1] == {"token": CANARY}


def test_a_credential_is_neither_in_the_row_nor_in_the_trail(save):
    row = save(save(), credentials={"token": f"{CANARY}-2"})
    assert CANARY.encode() not in bytes(row.credentials)
    told = Event.objects.filter(name="backend.saved", subject_id=row.pk)
    assert [event.facts["credentials_entered"] for event in told] == [["token"], ["token"]]
    assert CANARY not in repr(list(told.values()))


def test_credentials_that_are_not_entered_stay_and_an_empty_one_goes(save):
    row = save()
    save(row, credentials=None, name="Renamed")
    save(row, credentials={"password": "p"})
    assert catalog.opened("broker")[1] == {"token": CANARY, "password": "p"}
    row = save(row, credentials={"token": ""})
    assert catalog.opened("broker")[1] == {"password": "p"}
    assert catalog.credentials_set(row) == {
        "token": False,
        "password": True,
        "hmac_key": False,
        "callback_secrets": False,
    }
    row = save(row, credentials={"password": ""})
    assert row.credentials is None


@pytest.mark.parametrize(
    "address",
    [
        "https://evil.example:8443/api",
        "https://broker.example/api",
        "http://broker.example:8443/api",
        "https://broker.example.evil.example:8443/api",
    ],
)
@pytest.mark.parametrize("credentials", [None, {}, {"password": "p"}])
def test_another_host_port_or_scheme_asks_for_every_credential_again(save, address, credentials):
    row = save()
    with pytest.raises(Invalid) as refused:
        save(row, address=address, credentials=credentials)
    assert "/credentials/token" in refused.value.errors
    assert catalog.opened("broker")[1] == {"token": CANARY}
    save(row, address=address, credentials={"token": "another"})
    assert catalog.opened("broker")[1] == {"token": "another"}


@pytest.mark.parametrize(
    "address", ["https://broker.example:8443/", "https://BROKER.example:8443/v2", "https://broker.example.:8443/api"]
)
def test_another_path_or_spelling_of_the_same_host_keeps_the_credentials(save, address):
    save(save(), address=address, credentials=None)
    assert catalog.opened("broker")[1] == {"token": CANARY}


def test_an_address_changed_behind_our_back_makes_the_credentials_unreadable(save):
    row = save()
    BackEnd.objects.update(address="https://evil.example/")
    with pytest.raises(secrets.Unreadable):
        catalog.opened("broker")
    row.refresh_from_db()
    assert set(catalog.credentials_set(row).values()) == {None}
    BackEnd.objects.update(address="not an address")
    with pytest.raises(secrets.Unreadable):
        catalog.opened("broker")
    save(row, address="https://evil.example/", credentials={"token": "entered again"})
    assert catalog.opened("broker")[1] == {"token": "entered again"}


def test_credentials_moved_from_another_row_are_unreadable(save):
    taken = save().credentials
    save(slug="other", credentials=None)
    BackEnd.objects.filter(slug="other").update(credentials=taken)
    with pytest.raises(secrets.Unreadable):
        catalog.opened("other")


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"slug": "Not a slug"}, "/slug"),
        ({"slug": ""}, "/slug"),
        ({"name": " "}, "/name"),
        ({"connector": "nonsense"}, "/connector"),
        ({"connector": "postgresql"}, "/connector"),
        ({"address": ""}, "/address"),
        ({"address": "https://user:password@broker.example/"}, "/address"),
        ({"address": "https://0x7f.1/"}, "/address"),
        ({"address": "https://broker.example\\@evil.example/"}, "/address"),
        ({"address": "https://broker example/"}, "/address"),
        ({"address": f"https://broker.example/{'x' * 600}"}, "/address"),
        ({"config": {"nonsense": "x"}}, "/config/nonsense"),
        ({"config": {"auth": ["bearer"]}}, "/config/auth"),
        ({"config": {"auth": "a\0b"}}, "/config/auth"),
        ({"config": ["auth"]}, "/config"),
        ({"credentials": {"nonsense": "x"}}, "/credentials/nonsense"),
        ({"credentials": {"token": 7}}, "/credentials/token"),
        ({"credentials": {"token": "x" * 30_000}}, "/credentials/token"),
        ({"limit": 0}, "/limit"),
        ({"limit": 10**9}, "/limit"),
    ],
)
def test_wrong_input_is_refused_at_its_place(save, changes, pointer):
    with pytest.raises(Invalid) as refused:
        save(**changes)
    assert pointer in refused.value.errors
    assert CANARY not in str(refused.value)
    assert not BackEnd.objects.exists()


def test_a_slug_is_used_once_and_it_and_the_connector_stay(save):
    row = save()
    for changes, pointer in [({"slug": "other"}, "/slug"), ({"connector": "osb"}, "/connector")]:
        with pytest.raises(Invalid) as refused:
            save(row, **changes)
        assert pointer in refused.value.errors
    with pytest.raises(Invalid) as refused:
        save()
    assert "/slug" in refused.value.errors


@pytest.mark.parametrize(
    ("connector", "address"), [("dns_record", "ns1.example:53"), ("ldap_group", "ldaps://ldap.example")]
)
def test_addresses_of_other_protocols_are_kept_too(save, connector, address):
    save(connector=connector, address=address, config={}, credentials=None)
    assert catalog.opened("broker")[0].address == address


def test_keys_are_rotated_for_credentials_too(save, settings, capsys):
    save()
    save(slug="without", credentials=None)
    fresh = Fernet.generate_key().decode()
    settings.ENCRYPTION_KEYS = [fresh, *settings.ENCRYPTION_KEYS]
    call_command("rotate_keys")
    assert "1 secret is" in capsys.readouterr().out
    settings.ENCRYPTION_KEYS = [fresh]
    assert catalog.opened("broker")[1] == {"token": CANARY}
