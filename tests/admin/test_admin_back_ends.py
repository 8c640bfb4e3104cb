"""Back ends in the admin: opened in two steps, credentials typed and never shown again."""

import pytest
from django.urls import reverse

import catalog.services as catalog
from catalog.models import BackEnd
from tests.admin.admin_pages import errors_of, said, sent_by, submit

CANARY = "canary-in-a-credential"


def page(row, name="change"):
    return reverse(f"admin:catalog_backend_{name}", args=[row.pk])


@pytest.fixture
def broker(org):
    return catalog.save_back_end(
        None,
        slug="broker",
        name="The broker",
        connector="http",
        address="https://broker.example/api",
        config={"auth": "bearer"},
        credentials={"token": CANARY},
        limit=4,
        is_active=True,
        actor=org.curator,
    )


def test_an_it_admin_adds_a_back_end_and_then_enters_how_to_sign_in(org, staff):
    client = staff("curator")
    answer = submit(
        client,
        reverse("admin:catalog_backend_add"),
        name="Cluster",
        slug="cluster",
        connector="kubernetes",
        address="https://cluster.example:6443",
    )
    row = BackEnd.objects.get(slug="cluster")
    assert answer.redirect_chain[-1][0] == page(row)
    assert "Enter how to sign in" in said(answer)
    certificate = "-----BEGIN CERTIFICATE-----\r\nabc\r\n-----END CERTIFICATE-----"
    submit(client, page(row), credential_token=CANARY, config_ca_certificate=certificate, limit="3")
    row, credentials = catalog.opened("cluster")
    assert (credentials, row.limit) == ({"token": CANARY}, 3)
    assert row.config["ca_certificate"].splitlines() == certificate.splitlines()


def test_no_page_shows_a_credential(broker, staff):
    for name in ("curator", "admin", "auditor"):
        client = staff(name)
        for address in [page(broker), page(broker, "history"), reverse("admin:catalog_backend_changelist")]:
            shown = client.get(address)
            assert shown.status_code == 200
            assert CANARY not in shown.content.decode()
    assert "Set" in staff("auditor").get(page(broker)).content.decode()


def test_a_refused_form_does_not_show_the_credential_that_was_typed(broker, staff):
    answer = submit(staff("curator"), page(broker), credential_token=f"{CANARY}-2", limit="0")
    assert "Enter 1 or more" in errors_of(answer)["limit"]
    assert CANARY not in answer.content.decode()


def test_saving_without_a_credential_keeps_it_and_ticking_takes_it_away(broker, staff):
    client = staff("curator")
    submit(client, page(broker), name="Renamed")
    assert catalog.opened("broker")[1] == {"token": CANARY}
    submit(client, page(broker), remove_credentials=["token"], credential_password="p", config_auth="basic")
    row, credentials = catalog.opened("broker")
    assert (row.name, credentials, row.config) == ("Renamed", {"password": "p"}, {"auth": "basic"})


def test_another_host_asks_for_the_credentials_at_their_field(broker, staff):
    client = staff("curator")
    answer = submit(client, page(broker), address="https://evil.example/")
    assert "enter this again" in errors_of(answer)["credential_token"]
    submit(client, page(broker), address="https://elsewhere.example/", credential_token="another")
    row, credentials = catalog.opened("broker")
    assert (row.address, credentials) == ("https://elsewhere.example/", {"token": "another"})


def test_what_a_service_refuses_stands_at_its_field(broker, staff):
    answer = submit(staff("curator"), page(broker), address="https://user:pass@broker.example/")
    assert "without" in errors_of(answer)["address"]


def test_who_may_not_keep_them_sees_no_form(broker, staff):
    auditor = staff("auditor")
    assert auditor.post(page(broker), {"name": "Mine"}).status_code == 403
    assert not [name for name in sent_by(auditor.get(page(broker))) if name.startswith("credential")]
    for name in ("service_owner", "reviewer_security", "finance"):
        assert staff(name).get(page(broker)).status_code == 403
        assert staff(name).get(reverse("admin:catalog_backend_add")).status_code == 403


def test_credentials_that_cannot_be_read_are_said_to_be_so(broker, staff):
    BackEnd.objects.update(address="https://evil.example/")
    assert "Cannot be read any more" in staff("curator").get(page(broker)).content.decode()
    submit(staff("curator"), page(broker), credential_token="entered again")
    assert catalog.opened("broker")[1] == {"token": "entered again"}


def test_steps_of_a_workflow_choose_among_the_known_connectors(org, offering, staff):
    draft = catalog.new_draft(offering, actor=org.curator)
    shown = staff("curator").get(reverse("admin:catalog_offeringversion_change", args=[draft.pk])).content.decode()
    assert '<option value="kubernetes">' in shown


def test_no_form_of_a_back_end_is_a_fault(broker, staff):
    client = staff("admin")
    for address in (page(broker), reverse("admin:catalog_backend_add")):
        sent = sent_by(client.get(address))
        for value in ("", "nonsense", "x" * 100_000, "\U0001f600", "-1", "9" * 400, "[[[", "https://[::1"):
            assert client.post(address, dict.fromkeys(sent, value)).status_code < 500, value[:20]
            for name in sent:
                assert client.post(address, sent | {name: value}).status_code < 500, (name, value[:20])
