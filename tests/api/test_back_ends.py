"""Back ends in the API: read by those who run the platform, with credentials that are set or not."""

import pytest

import catalog.services as catalog

CANARY = "canary-in-a-credential"


@pytest.fixture
def broker(org):
    return catalog.save_back_end(
        None,
        slug="broker",
        name="The broker",
        connector="osb",
        address="https://broker.example/",
        config={"username": "greenlane"},
        credentials={"password": CANARY},
        limit=4,
        is_active=True,
        actor=org.curator,
    )


@pytest.mark.parametrize("name", ["curator", "auditor", "admin"])
def test_who_runs_or_audits_the_platform_reads_back_ends_without_credentials(broker, api, name):
    client = api(name)
    listed = client.get("/api/v1/back-ends/").json()["results"]
    assert listed == [client.get("/api/v1/back-ends/broker/").json()]
    assert listed[0] == {
        "id": str(broker.pk),
        "slug": "broker",
        "name": "The broker",
        "connector": "osb",
        "address": "https://broker.example/",
        "config": {"username": "greenlane"},
        "credentials": {"password": True, "token": False},
        "limit": 4,
        "is_active": True,
    }


@pytest.mark.parametrize("name", ["business", "service_owner", "finance"])
def test_others_see_none(broker, api, name):
    client = api(name)
    assert client.get("/api/v1/back-ends/").json()["results"] == []
    assert client.get("/api/v1/back-ends/broker/").status_code == 404


def test_a_token_needs_the_scope_admin_to_read_them(broker, api):
    answer = api("curator", "read").get("/api/v1/back-ends/")
    assert answer.status_code == 403
    assert "admin" in answer.json()["detail"]


def test_no_credential_is_in_any_answer_of_the_api(broker, api):
    client = api("admin")
    for address in ("/api/v1/back-ends/", "/api/v1/back-ends/broker/", "/api/v1/schema/"):
        assert CANARY not in client.get(address).content.decode()


def test_unknown_parameters_and_methods_are_refused(broker, api):
    client = api("curator")
    assert client.get("/api/v1/back-ends/?credentials__contains=x").status_code == 400
    assert client.get("/api/v1/back-ends/broker/?fields=credentials").status_code == 400
    assert client.post("/api/v1/back-ends/", {}, format="json").status_code == 405
