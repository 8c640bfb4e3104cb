import html
import re
from datetime import timedelta
from urllib.parse import parse_qs, urlsplit

import psycopg2
import pytest
from django.utils import timezone

from core.models import Event
from orders.models import Order
from provisioning.models import Secret, Step
from provisioning.services import claims, execution, results
from tests.factories import published_offering
from tests.pages.forms import form_of, order_form, press
from tests.provisioning.engine import drive, make_due


def page_of(client, order):
    return client.get(f"/orders/{order.pk}/")


def text(answer):
    return " ".join(re.sub(r"<[^>]+>", " ", answer.content.decode()).split())


def poll_url(answer):
    """Where the page asks for news."""
    return html.unescape(re.search(r'hx-get="([^"]+/live/[^"]*)"', answer.content.decode()).group(1))


def poll(client, answer):
    return client.get(poll_url(answer), headers={"HX-Request": "true"})


def values(answer):
    """What the page shows of how to connect."""
    found = re.findall(r"<dt>([^<]+)</dt>\s*<dd class=\"v\"[^>]*>([^<]+)</dd>", answer.content.decode())
    return {label.lower(): value for label, value in found}


def test_the_decision_comes_first_and_the_steps_follow(business, ordered):
    words = text(page_of(business, ordered))
    parts = ("campaign-db is being delivered", "Order accepted", "no approval needed", "Creating the database")
    places = [words.index(part) for part in (*parts, "Checking the connection", "Ready to use")]
    assert places == sorted(places)


def test_nothing_new_is_204_and_a_step_done_is_news(business, ordered):
    first = page_of(business, ordered)
    assert "every 1s" in first.content.decode()
    assert poll(business, first).status_code == 204
    execution.execute(claims.claim())
    news = poll(business, first)
    assert news.status_code == 200
    page = news.content.decode()
    assert "<html" not in page
    assert re.search(r"Done in \d+\.\d s", page)
    assert "Made the database" in page, "the line of the log that is new"
    later = poll(business, news)
    assert later.status_code == 204
    drive()
    last = poll(business, news)
    page = last.content.decode()
    assert "hx-trigger" not in page.split('id="credentials"')[0], "polling ends with the delivery"
    assert '<div id="say" hx-swap-oob="innerHTML">campaign-db is ready.</div>' in page
    assert "Show password" in page


def test_a_poll_after_the_end_stays_quiet_and_bad_numbers_do_no_harm(business, delivered):
    address = f"/orders/{delivered.pk}/live/"
    assert business.get(page_of(business, delivered).context["poll_url"]).status_code == 204
    for query in ("", "?seen=&log=-1", "?seen=x.y.z&log=99999999999999999999", "?log=nonsense", "?log=²"):
        assert business.get(address + query).status_code == 200


def test_the_log_is_sent_once(business, ordered):
    first = page_of(business, ordered)
    execution.execute(claims.claim())
    news = poll(business, first)
    assert news.content.decode().count("Made the database") == 1
    known = parse_qs(urlsplit(poll_url(news)).query)["log"]
    assert int(known[0]) == page_of(business, ordered).content.decode().count("Creating the database:")
    drive()
    assert "Made the database" not in poll(business, news).content.decode()


@pytest.mark.parametrize(("age", "every"), [(10, "every 1s"), (100, "every 3s"), (1000, "every 15s")])
def test_long_waits_are_asked_after_less_often(business, ordered, age, every):
    began = timezone.now() - timedelta(seconds=age)
    Order.objects.filter(pk=ordered.pk).update(created_at=began)
    ordered.instance.runs.update(created_at=began)
    page = page_of(business, ordered).content.decode()
    assert every in page
    assert ("longer than promised" in page) == (age > 60)


def test_the_password_is_shown_once_and_opens_the_database(business, delivered):
    before = page_of(business, delivered)
    assert "Show password" in text(before)
    answer = business.post(f"/orders/{delivered.pk}/credentials/")
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    shown = values(answer)
    assert shown["password"] not in before.content.decode()
    psycopg2.connect(
        host=shown["host"],
        port=shown["port"],
        dbname=shown["database"],
        user=shown["username"],
        password=shown["password"],
    ).close()
    after = page_of(business, delivered)
    assert shown["password"] not in after.content.decode()
    assert "cannot be shown again" in text(after)
    assert business.post(f"/orders/{delivered.pk}/credentials/").status_code == 409
    assert Event.objects.filter(name="secret.revealed").count() == 1


def test_htmx_gets_the_connection_box_alone(business, delivered):
    answer = business.post(f"/orders/{delivered.pk}/credentials/", headers={"HX-Request": "true"})
    page = answer.content.decode()
    assert "<html" not in page
    assert "data-focus-swap" in page
    assert "password" in values(answer)
    assert "no-store" in answer.headers["Cache-Control"]


def test_looking_at_the_address_of_the_password_shows_nothing(business, delivered):
    answer = business.get(f"/orders/{delivered.pk}/credentials/")
    assert (answer.status_code, answer.url) == (303, f"/orders/{delivered.pk}/")
    assert not Secret.objects.filter(revealed_at__isnull=False).exists()


def test_a_new_password_can_be_set_and_is_shown_once_again(business, delivered):
    first = values(business.post(f"/orders/{delivered.pk}/credentials/"))
    assert business.post(f"/orders/{delivered.pk}/rotate/").status_code == 303
    waiting = page_of(business, delivered)
    assert "campaign-db is getting a new password" in text(waiting)
    assert "hx-trigger" in waiting.content.decode()
    assert business.post(f"/orders/{delivered.pk}/credentials/").status_code == 409
    assert business.post(f"/orders/{delivered.pk}/rotate/").status_code == 409
    drive()
    assert "Setting a new password" in text(page_of(business, delivered))
    second = values(business.post(f"/orders/{delivered.pk}/credentials/"))
    assert second["password"] != first["password"]
    psycopg2.connect(
        host=second["host"],
        port=second["port"],
        dbname=second["database"],
        user=second["username"],
        password=second["password"],
    ).close()


def test_canceling_takes_back_what_was_made(business, ordered):
    execution.execute(claims.claim())
    form = form_of(page_of(business, ordered), f"/orders/{ordered.pk}/cancel/")
    assert business.post(f"/orders/{ordered.pk}/cancel/", form).status_code == 303
    words = text(page_of(business, ordered))
    assert "campaign-db is being canceled" in words
    assert business.post(f"/orders/{ordered.pk}/cancel/").status_code == 409
    drive()
    words = text(page_of(business, ordered))
    assert "campaign-db is canceled" in words
    assert "Undoing: Creating the database" in words
    assert "Cancel this order" not in words


def test_a_delivered_order_can_no_longer_be_canceled(business, delivered):
    answer = business.post(f"/orders/{delivered.pk}/cancel/")
    assert answer.status_code == 409
    assert "is completed already" in text(answer)


def test_a_failed_order_says_what_happened_and_what_to_do(org, business, signed_in, ordered):
    step = Step.objects.get(run__instance=ordered.instance, seq=1)
    Step.objects.filter(pk=step.pk).update(max_attempts=1, connector="redis_acl", inputs={"nonsense": True})
    claimed = claims.claim()
    results.give_up(claimed, "disk full at far-side-7", [])
    drive()
    words = text(page_of(business, ordered))
    for part in ("could not be delivered", "What happened", "What you can do", f"Order {ordered.number}"):
        assert part in words
    assert "far-side-7" not in words, "what went wrong at the back end is for IT"
    assert "far-side-7" in text(page_of(signed_in("curator"), ordered))


def test_orders_of_others_are_pages_that_do_not_exist(signed_in, delivered):
    for username in ("business2", "colleague", "approver", "reviewer_security"):
        client = signed_in(username)
        assert page_of(client, delivered).status_code == 404
        assert client.get(f"/orders/{delivered.pk}/live/").status_code == 404
        for deed in ("credentials", "rotate", "cancel"):
            assert client.post(f"/orders/{delivered.pk}/{deed}/").status_code == 404


@pytest.mark.parametrize("username", ["owner", "service_owner", "curator", "auditor", "finance", "admin"])
def test_who_may_look_at_it_gets_no_password(signed_in, delivered, username):
    client = signed_in(username)
    words = text(page_of(client, delivered))
    assert "campaign-db is ready" in words
    assert "Show password" not in words
    assert "Set a new password" not in words
    for deed in ("credentials", "rotate"):
        assert client.post(f"/orders/{delivered.pk}/{deed}/").status_code == 403
    assert not Secret.objects.filter(revealed_at__isnull=False).exists()


def test_the_log_is_for_who_ordered_and_for_it(business, signed_in, delivered):
    assert "Made the database" in text(page_of(business, delivered))
    assert "Made the database" in text(page_of(signed_in("curator"), delivered))
    assert "Made the database" not in text(page_of(signed_in("owner"), delivered))


def test_without_javascript_the_page_asks_by_itself(business, ordered):
    assert '<noscript><meta http-equiv="refresh" content="4"></noscript>' in page_of(business, ordered).content.decode()
    drive()
    assert "http-equiv" not in page_of(business, ordered).content.decode()


def test_my_orders_are_sorted_into_what_i_have_what_runs_and_what_is_over(org, business, delivered):
    running = press(business, order_form(business, "postgresql", name="second"), "postgresql").url
    canceled = press(business, order_form(business, "postgresql", name="third"), "postgresql").url
    business.post(f"{canceled}cancel/")
    make_due()
    page = business.get("/orders/")
    assert "campaign-db" in text(page)
    assert "second" not in text(page)
    assert "second" in text(business.get("/orders/?tab=running"))
    assert f'href="{running}"' in business.get("/orders/?tab=running").content.decode()
    drive()
    past = text(business.get("/orders/?tab=past"))
    assert "third" in past
    assert "Canceled" in past
    assert [tab["count"] for tab in business.get("/orders/?tab=nonsense").context["tabs"]] == [2, 0, 1]


def test_my_orders_are_mine_and_those_of_others_are_a_click_away(signed_in, delivered, business):
    owner = signed_in("owner")
    mine = text(owner.get("/orders/"))
    assert "You have ordered nothing yet" in mine
    assert "Those of others" in mine
    assert "campaign-db" in text(owner.get("/orders/?whose=all"))
    assert "Those of others" not in text(business.get("/orders/"))
    assert "campaign-db" not in text(signed_in("business2").get("/orders/?whose=all"))


def test_a_service_without_password_shows_only_what_it_brought(org, business):
    published_offering(org, "git", connector="git_repository")
    order = Order.objects.get(pk=press(business, order_form(business, "git"), "git").url.split("/")[2])
    drive()
    words = text(page_of(business, order))
    assert "Clone url" in words
    assert "Show" not in words
    assert business.post(f"/orders/{order.pk}/credentials/").status_code == 409
    assert business.post(f"/orders/{order.pk}/rotate/").status_code == 409
