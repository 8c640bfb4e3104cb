"""The catalog through the API: what a person may order, found however he types it."""

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import catalog.services as catalog
from catalog.models import Category, Offering, Plan
from tests.factories import TERMS, published_offering

ADDRESS = "/api/v1/offerings/"


@pytest.fixture
def shelf(org):
    """Several offerings of two categories, and one of another business unit."""
    for slug, name in [
        ("postgresql-database", "PostgreSQL database"),
        ("redis-namespace", "Redis namespace"),
        ("git-repository", "Git repository"),
        ("laptop", "Laptop"),
    ]:
        published_offering(org, slug, name=name)
    published_offering(org, "lab-mailbox", name="Lab mailbox", units=("research",))
    hardware = Category.objects.create(slug="hardware", name="Hardware")
    laptop = Offering.objects.get(slug="laptop")
    catalog.change_offering(laptop, category=hardware, service_owner=org.service_owner, icon="", actor=org.curator)
    Offering.objects.filter(slug="laptop").update(pre_authorized=False)


def slugs(client, **query):
    answer = client.get(ADDRESS, query_params=query)
    assert answer.status_code == 200, answer.json()
    return [row["slug"] for row in answer.json()["results"]]


def test_the_list_is_what_this_person_may_order_by_name(api, shelf, org):
    assert slugs(api("business")) == ["git-repository", "laptop", "postgresql-database", "redis-namespace"]
    assert slugs(api("business2")) == ["lab-mailbox"]
    catalog.pause(Offering.objects.get(slug="laptop"), "Sold out.", actor=org.curator)
    catalog.retire(Offering.objects.get(slug="git-repository"), actor=org.curator)
    assert slugs(api("business")) == ["postgresql-database", "redis-namespace"]


def test_a_row_shows_where_it_stands_and_what_it_costs(api, shelf):
    (row,) = api("business").get(ADDRESS, query_params={"category": "hardware"}).json()["results"]
    assert row["category"] == {"slug": "hardware", "name": "Hardware"}
    assert row["from_price"] == {"amount": "38.00", "currency": "USD", "kind": "monthly"}
    assert row["pre_authorized"] is False


def test_the_list_is_narrowed_by_category_and_by_approval(api, shelf):
    client = api("business")
    assert slugs(client, category="hardware") == ["laptop"]
    assert slugs(client, category="none-of-these") == []
    assert slugs(client, pre_authorized="false") == ["laptop"]
    assert len(slugs(client, pre_authorized="true")) == 3
    assert slugs(client, pre_authorized="true", category="data", q="redis") == ["redis-namespace"]
    for wrong in ("yes", "1", "True", ""):
        answer = client.get(ADDRESS, query_params={"pre_authorized": wrong})
        assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/pre_authorized")


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("postgresql", "postgresql-database"),
        ("Postg", "postgresql-database"),
        ("p", "postgresql-database"),
        ("posgres", "postgresql-database"),
        ("databse", "postgresql-database"),
        ("posgres databse", "postgresql-database"),
        ("databases", "postgresql-database"),
        ("the database", "postgresql-database"),
        ("redis", "redis-namespace"),
        ("namspace", "redis-namespace"),
        ("lapotp", "laptop"),
        ("git repo", "git-repository"),
        ("repositories", "git-repository"),
        ('Git: "repository" & (more)', None),
        ("hardware laptop", None),
    ],
)  # fmt: skip
def test_a_search_forgives(api, shelf, typed, first):
    found = slugs(api("business"), q=typed)
    assert first is None or found[0] == first


def test_a_search_finds_nothing_where_there_is_nothing(api, shelf):
    client = api("business")
    for typed in ("zzzzqqq", "mailbox", "&|!()", "'", '"', "\\", "%", ":*"):
        assert slugs(client, q=typed) == []
    for blank in ("", "   ", "\t\n"):
        assert len(slugs(client, q=blank)) == 4


def test_what_fits_best_comes_first_and_pages_keep_that_order(api, org, shelf):
    for number in range(6):
        published_offering(org, f"database-{number}", name=f"Tool {number} for the database")
    client = api("business")
    whole = slugs(client, q="database")
    assert whole[0] == "postgresql-database" or "database" in whole[0]
    paged, address = [], f"{ADDRESS}?q=database&page_size=2"
    while address:
        page = client.get(address).json()
        paged += [row["slug"] for row in page["results"]]
        address = page["next"]
    assert paged == whole
    assert len(whole) == len(set(whole)) >= 7


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    typed=st.text(max_size=60)
    | st.text("'\"\\&|!<>():* abcd\u00e9\u0661\u2082", max_size=30)
    | st.just("database " * 1200)
)
def test_any_text_may_be_searched_for(shelf, org, typed):
    assert len(Offering.objects.orderable_by(org.business).search(typed)) <= 4


def test_an_offering_tells_all_that_an_order_needs(api, offering):
    body = api("business").get(f"{ADDRESS}database/").json()
    version = offering.current_version
    assert (body["version"], body["content_hash"]) == (1, version.content_hash)
    assert [(plan["slug"], plan["name"], plan["prices"]) for plan in body["plans"]] == [
        ("small", "Small", [{"kind": "monthly", "amount": "38.00", "currency": "USD", "unit": ""}]),
        ("medium", "Medium", [{"kind": "monthly", "amount": "76.00", "currency": "USD", "unit": ""}]),
    ]
    assert body["plans"][0]["id"] == str(Plan.objects.get(version=version, slug="small").pk)
    assert list(body["parameters_schema"]["properties"]) == ["storage", "backup"]
    assert body["terms"]["text"] == TERMS
    assert body["terms"]["hash"] == version.terms_hash
    assert body["terms"]["purposes"] == ["development", "production", "test"]
    assert body["terms"]["data_classifications"] == ["internal", "public"]
    assert body["service_levels"] == [{"name": "delivery", "target": "60", "unit": "seconds", "share": "0.95"}]
    assert (body["orderable"], body["paused_reason"]) == (True, "")


def test_what_the_offering_tells_is_enough_to_order_it(api, offering):
    client = api("business")
    told = client.get(f"{ADDRESS}database/").json()
    body = {
        "action": "add",
        "plan": told["plans"][0]["id"],
        "name": "told",
        "cost_center": "4100",
        "terms_hash": told["terms"]["hash"],
        "purpose": told["terms"]["purposes"][0],
        "data_classification": told["terms"]["data_classifications"][0],
    }
    answer = client.post("/api/v1/orders/", body, format="json", headers={"Idempotency-Key": "one"})
    assert answer.status_code == 201


def test_a_retired_plan_is_not_told(api, offering, org):
    catalog.retire_plan(Plan.objects.get(version=offering.current_version, slug="small"), actor=org.curator)
    body = api("business").get(f"{ADDRESS}database/").json()
    assert [plan["slug"] for plan in body["plans"]] == ["medium"]


def test_a_paused_offering_tells_why(api, offering, org):
    catalog.pause(offering, "Moving to a new data center.", actor=org.curator)
    body = api("business").get(f"{ADDRESS}database/").json()
    assert (body["orderable"], body["paused_reason"]) == (False, "Moving to a new data center.")


def test_an_offering_of_others_is_not_there(api, shelf, org):
    client = api("business")
    hidden, absent = client.get(f"{ADDRESS}lab-mailbox/"), client.get(f"{ADDRESS}no-such-thing/")
    assert (hidden.status_code, hidden.content) == (404, absent.content)
    draft = catalog.add_offering(
        slug="draft",
        name="Draft",
        category=Category.objects.first(),
        service_owner=org.service_owner,
        actor=org.curator,
    )
    assert api("curator").get(f"{ADDRESS}{draft.slug}/").status_code == 404
