import html
import threading

import pytest
from django.db import connection
from django.test import Client

import catalog.services as catalog
from accounts.models import CostCenter
from catalog.models import OfferingVersion
from orders.models import Order
from tests.pages.forms import form_of, order_form, press


def problems(answer):
    """The error summary: sentence -> the field that it leads to."""
    page = html.unescape(answer.content.decode())
    assert "<title>Error: " in page
    assert 'role="alert"' in page
    return {sentence: anchor for anchor, sentence in answer.context["errors"]}


def test_the_form_needs_only_a_name_and_the_terms(offering, business):
    answer = press(business, order_form(business))
    order = Order.objects.get()
    assert (answer.status_code, answer.url) == (303, f"/orders/{order.pk}/")
    assert (order.plan.slug, order.cost_center.code, order.parameters) == (
        "small",
        "4100",
        {"storage": 10, "backup": False},
    )
    assert "campaign-db" in business.get(answer.url).content.decode()


def test_what_was_chosen_is_what_is_ordered(offering, business):
    medium = offering.current_version.plans.get(slug="medium")
    form = order_form(business, plan=str(medium.pk), purpose="production", data_classification="internal")
    press(business, form | {"p-storage": "50", "p-backup": "on", "name": "  spring   campaign "})
    order = Order.objects.get()
    assert (order.plan, order.name, order.purpose, order.data_classification) == (
        medium,
        "spring campaign",
        "production",
        "internal",
    )
    assert order.parameters == {"storage": 50, "backup": True}
    assert str(order.monthly) == "107.0000"


def test_an_empty_form_is_refused_with_links_to_its_fields(offering, business):
    form = order_form(business, name="")
    del form["accept"]
    answer = press(business, form)
    assert answer.status_code == 422
    found = problems(answer)
    assert found["Enter a name."] == "f-name"
    assert found["Accept the terms of use."] == "f-accept"
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    ("typed", "field"),
    [
        ({"name": "-"}, "f-name"),
        ({"name": "x" * 5000}, "f-name"),
        ({"name": "Größe"}, "f-name"),
        ({"cost_center": "5200"}, "f-cost_center"),
        ({"cost_center": "nonsense"}, "f-cost_center"),
        ({"purpose": "office"}, "f-purpose"),
        ({"data_classification": "restricted"}, "f-data_classification"),
        ({"p-storage": "1000"}, "f-p-storage"),
        ({"p-storage": "many"}, "f-p-storage"),
        ({"p-storage": ""}, "f-p-storage"),
        ({"p-storage": "9" * 400}, "f-p-storage"),
        ({"terms_hash": "0" * 64}, "f-accept"),
        ({"plan": "nonsense"}, "f-plan"),
        ({"plan": "00000000-0000-0000-0000-000000000000"}, "f-plan"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_all_values_are_kept(offering, business, typed, field):
    form = order_form(business) | {"p-backup": "on"} | typed
    answer = press(business, form)
    assert answer.status_code == 422
    assert field in problems(answer).values()
    kept = form_of(answer, "/catalog/database/order/")
    assert kept["p-backup"] == "on"
    assert kept["idempotency_key"] == form["idempotency_key"], "a mistake burns no key"
    if typed.keys() & {"name", "p-storage"}:
        name = next(iter(typed))
        assert kept[name] == typed[name]
    assert not Order.objects.exists()


def test_the_terms_stay_accepted_after_a_mistake_elsewhere(offering, business):
    kept = form_of(press(business, order_form(business, name="")), "/catalog/database/order/")
    assert kept["accept"] == "on"
    answer = press(business, kept | {"name": "now-right"})
    assert answer.status_code == 303


def test_after_the_terms_changed_they_have_to_be_accepted_anew(org, offering, business):
    form = order_form(business)
    draft = catalog.new_draft(offering, actor=org.curator)
    catalog.save_draft(draft, terms="New terms.", actor=org.curator)
    catalog.publish(OfferingVersion.objects.get(pk=draft.pk), actor=org.curator2)
    answer = press(business, form)
    assert answer.status_code == 422
    assert "older version" in " ".join(problems(answer))
    kept = form_of(answer, "/catalog/database/order/")
    assert kept["terms_hash"] != form["terms_hash"]
    assert "accept" not in kept


def test_a_name_in_use_is_refused(offering, business):
    press(business, order_form(business))
    answer = press(business, order_form(business, name="Campaign-DB"))
    assert answer.status_code == 422
    assert problems(answer) == {"“Campaign-DB” is in use on cost center 4100. Choose another name.": "f-name"}


def test_a_second_press_leads_to_the_same_order(offering, business):
    form = order_form(business)
    first, second = press(business, form), press(business, form)
    assert (first.status_code, second.status_code) == (303, 303)
    assert first.url == second.url
    assert Order.objects.count() == 1


def test_a_form_that_was_used_and_changed_leads_to_its_first_order_and_gets_a_new_key(offering, business):
    form = order_form(business)
    press(business, form)
    answer = press(business, form | {"name": "another"})
    assert answer.status_code == 422
    order = Order.objects.get()
    assert f'href="/orders/{order.pk}/"' in answer.content.decode()
    again = form_of(answer, "/catalog/database/order/")
    assert again["name"] == "another"
    assert press(business, again).status_code == 303
    assert Order.objects.count() == 2


@pytest.mark.parametrize("key", ["", "with space", "x" * 300, "ümlaut"])
def test_a_form_without_a_usable_key_gets_one(offering, business, key):
    answer = press(business, order_form(business, idempotency_key=key))
    assert answer.status_code == 422
    assert press(business, form_of(answer, "/catalog/database/order/")).status_code == 303


def test_who_may_not_order_is_refused(offering, signed_in):
    form = order_form(signed_in("business"))
    answer = press(signed_in("curator"), form)
    assert answer.status_code == 403
    assert "You may not do this" in answer.content.decode()
    assert not Order.objects.exists()


def test_a_paused_offering_takes_no_order(org, offering, business):
    form = order_form(business)
    catalog.pause(offering, "Out of stock.", actor=org.curator)
    answer = press(business, form)
    assert answer.status_code == 422
    assert "Out of stock." in answer.content.decode()
    assert not Order.objects.exists()


@pytest.mark.parametrize(
    "form",
    [
        {"name": "a\0b"},
        {"p-storage": "1\0"},
        {"na\0me": "x"},
    ],
)
def test_text_that_cannot_be_stored_is_refused(offering, business, form):
    answer = press(business, order_form(business) | form)
    assert answer.status_code == 400
    assert "cannot be stored" in answer.content.decode()


def test_half_characters_and_huge_forms_do_no_harm(offering, business):
    broken = business.post(
        "/catalog/database/order/",
        b"name=%ED%A0%80&idempotency_key=k",
        content_type="application/x-www-form-urlencoded",
    )
    assert broken.status_code == 422
    huge = press(business, order_form(business, name="x" * 1_000_000))
    assert huge.status_code == 400
    many = business.post(
        "/catalog/database/order/",
        b"&".join(b"a=1" for _ in range(2000)),
        content_type="application/x-www-form-urlencoded",
    )
    assert many.status_code == 400


@pytest.mark.django_db(transaction=True)
def test_two_presses_at_the_same_moment_make_one_order(offering, org):
    def client():
        made = Client()
        made.force_login(org.business, backend="django.contrib.auth.backends.ModelBackend")
        return made

    browsers = [client(), client()]
    form, answers = order_form(browsers[0]), []
    start = threading.Barrier(2)

    def send(browser):
        start.wait()
        answers.append(press(browser, form))
        connection.close()

    threads = [threading.Thread(target=send, args=[browser]) for browser in browsers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [answer.status_code for answer in answers] == [303, 303]
    assert answers[0].url == answers[1].url
    assert Order.objects.count() == 1


def test_a_cost_center_that_was_closed_meanwhile_is_refused(offering, org, business):
    CostCenter.objects.create(code="4200", name="Events", unit=org.units["marketing"], owner=org.owner)
    form = order_form(business, cost_center="4200")
    CostCenter.objects.filter(code="4200").update(is_active=False)
    assert problems(press(business, form)) == {"You cannot order on cost center “4200”.": "f-cost_center"}
