"""The pages on which a delivered service is changed and removed, and what an order's page says on bad days."""

import re
from datetime import timedelta

import pytest
from django.utils import timezone

from core.states import move
from orders.models import Order
from provisioning.models import Breaker, ServiceInstance, Step
from provisioning.services import claims, execution
from tests.factories import published_offering
from tests.pages.forms import form_of, order_form, press
from tests.provisioning.conftest import far_side  # noqa: F401 (a fixture)
from tests.provisioning.engine import drive, fresh


def text(answer):
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


@pytest.fixture
def made(org, business, far_side):  # noqa: F811 (the fixture)
    """Order a service made as the steps say; give the order."""

    def order(*steps):
        rows = [{"name": name, "connector": connector, **more} for name, connector, more in steps]
        published_offering(org, "space", steps=rows, name="Web space")
        answer = press(business, order_form(business, "space"), "space")
        assert answer.status_code == 303
        return Order.objects.get(pk=answer.url.split("/")[2])

    return order


@pytest.fixture
def order(made):
    """The order of a service that was delivered."""
    placed = made(("Making it", "bare", {"inputs": {"value": "${parameters.storage}"}}))
    drive()
    return fresh(placed)


def change_form(client, order, **filled):
    address = f"/orders/{order.pk}/change/"
    return form_of(client.get(address), address) | filled


def plan_of(order, slug):
    return str(order.plan.version.plans.get(slug=slug).pk)


def send(client, order, form):
    return client.post(f"/orders/{order.pk}/change/", form)


def test_the_form_shows_what_is_in_force(business, order):
    page = business.get(f"/orders/{order.pk}/change/")
    form = form_of(page, f"/orders/{order.pk}/change/")
    assert (form["plan"], form["p-storage"]) == (plan_of(order, "small"), "10")
    assert "p-backup" not in form
    assert "It costs the same as now." in text(page)


def test_the_price_and_its_difference_follow_the_form(business, order):
    query = {"plan": plan_of(order, "medium"), "p-storage": "20"}
    answer = business.get(f"/orders/{order.pk}/change/quote/", query, headers={"HX-Request": "true"})
    words = text(answer)
    assert "<html" not in answer.content.decode()
    assert "Per month $86.00" in words
    assert "Now $43.00" in words
    assert "$43.00 a month more than now" in words
    wrong = business.get(f"/orders/{order.pk}/change/quote/", {"plan": "nonsense"}, headers={"HX-Request": "true"})
    assert wrong.status_code == 204


def test_a_change_leads_to_its_own_page_and_is_done(business, order, far_side):  # noqa: F811 (the fixture)
    answer = send(business, order, change_form(business, order, plan=plan_of(order, "medium"), **{"p-storage": "20"}))
    assert answer.status_code == 303
    page = text(business.get(answer.url))
    for part in ("campaign-db is being changed", "Changing: Making it", "Medium (before: Small)", "20 GiB (before: 10"):
        assert part in page
    first = business.get(f"/orders/{order.pk}/")
    assert "campaign-db is being changed" in text(first)
    assert f'href="{answer.url}"' in first.content.decode(), "the service's page leads to the change"
    drive()
    assert "campaign-db is changed" in text(business.get(answer.url))
    service = text(business.get(f"/orders/{order.pk}/"))
    for part in (
        "campaign-db is ready",
        "Web space, Medium.",
        "Medium (ordered: Small)",
        "20 GiB (ordered: 10",
        "$86.00",
    ):
        assert part in service, "the service's page says what is in force"
    assert "$86.00" in text(business.get("/orders/"))
    assert change_form(business, order)["p-storage"] == "20"
    assert text(business.get("/orders/")).count("campaign-db") == 2, "one service is one row: its name and a button"
    assert "Change: Web space" in text(business.get("/orders/?tab=past"))


def test_pressed_twice_it_is_one_change(business, order):
    form = change_form(business, order, **{"p-storage": "20"})
    assert send(business, order, form).url == send(business, order, form).url
    assert Order.objects.filter(action="modify").count() == 1


def test_what_is_wrong_is_said_and_what_was_typed_is_kept(business, order):
    answer = send(business, order, change_form(business, order, **{"p-storage": "500"}))
    assert answer.status_code == 422
    assert "Storage must be 100 or less" in text(answer)
    assert 'value="500"' in answer.content.decode()
    assert send(business, order, change_form(business, order)).status_code == 422, "nothing would change"
    assert "Nothing would change" in text(send(business, order, change_form(business, order)))
    assert send(business, order, {}).status_code == 422
    form = change_form(business, order, **{"p-storage": "20"})
    send(business, order, form)
    drive()
    assert send(business, order, form | {"p-storage": "30"}).status_code == 422, "the form was sent before"
    assert Order.objects.filter(action="modify").count() == 1


def test_one_change_at_a_time(business, order):
    send(business, order, change_form(business, order, **{"p-storage": "20"}))
    assert "Not possible now." in text(business.get(f"/orders/{order.pk}/change/"))
    assert "Not possible now." in text(business.get(f"/orders/{order.pk}/remove/"))
    late = business.post(f"/orders/{order.pk}/remove/", {"idempotency_key": "another"})
    assert late.status_code == 409
    assert "being changed" in text(late)


def test_a_running_change_is_canceled_on_its_page(business, order):
    address = send(business, order, change_form(business, order, **{"p-storage": "20"})).url
    assert business.post(f"{address}cancel/").status_code == 303
    drive()
    words = text(business.get(address))
    assert "The change of campaign-db is canceled" in words
    assert "It is as it was before." in words


def test_removing_says_first_what_goes(business, order, far_side):  # noqa: F811 (the fixture)
    address = f"/orders/{order.pk}/remove/"
    page = business.get(address)
    for part in ("Remove campaign-db", "is deleted", "Making it", "$43.00", f"at-{order.instance_id}"):
        assert part in text(page)
    assert far_side.live()
    answer = business.post(address, form_of(page, address))
    assert answer.status_code == 303
    words = text(business.get(answer.url))
    assert "campaign-db is being removed" in words
    assert "Cancel this" not in words
    drive()
    assert far_side.live() == []
    assert "campaign-db is removed" in text(business.get(answer.url))
    assert "campaign-db was removed" in text(business.get(f"/orders/{order.pk}/"))
    assert "Remove campaign-db" not in text(business.get(f"/orders/{order.pk}/"))


def test_who_may_what_with_it(signed_in, order):
    # Person: status of the page that changes it, and of the one that removes it.
    expected = {
        "business": (200, 200), "owner": (403, 200), "curator": (403, 200), "admin": (200, 200),
        "service_owner": (403, 403), "auditor": (403, 403), "colleague": (404, 404), "business2": (404, 404),
    }  # fmt: skip
    found = {
        name: tuple(signed_in(name).get(f"/orders/{order.pk}/{deed}/").status_code for deed in ("change", "remove"))
        for name in expected
    }
    assert found == expected
    assert "Change" not in text(signed_in("owner").get(f"/orders/{order.pk}/")).split("Your order")[1]


def test_what_is_not_there_any_more_is_said_in_words(business, order):
    instance = order.instance
    move(instance, ServiceInstance.State.MISSING, values={"checked_at": timezone.now()}, reason="gone")
    words = text(business.get(f"/orders/{order.pk}/"))
    for part in ("cannot be found at its back end", "We looked on", "not made again by itself", "Remove"):
        assert part in words
    assert "Missing" in text(business.get("/orders/"))
    assert business.get(f"/orders/{order.pk}/remove/").status_code == 200


def test_when_a_step_is_tried_again_is_said(business, made):
    placed = made(("Making it", "bare", {"inputs": {"fails": 1}}))
    execution.execute(claims.claim())
    at = timezone.now() + timedelta(seconds=27)
    Step.objects.update(next_run_at=at)
    words = text(business.get(f"/orders/{placed.pk}/"))
    assert f"Will be tried again at {timezone.localtime(at):%H:%M:%S}, in 30 seconds." in words
    Step.objects.update(next_run_at=timezone.now())
    assert "being tried again now" in text(business.get(f"/orders/{placed.pk}/"))


def test_a_silent_back_end_is_said_without_its_name(business, made):
    placed = made(("Making it", "bare", {"inputs": {"fails": 1}}))
    execution.execute(claims.claim())
    Breaker.objects.update_or_create(back_end="bare", defaults={"state": "open", "failures": 5})
    words = text(business.get(f"/orders/{placed.pk}/"))
    assert "does not answer at the moment" in words
    assert "Will be tried again at" not in words


def test_a_failure_that_is_held_and_an_unknown_end_are_for_an_operator(business, made):
    placed = made(("Making it", "bare", {"inputs": {"refuses": True}, "on_failure": "wait"}))
    drive()
    words = text(business.get(f"/orders/{placed.pk}/"))
    for part in ("campaign-db waits for a person", "An operator looks at it", "Needs a person"):
        assert part in words
    Step.objects.update(state="outcome_unknown")
    assert "Nobody can say yet whether this happened" in text(business.get(f"/orders/{placed.pk}/"))


def test_a_step_that_is_not_needed_says_so(business, made):
    placed = made(("Making it", "bare", {}), ("Keeping backups", "bare", {"when": "parameters.backup"}))
    drive()
    words = text(business.get(f"/orders/{placed.pk}/"))
    assert "Keeping backups Not needed" in words
    assert "campaign-db is ready" in words


def test_operators_try_a_failed_order_again_and_others_do_not_see_the_button(business, signed_in, made, far_side):  # noqa: F811 (the fixture)
    placed = made(("Making it", "bare", {}), ("Moody", "fitful_bare", {"max_attempts": 1}))
    execution.execute(claims.claim())
    far_side.set_mood("refuse")
    drive()
    assert "Try again" not in text(business.get(f"/orders/{placed.pk}/"))
    assert business.post(f"/orders/{placed.pk}/retry/").status_code == 403
    curator = signed_in("curator")
    assert "Try again" in text(curator.get(f"/orders/{placed.pk}/"))
    assert curator.post(f"/orders/{placed.pk}/retry/").status_code == 303
    words = text(business.get(f"/orders/{placed.pk}/"))
    assert "campaign-db is being delivered" in words
    assert "Undoing" not in words, "what an earlier run tried is over"
    assert curator.post(f"/orders/{placed.pk}/retry/").status_code == 409
    drive()
    assert "campaign-db is ready" in text(business.get(f"/orders/{placed.pk}/"))
