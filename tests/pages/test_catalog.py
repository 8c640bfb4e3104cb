import io
import re
from decimal import Decimal

import pytest
from PIL import Image

import catalog.services as catalog
from catalog.models import Category, Offering, OfferingFigures, OfferingVersion
from tests.factories import published_offering
from tests.pages.forms import order_form

TILE = re.compile(r'<h3><a href="/catalog/([a-z0-9-]+)/">')


def tiles(client, query=""):
    return TILE.findall(client.get(f"/{query}").content.decode())


@pytest.fixture
def three(org):
    """Three offerings that differ in all that one can sort by."""
    made = {}
    for slug, price, ordered, seconds in [("alpha", 30, 5, 9.0), ("beta", 10, 9, 40.0), ("gamma", 20, 1, 2.0)]:
        offering = published_offering(org, slug)
        Offering.objects.filter(pk=offering.pk).update(from_price=Decimal(price))
        OfferingFigures.objects.create(offering=offering, delivered=ordered, usual_seconds=seconds)
        made[slug] = offering
    return made


@pytest.mark.parametrize(
    ("sort", "expected"),
    [
        ("popular", ["beta", "alpha", "gamma"]),
        ("fast", ["gamma", "alpha", "beta"]),
        ("price", ["beta", "gamma", "alpha"]),
        ("name", ["alpha", "beta", "gamma"]),
        ("nonsense", ["beta", "alpha", "gamma"]),
    ],
)
def test_the_grid_sorts(three, business, sort, expected):
    assert tiles(business, f"?sort={sort}") == expected


def test_the_search_finds_beginnings_and_mistyped_words(three, business):
    assert tiles(business, "?q=gam") == ["gamma"]
    assert tiles(business, "?q=gamna") == ["gamma"]


def test_nothing_found_says_so_and_leads_back(three, business):
    page = business.get("/?q=zzzzqqq").content.decode()
    assert "Nothing matches “zzzzqqq”" in page
    assert "See all services" in page


def test_filters_narrow_the_grid_and_stay_in_the_address(three, business):
    shelf = Category.objects.create(slug="people", name="People")
    Offering.objects.filter(slug="beta").update(category=shelf, pre_authorized=False)
    assert tiles(business, "?category=people") == ["beta"]
    assert sorted(tiles(business, "?pre_authorized=1")) == ["alpha", "gamma"]
    page = business.get("/?category=people").content.decode()
    assert re.search(r'value="people" checked', page)
    assert "Needs approval" in page


def test_htmx_gets_the_results_alone(three, business):
    answer = business.get("/?q=alpha", headers={"HX-Request": "true"})
    page = answer.content.decode()
    assert "<html" not in page
    assert TILE.findall(page) == ["alpha"]
    assert "1 service found" in page
    assert "HX-Request" in answer.headers["Vary"]


def test_pages_go_forth_and_back_without_losing_a_service(org, business):
    shelf = Category.objects.create(slug="many", name="Many")
    version = published_offering(org).current_version
    for number in range(49):
        made = catalog.add_offering(
            slug=f"s-{number:02}",
            name=f"S {number:02}",
            category=shelf,
            service_owner=org.service_owner,
            actor=org.curator,
        )
        # A row of its own kind is enough here: the grid shows what stands at the offering.
        other = made.versions.get()
        OfferingVersion.objects.filter(pk=other.pk).update(
            state="published", document=version.document, content_hash=f"{number}", terms_hash="t"
        )
        Offering.objects.filter(pk=made.pk).update(current_version=other)
        catalog.entitle(made, org.units["marketing"], actor=org.curator)
    seen, page = [], business.get("/?sort=name&q=")
    while True:
        seen += TILE.findall(page.content.decode())
        if not page.context["next_url"]:
            break
        page = business.get(page.context["next_url"])
    assert seen == ["database", *(f"s-{number:02}" for number in range(49))]
    back = business.get(page.context["previous_url"])
    assert TILE.findall(back.content.decode()) == [f"s-{number:02}" for number in range(23, 47)]


@pytest.mark.parametrize("address", ["/?after=nonsense", "/orders/?before=x", "/tasks/?after=.", "/?after=%C3%28"])
def test_a_forged_place_in_a_list_is_a_page_that_does_not_exist(offering, business, address):
    assert business.get(address).status_code == 404


def test_the_offering_page_has_price_promise_form_and_terms(offering, business):
    page = business.get("/catalog/database/").content.decode()
    for words in (
        "Pre-authorized: no approval needed.",
        "$38.00 a month",
        "$76.00 a month",
        "+$0.50 a month per GiB",
        "4100 Brand",
        "Use it for work.",
        "$43.00",
    ):
        assert words in page, words
    assert "5200" not in page, "a cost center that is not his"


@pytest.mark.parametrize(
    ("chosen", "total"),
    [
        ({}, "$43.00"),
        ({"p-storage": "20"}, "$48.00"),
        ({"p-storage": "20", "p-backup": "on"}, "$54.00"),
        ({"p-storage": "nonsense", "p-backup": "on"}, "$49.00"),
        ({"p-storage": "9" * 30}, "$43.00"),
        ({"plan": "nonsense"}, "$43.00"),
    ],
)
def test_the_quote_follows_what_is_chosen_and_changes_nothing(offering, business, chosen, total):
    answer = business.get("/catalog/database/quote/", chosen)
    assert answer.status_code == 200
    assert f"<strong>{total}</strong>" in answer.content.decode()


def test_the_quote_of_another_plan(offering, business):
    medium = offering.current_version.plans.get(slug="medium")
    answer = business.get("/catalog/database/quote/", order_form(business) | {"plan": str(medium.pk)})
    assert "<strong>$81.00</strong>" in answer.content.decode()


def test_who_is_not_entitled_finds_no_page(offering, signed_in):
    stranger = signed_in("business2")
    assert tiles(stranger) == []
    for page in ("", "quote/", "picture/", "order/"):
        assert stranger.get(f"/catalog/database/{page}", follow=True).status_code == 404
    assert stranger.post("/catalog/database/order/", {}).status_code == 404
    assert "Nothing to order yet" in stranger.get("/").content.decode()


def test_a_paused_offering_says_why_it_cannot_be_ordered(org, offering, business):
    catalog.pause(offering, "The supplier is out of stock until May.", actor=org.curator)
    page = business.get("/catalog/database/").content.decode()
    assert "Not orderable now." in page
    assert "out of stock until May" in page
    assert "Order now" not in page


@pytest.mark.parametrize(
    ("username", "words"), [("curator", "role of a business user"), ("auditor", "role of a business user")]
)
def test_who_may_only_look_is_told_so(offering, signed_in, username, words):
    page = signed_in(username).get("/catalog/database/").content.decode()
    assert "role of a business user" in page
    assert "Order now" not in page


def test_a_business_user_without_cost_center_is_told_so(org, offering, business):
    org.cost_centers["4100"].unit.cost_centers.update(is_active=False)
    assert "no cost center on which you may order" in business.get("/catalog/database/").content.decode()


def test_without_any_plan_left_there_is_no_form(org, offering, business):
    for plan in offering.current_version.plans.all():
        catalog.retire_plan(plan, actor=org.curator)
    assert "None of its plans is offered" in business.get("/catalog/database/").content.decode()
    assert business.get("/catalog/database/quote/").status_code == 204


def test_a_picture_is_served_as_what_it_is_and_asked_for_once(org, offering, business):
    assert business.get("/catalog/database/picture/").status_code == 404
    drawn = io.BytesIO()
    Image.new("RGB", (8, 8), "teal").save(drawn, "PNG")
    catalog.set_picture(offering, "it.png", drawn.getvalue(), actor=org.curator)
    answer = business.get("/catalog/database/picture/")
    assert answer.content == drawn.getvalue()
    assert (answer.headers["Content-Type"], answer.headers["X-Content-Type-Options"]) == ("image/png", "nosniff")
    assert "private" in answer.headers["Cache-Control"]
    again = business.get("/catalog/database/picture/", headers={"If-None-Match": answer.headers["ETag"]})
    assert (again.status_code, again.content) == (304, b"")
    assert 'src="/catalog/database/picture/"' in business.get("/").content.decode()
