"""Imports as background work: asked for in a request, done by a worker, done again where a worker was lost."""

from datetime import timedelta

import pytest
from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import PermissionDenied
from django.db import transaction
from django.utils import timezone

import accounts.services as accounts
import catalog.services as catalog
from accounts.models import Membership
from catalog.models import BackEnd, Category, Offering, OfferingVersion
from config.embedded.process import wait_until
from core import bell
from core.models import Event
from core.problems import Conflict, Invalid
from core.tasks import run_due_jobs
from provisioning.models import BrokerImport
from provisioning.services import imports, request_import, work_off_imports
from provisioning.tasks import import_catalogs
from tests.far_side.broker import RealBroker, Say, ScriptedBroker
from tests.provisioning.engine import fresh
from tests.provisioning.test_catalog_import import a_back_end
from tests.threads import together


@pytest.fixture(autouse=True)
def _loopback(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]


@pytest.fixture(autouse=True)
def rung(monkeypatch):
    """What would have been sent to workers."""
    sent = []
    monkeypatch.setattr(bell, "publish", lambda *ring: sent.append(ring) or True)
    return sent


@pytest.fixture
def shelf(db):
    return Category.objects.create(slug="data", name="Data", icon="db", color="data")


@pytest.fixture
def broker():
    serving = ScriptedBroker()
    yield serving
    serving.close()


@pytest.fixture
def back_end(org, broker):
    return a_back_end(org, broker.address)


@pytest.fixture
def ask(org, shelf, back_end):
    """Ask for an import, as a curator unless somebody else is named."""

    def asked(person="curator", at=None, owner="service_owner"):
        return request_import(at or back_end, category=shelf, service_owner=org.people[owner], actor=org.people[person])

    return asked


def lose(row):
    """Let the worker that took an import be silent for too long."""
    BrokerImport.objects.filter(pk=row.pk).update(claimed_at=timezone.now() - timedelta(seconds=121))


def test_a_request_stores_a_row_and_asks_nobody_but_a_worker(ask, org, broker, django_capture_on_commit_callbacks):
    with django_capture_on_commit_callbacks() as callbacks:
        row = fresh(ask())
    assert (row.state, row.requested_by, row.finished_at, row.result) == ("queued", org.curator, None, {})
    assert len(callbacks) == 1
    assert broker.heard == []
    asked = Event.objects.get(name="brokerimport.requested")
    assert (asked.actor_id, asked.facts["back_end"]) == (org.curator.pk, "shop")


def test_a_worker_drafts_what_a_real_broker_offers(ask, org):
    real = RealBroker()
    try:
        row = ask(at=a_back_end(org, real.address, "real"))
        import_catalogs()
    finally:
        real.close()
    row = fresh(row)
    assert (row.state, row.error, row.attempt) == ("done", "", 1)
    assert row.result == {"created": ["shop-database"], "updated": [], "unchanged": [], "problems": []}
    assert row.requested_at <= row.finished_at
    version = OfferingVersion.objects.get(offering__slug="shop-database")
    assert (version.state, version.author_ids) == ("draft", [org.curator.pk])
    done = Event.objects.get(name="brokerimport.done")
    assert (done.facts["created"], done.facts["problems"]) == (1, 0)


def test_imported_again_it_says_what_has_changed(ask, broker):
    for changed, outcome in (({}, "created"), ({}, "unchanged"), ({"description": "Now faster."}, "updated")):
        broker.catalog["services"][0] |= changed
        row = ask()
        assert work_off_imports()
        assert fresh(row).result[outcome] == ["shop-database"]
    assert not work_off_imports()


def test_what_could_not_be_taken_over_is_kept_as_sentences(ask, broker):
    broker.catalog["services"].append({"id": "odd"})
    row = ask()
    work_off_imports()
    assert fresh(row).state == "done"
    assert "Service 2" in fresh(row).result["problems"][0]


@pytest.mark.parametrize(
    ("said", "sentence"),
    [(Say(401), "refused the credentials"), (Say(500), "500"), (Say(how="drop"), "broke off")],
)
def test_a_broker_that_cannot_be_read_is_a_sentence_and_may_be_asked_again(ask, broker, said, sentence):
    broker.script["catalog"] = [said]
    first = ask()
    work_off_imports()
    assert (fresh(first).state, fresh(first).result) == ("failed", {})
    assert sentence in fresh(first).error
    second = ask()
    work_off_imports()
    assert fresh(second).state == "done"


def test_a_broker_that_is_not_there_is_a_sentence(ask, broker):
    broker.close()
    row = ask()
    work_off_imports()
    assert fresh(row).state == "failed"
    assert "could not be fetched" in fresh(row).error


def test_one_back_end_has_one_open_import(ask, org, broker):
    ask()
    with pytest.raises(Conflict, match="being imported already"), transaction.atomic():
        ask("curator2")
    assert BrokerImport.objects.count() == 1
    ask(at=a_back_end(org, broker.address, "other"))
    assert [work_off_imports() for _ in range(3)] == [True, True, False]
    ask("curator2")


@pytest.mark.parametrize("person", ["business", "service_owner", "auditor", "reviewer_security"])
def test_only_curators_ask_for_one(ask, person):
    with pytest.raises(PermissionDenied):
        ask(person)
    assert not BrokerImport.objects.exists()


@pytest.mark.parametrize(
    ("changed", "sentence"), [({"connector": "http"}, "is no service broker"), ({"is_active": False}, "out of use")]
)
def test_what_is_no_broker_in_use_is_refused(ask, back_end, changed, sentence):
    BackEnd.objects.update(**changed)
    with pytest.raises(Conflict, match=sentence):
        ask(at=fresh(back_end))


def test_the_service_owner_must_be_one(ask, org):
    with pytest.raises(Invalid) as refused:
        ask(owner="business")
    assert list(refused.value.errors) == ["/service_owner"]
    accounts.set_active(org.service_owner, active=False, actor=org.admin)
    org.people["service_owner"] = fresh(org.service_owner)
    with pytest.raises(Invalid):
        ask()


def test_who_has_lost_his_rights_meanwhile_imports_nothing(ask, org, broker):
    row = ask()
    Membership.objects.filter(person=org.curator).delete()
    work_off_imports()
    assert (fresh(row).state, fresh(row).error) == ("failed", "Tom Lund may no longer add offerings.")
    assert broker.heard == []
    assert not Offering.objects.exists()


def test_what_a_lost_worker_began_another_one_does_again(ask):
    row = ask()
    assert imports._claim() == row.pk
    assert not work_off_imports()
    lose(row)
    assert work_off_imports()
    row = fresh(row)
    assert (row.state, row.attempt, row.result["created"]) == ("done", 2, ["shop-database"])


def test_a_worker_that_comes_back_late_writes_nothing(ask, broker):
    row = ask()
    late = imports._row(imports._claim())
    lose(row)
    broker.script["catalog"] = [Say(500)]
    work_off_imports()
    imports._work(late)
    assert fresh(row).state == "failed"
    assert fresh(row).result == {}


def test_an_import_over_which_workers_die_is_given_up(ask, broker):
    row = ask()
    for _ in range(imports.MAX_ATTEMPTS):
        assert imports._claim() == row.pk
        lose(row)
    assert work_off_imports()
    assert fresh(row).state == "failed"
    assert "lost 5 times" in fresh(row).error
    assert broker.heard == []


@pytest.mark.parametrize(
    ("breaks", "sentence"), [(SoftTimeLimitExceeded(), "It took too long."), (KeyError("x"), "Something went wrong")]
)
def test_what_breaks_within_ends_the_import_with_a_sentence(ask, monkeypatch, breaks, sentence):
    def broken(_back_end):
        raise breaks

    monkeypatch.setattr("provisioning.services.catalog_import._fetched", broken)
    row = ask()
    work_off_imports()
    assert fresh(row).state == "failed"
    assert sentence in fresh(row).error


def test_no_password_of_the_brokers_is_in_what_is_told(ask, broker, org):
    password = "a-password-that-a-broker-repeats"
    row = a_back_end(org, broker.address, "echo")
    catalog.save_back_end(
        row, slug="echo", name="Echo", connector="osb", address=broker.address, config=row.config,
        credentials={"password": password}, limit=None, is_active=True, actor=org.curator,
    )  # fmt: skip
    broker.catalog["services"][0] |= {"metadata": {"displayName": password}, "requires": ["route_forwarding"]}
    asked = ask(at=fresh(row))
    work_off_imports()
    assert fresh(asked).state == "done"
    assert "route_forwarding" in fresh(asked).result["problems"][0]
    assert password not in str(fresh(asked).result)


def test_the_calendar_rings_only_where_an_import_is_due(ask, rung):
    imports.ring()
    assert rung == []
    row = ask()
    assert "import_catalogs" in run_due_jobs(timezone.now() + timedelta(days=1))
    assert rung == [("", "default", imports.TASK)]
    imports._claim()
    imports.ring()
    assert len(rung) == 1
    lose(row)
    imports.ring()
    assert len(rung) == 2


def test_who_has_done_one_rings_for_the_next(ask, org, broker, rung):
    ask()
    ask(at=a_back_end(org, broker.address, "other"))
    import_catalogs()
    assert rung == [("", "default", imports.TASK)]
    import_catalogs()
    assert len(rung) == 1


@pytest.mark.django_db(transaction=True)
class TestAtOnce:
    def test_of_two_who_ask_one_is_told_that_it_is_asked_for_already(self, ask, rung):
        answers = together(lambda: ask("curator"), lambda: ask("curator2"))
        assert BrokerImport.objects.count() == 1
        assert sorted(type(answer).__name__ for answer in answers) == ["BrokerImport", "Conflict"]
        assert wait_until(lambda: rung == [("", "default", imports.TASK)], 10)

    def test_of_two_workers_one_takes_an_import(self, ask, broker):
        ask()
        assert sorted(together(work_off_imports, times=2)) == [False, True]
        assert broker.operations() == ["catalog"]
