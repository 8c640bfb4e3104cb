"""Imports of a broker's services in the API: asked for, watched, refused."""

from uuid import uuid4

import pytest

from catalog.models import BackEnd, Category, OfferingVersion
from core import bell
from provisioning.models import BrokerImport
from provisioning.services import work_off_imports
from tests.far_side.broker import Say, ScriptedBroker
from tests.provisioning.test_catalog_import import a_back_end

IMPORTS = "/api/v1/back-ends/shop/imports/"
WANTED = {"category": "data", "service_owner": "service_owner"}


@pytest.fixture(autouse=True)
def _loopback(settings, monkeypatch):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    monkeypatch.setattr(bell, "publish", lambda *_: True)


@pytest.fixture(autouse=True)
def broker(org):
    serving = ScriptedBroker()
    Category.objects.create(slug="data", name="Databases", icon="db", color="data")
    a_back_end(org, serving.address)
    yield serving
    serving.close()


@pytest.fixture
def curator(api):
    return api("curator")


def send(client, **changes):
    return client.post(IMPORTS, WANTED | changes, format="json")


def test_an_import_is_asked_for_and_watched_until_it_is_done(curator, broker):
    answer = send(curator)
    assert answer.status_code == 201
    asked = answer.json()
    assert answer["Location"].endswith(f"{IMPORTS}{asked['id']}/")
    assert asked == {
        "id": asked["id"],
        "back_end": "shop",
        "state": "queued",
        "category": "data",
        "service_owner": "service_owner",
        "requested_by": "curator",
        "requested_at": asked["requested_at"],
        "finished_at": None,
        "result": {"created": [], "updated": [], "unchanged": [], "problems": []},
        "error": "",
    }
    assert asked["requested_at"].endswith("Z")
    assert broker.heard == []
    work_off_imports()
    done = curator.get(answer["Location"]).json()
    assert (done["state"], done["result"]["created"]) == ("done", ["shop-database"])
    assert curator.get(IMPORTS).json() == {"next": None, "previous": None, "results": [done]}
    assert OfferingVersion.objects.get().state == "draft"


def test_what_failed_says_why_and_may_be_asked_again(curator, broker):
    broker.script["catalog"] = [Say(401)]
    first = send(curator).json()
    work_off_imports()
    failed = curator.get(f"{IMPORTS}{first['id']}/").json()
    assert failed["state"] == "failed"
    assert "refused the credentials" in failed["error"]
    assert send(curator).status_code == 201


def test_while_one_is_open_another_is_409(curator):
    send(curator)
    answer = send(curator)
    assert (answer.status_code, answer.json()["type"]) == (409, "urn:greenlane:problem:import-open")


@pytest.mark.parametrize(
    ("changes", "pointers"),
    [
        ({"category": "none", "service_owner": "nobody"}, {"/category", "/service_owner"}),
        ({"category": 7, "service_owner": None}, {"/category", "/service_owner"}),
        ({"category": "a\0b"}, {"/category"}),
        ({"category": "x" * 151}, {"/category"}),
        ({"service_owner": "business"}, {"/service_owner"}),
        ({"publish": True}, {"/publish"}),
    ],
)
def test_what_is_wrong_is_named_by_pointer(curator, changes, pointers):
    answer = send(curator, **changes)
    assert answer.status_code == 400
    assert {error["pointer"] for error in answer.json()["errors"]} == pointers
    assert not BrokerImport.objects.exists()


@pytest.mark.parametrize("changed", [{"connector": "http"}, {"is_active": False}])
def test_what_is_no_broker_in_use_is_409(curator, changed):
    BackEnd.objects.update(**changed)
    assert send(curator).status_code == 409


def test_others_find_nothing_and_auditors_only_look(curator, api):
    row = send(curator).json()
    for name in ("business", "service_owner"):
        client = api(name)
        assert [client.get(IMPORTS).status_code, send(client).status_code] == [404, 404]
        assert client.get(f"{IMPORTS}{row['id']}/").status_code == 404
    auditor = api("auditor")
    assert auditor.get(IMPORTS).json()["results"] == [row]
    assert send(auditor).status_code == 403


def test_a_token_needs_the_scope_admin(api):
    client = api("curator", "read", "order")
    assert [client.get(IMPORTS).status_code, send(client).status_code] == [403, 403]


def test_there_is_none_elsewhere(curator):
    row = send(curator).json()
    curator.post("/api/v1/back-ends/none/imports/", WANTED, format="json")
    assert curator.get("/api/v1/back-ends/none/imports/").status_code == 404
    assert curator.get(f"/api/v1/back-ends/none/imports/{row['id']}/").status_code == 404
    assert curator.get(f"{IMPORTS}{uuid4()}/").status_code == 404
    assert curator.get(f"{IMPORTS}?state=done").status_code == 400
    assert curator.delete(f"{IMPORTS}{row['id']}/").status_code == 405
