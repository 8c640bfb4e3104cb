"""The page on which a broker's services are imported: what it asks, what it tells while a worker is at it."""

from datetime import timedelta
from uuid import uuid4

import pytest
from django.utils import timezone

from catalog.models import BackEnd, Category
from core import bell
from provisioning.models import BrokerImport
from provisioning.services import imports, work_off_imports
from tests.far_side.broker import Say, ScriptedBroker
from tests.pages.forms import Forms, form_of
from tests.pages.test_statements import costs_the_same
from tests.provisioning.engine import fresh
from tests.provisioning.test_catalog_import import a_back_end, draft, publish

PAGE = "/back-ends/shop/import/"


@pytest.fixture(autouse=True)
def _loopback(settings, monkeypatch):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    monkeypatch.setattr(bell, "publish", lambda *_: True)


@pytest.fixture
def broker():
    serving = ScriptedBroker()
    yield serving
    serving.close()


@pytest.fixture(autouse=True)
def back_end(org, broker):
    Category.objects.create(slug="data", name="Databases", icon="db", color="data")
    return a_back_end(org, broker.address)


@pytest.fixture
def curator(signed_in):
    return signed_in("curator")


def text(answer):
    assert answer.status_code == 200, answer
    return answer.content.decode()


def chosen(client):
    """What the form would send once shelf and owner are chosen."""
    shelf = Category.objects.get()
    (owner,) = [row.pk for row in client.get(PAGE).context["form"].fields["service_owner"].queryset]
    return form_of(client.get(PAGE), PAGE) | {"category": str(shelf.pk), "service_owner": str(owner)}


def ask(client):
    answer = client.post(PAGE, chosen(client))
    assert (answer.status_code, answer.url) == (303, PAGE)
    return BrokerImport.objects.order_by("requested_at").last()


def test_brokers_lead_to_it_from_the_back_ends_and_from_the_admin(curator, org, back_end):
    BackEnd.objects.create(slug="rest", name="Rest", connector="http", address="http://127.0.0.1:1")
    page = text(curator.get("/back-ends/"))
    assert f'href="{PAGE}"' in page
    assert 'href="/back-ends/rest/import/"' not in page
    assert f'href="{PAGE}"' in text(curator.get(f"/admin/catalog/backend/{back_end.pk}/change/"))
    rest = BackEnd.objects.get(slug="rest")
    assert "/import/" not in text(curator.get(f"/admin/catalog/backend/{rest.pk}/change/"))


def test_nothing_is_called_by_the_request_and_a_worker_drafts_what_is_there(curator, broker):
    assert "Nothing was imported yet" in text(curator.get(PAGE))
    ask(curator)
    page = text(curator.get(PAGE))
    assert "Waiting for a worker" in page
    assert "by Tom Lund" in page
    assert broker.heard == []
    work_off_imports()
    page = text(curator.get(PAGE))
    assert "Services: 1 drafted." in page
    assert f'href="/admin/catalog/offeringversion/{draft().pk}/change/">shop-database</a>' in page


def test_a_draft_that_is_published_leads_to_its_offering(curator, org):
    ask(curator)
    work_off_imports()
    offering = publish(org)
    assert f'href="/admin/catalog/offering/{offering.pk}/change/">shop-database</a>' in text(curator.get(PAGE))


def test_the_page_changes_by_itself_until_the_import_is_over(curator):
    assert 'hx-get="' not in text(curator.get(PAGE))
    row = ask(curator)
    answer = curator.get(PAGE)
    poll = answer.context["poll_url"]
    assert "data-poll" in text(answer)
    assert curator.get(poll).status_code == 204
    imports._claim()
    live = curator.get(poll)
    assert "In progress" in text(live)
    assert "data-poll" in text(live)
    imports._work(imports._row(row.pk))
    live = text(curator.get(live.context["poll_url"]))
    assert 'hx-swap-oob="innerHTML">Done. Services: 1 drafted.</div>' in live
    assert "data-poll" not in live


def test_a_broker_that_is_down_is_explained_and_may_be_tried_again(curator, broker):
    broker.script["catalog"] = [Say(500)]
    ask(curator)
    work_off_imports()
    page = text(curator.get(PAGE))
    assert '<span class="tag bad">' in page
    assert "could not be fetched" in page
    ask(curator)
    work_off_imports()
    assert "1 drafted" in text(curator.get(PAGE))


def test_what_could_not_be_taken_over_is_listed_and_nothing_of_it_is_markup(curator, broker):
    service = broker.catalog["services"][0]
    service |= {"requires": ["route_forwarding"], "metadata": {"displayName": "<b>Shop</b>"}}
    ask(curator)
    work_off_imports()
    page = text(curator.get(PAGE))
    assert ">1 note</summary>" in page
    assert "&lt;b&gt;Shop&lt;/b&gt;" in page
    assert "<b>Shop" not in page


def test_a_long_list_of_drafts_is_cut(curator, broker, monkeypatch):
    monkeypatch.setattr("provisioning.views.imports.MOST_LINKS", 1)
    monkeypatch.setattr("provisioning.views.imports.MOST_PROBLEMS", 1)
    broker.catalog["services"] += [broker.catalog["services"][0] | {"id": "other", "name": "other"}, {}, {}]
    ask(curator)
    work_off_imports()
    page = text(curator.get(PAGE))
    assert "</a> and 1 more" in page
    assert ">2 notes</summary>" in page
    assert "<li>and 1 more</li>" in page


def test_a_form_without_answers_says_what_is_missing(curator):
    form = form_of(curator.get(PAGE), PAGE)
    answer = curator.post(PAGE, form | {"category": "", "service_owner": ""})
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "<title>Error: " in page
    for sentence in ("Choose a shelf.", "Choose a service owner."):
        assert page.count(sentence) == 2
    assert not BrokerImport.objects.exists()


@pytest.mark.parametrize("typed", ["999999", "no-uuid", "\u0661", "9" * 400])
def test_nonsense_in_the_form_is_explained(curator, typed):
    answer = curator.post(PAGE, chosen(curator) | {"category": typed, "service_owner": typed})
    assert answer.status_code == 422
    assert not BrokerImport.objects.exists()


def test_only_service_owners_are_offered_and_taken(curator, org):
    form = chosen(curator)
    assert form["service_owner"] == str(org.service_owner.pk)
    answer = curator.post(PAGE, form | {"service_owner": str(org.business.pk)})
    assert answer.status_code == 422
    assert "Choose one of the service owners." in answer.content.decode()


def test_shelf_and_owner_of_the_last_import_are_chosen_already(curator, org):
    row = ask(curator)
    work_off_imports()
    again = form_of(curator.get(PAGE), PAGE)
    assert again["category"] == str(row.category_id)
    assert again["service_owner"] == str(org.service_owner.pk)


def test_a_second_press_while_one_is_open_is_told_so(curator):
    form = chosen(curator)
    assert curator.post(PAGE, form).status_code == 303
    answer = curator.post(PAGE, form)
    assert answer.status_code == 409
    assert "being imported already" in answer.content.decode()


def test_a_back_end_out_of_use_is_not_imported(curator):
    form = chosen(curator)
    BackEnd.objects.update(is_active=False)
    assert "is out of use" in text(curator.get(PAGE))
    assert curator.post(PAGE, form).status_code == 409


def test_there_is_none_for_what_is_no_broker(curator):
    BackEnd.objects.update(connector="http")
    for address in (PAGE, f"{PAGE}live/", "/back-ends/elsewhere/import/"):
        assert curator.get(address).status_code == 404
    assert curator.post(PAGE).status_code == 404


def test_auditors_look_and_find_no_button(curator, signed_in):
    form = chosen(curator)
    ask(curator)
    auditor = signed_in("auditor")
    page = text(auditor.get(PAGE))
    assert "Waiting for a worker" in page
    assert PAGE not in Forms(page).by_action
    assert auditor.post(PAGE, form).status_code == 403


@pytest.mark.parametrize("username", ["business", "service_owner", "finance"])
def test_nobody_else_sees_it(signed_in, curator, username):
    form, client = chosen(curator), signed_in(username)
    assert [client.get(PAGE).status_code, client.get(f"{PAGE}live/").status_code] == [403, 403]
    assert client.post(PAGE, form).status_code == 403
    if username == "service_owner":
        assert PAGE not in text(client.get("/back-ends/"))


def test_pages_of_the_list_lead_to_pages_and_cost_the_same(curator, monkeypatch):
    first = ask(curator)
    work_off_imports()

    def more(number):
        row = fresh(first)
        row.pk, row.requested_at = uuid4(), timezone.now() + timedelta(seconds=number)
        row.save(force_insert=True)

    costs_the_same(curator, PAGE, more)
    monkeypatch.setattr("provisioning.views.imports.PAGE_SIZE", 10)
    first = curator.get(PAGE)
    second = curator.get(first.context["next_url"])
    assert len(second.context["rows"]) == 10
    assert second.context["previous_url"].startswith(PAGE)
    assert curator.get(f"{PAGE}live/").context["next_url"].startswith(f"{PAGE}?after=")
    assert curator.get(f"{PAGE}?after=nonsense").status_code == 404
