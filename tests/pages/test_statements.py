"""However much there is, a page asks the database as often as for one row; and an order costs few statements."""

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

import accounts.services as accounts
from catalog.models import Offering
from orders.models import Order
from tests.factories import published_offering
from tests.pages.forms import order_form, press
from tests.provisioning.engine import drive


def statements(client, address):
    with CaptureQueriesContext(connection) as captured:
        answer = client.get(address)
    assert answer.status_code == 200
    return len(captured)


def costs_the_same(client, address, add_more):
    """Compare the page with one row and with twenty; the first visit warms caches up."""
    statements(client, address)
    one = statements(client, address)
    for number in range(19):
        add_more(number)
    many = statements(client, address)
    assert one == many, f"{address}: {one} statements for one row, {many} for twenty"
    return one


def test_the_catalog(org, business):
    published_offering(org, "first")
    costs_the_same(business, "/", lambda number: published_offering(org, f"more-{number}"))
    assert Offering.objects.count() == 20


def test_my_orders(org, offering, business):
    def more(number):
        press(business, order_form(business, name=f"order {number}"))

    more(99)
    costs_the_same(business, "/orders/?tab=running", more)
    assert Order.objects.count() == 20
    costs_the_same(business, "/orders/?whose=all", lambda number: more(100 + number))


def test_the_tasks(org, offering, business, signed_in):
    def more(number):
        press(business, order_form(business, name=f"task {number}"))
        drive()

    more(99)
    costs_the_same(signed_in("curator"), "/tasks/", more)


def test_the_profile(org, business):
    def more(number):
        accounts.save_cost_center(
            None,
            code=f"9{number}",
            name="More",
            unit=org.units["marketing"],
            owner=org.owner,
            is_active=True,
            actor=org.admin,
        )

    more(99)
    costs_the_same(business, "/profile/", more)
    costs_the_same(
        business,
        "/profile/",
        lambda number: business.post("/profile/tokens/", {"label": f"t{number}", "scopes": "read", "days": "1"}),
    )


def test_the_offering_page_whatever_it_asks_for(org, business):
    plain = {"type": "object", "properties": {}}
    long = {
        "type": "object",
        "properties": {f"f{number}": {"type": "string", "title": f"Field {number}"} for number in range(20)},
    }
    published_offering(org, "plain", form=plain)
    published_offering(org, "long", form=long)
    statements(business, "/catalog/plain/")
    assert statements(business, "/catalog/plain/") == statements(business, "/catalog/long/")


def test_the_order_page_however_many_steps(org, business):
    for slug, count in (("short", 1), ("long", 20)):
        steps = [{"name": f"Step {number}", "connector": "manual"} for number in range(count)]
        published_offering(org, slug, steps=steps)
    short, long = (press(business, order_form(business, slug, name=slug), slug).url for slug in ("short", "long"))
    statements(business, short)
    assert statements(business, short) == statements(business, long)
    assert statements(business, f"{short}live/") == statements(business, f"{long}live/")


@pytest.mark.django_db(transaction=True)
def test_an_order_is_one_commit_of_at_most_twenty_statements(org, database, business):
    form = order_form(business, "postgresql")
    with CaptureQueriesContext(connection) as captured:
        answer = press(business, form, "postgresql")
    assert answer.status_code == 303
    said = [query["sql"] for query in captured]
    assert sum(sql == "COMMIT" for sql in said) == 1
    assert not any("SAVEPOINT" in sql for sql in said)
    # The twentieth is the connection's health check, which a request on a used connection begins with.
    assert len(said) <= 19, "\n".join(said)
