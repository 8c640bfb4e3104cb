"""What holds for every route: who is let in, what stands behind the `?`, methods, addresses, pages."""

import json
from datetime import timedelta
from urllib.parse import parse_qs, quote, urlsplit
from uuid import uuid4

import pytest
from django.db import connection
from django.test import Client, RequestFactory
from django.test.utils import CaptureQueriesContext
from django.utils import timezone
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from rest_framework.test import APIClient

import accounts.services as accounts
import orders.services as orders
from accounts.models import ApiToken
from config.wsgi import application
from orders.models import Order
from provisioning.models import ManualTask, Step
from tests.factories import published_offering, wanted_body

LISTS = ["offerings", "orders", "service-instances", "tasks"]
PROBLEM = "application/problem+json"
UNKNOWN = [
    "ordering=name", "fields=id", "requester__password__startswith=a", "_connector=OR", "search=x", "count=1",
    "format=json", "limit=5", "offset=5", "page=2", "id__in=1", "cursor=x", "a%00b=1", "%ED%A0%80=1",
]  # fmt: skip
SESSION = {"backend": "django.contrib.auth.backends.ModelBackend"}


@pytest.fixture
def client(api, offering):
    return api("business")


# --- who is let in ------------------------------------------------------------------------------------


@pytest.mark.parametrize("route", [*LISTS, "schema", "orders/00000000-0000-4000-8000-000000000000"])
def test_a_stranger_is_asked_who_he_is(db, route):
    answer = APIClient().get(f"/api/v1/{route}/")
    assert (answer.status_code, answer["Content-Type"]) == (401, PROBLEM)
    assert answer["WWW-Authenticate"] == "Bearer"


@pytest.mark.parametrize(
    "header",
    ["Bearer", "Bearer ", "Bearer gl_wrong", "Bearer \xff\xfe", "bearer " + "x" * 5000, "Basic YTpi", "gl_x", "\t"],
)
def test_a_token_that_nobody_knows_lets_nobody_in(db, header):
    answer = APIClient().get("/api/v1/orders/", headers={"Authorization": header})
    assert (answer.status_code, answer["Content-Type"]) == (401, PROBLEM)


def test_a_token_ends_when_it_expires_and_when_its_person_changes(api, org):
    expired, disabled, changed = api("business"), api("colleague"), api("business2")
    ApiToken.objects.filter(user=org.business).update(expiry=timezone.now() - timedelta(seconds=1))
    accounts.set_active(org.colleague, active=False, actor=org.admin)
    accounts.grant_role(org.business2, "approver", org.units["research"], actor=org.admin)
    for client in (expired, disabled, changed):
        assert client.get("/api/v1/orders/").status_code == 401


def test_a_token_does_what_its_scopes_say(api, offering):
    reader, buyer = api("business", "read"), api("business", "order")
    for route in ("orders", "quotes"):
        answer = reader.post(f"/api/v1/{route}/", wanted_body(offering), format="json")
        assert (answer.status_code, "“order”" in answer.json()["detail"]) == (403, True)
    assert buyer.get("/api/v1/orders/").status_code == 403
    headers = {"Idempotency-Key": "x"}
    assert buyer.post("/api/v1/orders/", wanted_body(offering), format="json", headers=headers).status_code == 201


@pytest.fixture
def browser(org):
    """A person's browser, checked for cross-site requests as a real one."""
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(org.business, **SESSION)
    return browser


def test_a_session_may_order_with_its_csrf_token(browser, offering, settings):
    page = browser.get("/api/v1/orders/")
    assert page.status_code == 200
    secret = "s" * 32
    browser.cookies[settings.CSRF_COOKIE_NAME] = secret
    answer = browser.post("/api/v1/orders/", wanted_body(offering), "application/json", headers={"X-CSRFToken": secret})
    assert answer.status_code == 201, "and needs no Idempotency-Key"


@pytest.mark.parametrize("origin", [None, "https://evil.example", "null"])
def test_another_site_cannot_order_in_a_persons_name(browser, offering, origin):
    headers = {"Origin": origin} if origin else {}
    body = json.dumps(wanted_body(offering))
    for content_type in ("application/json", "text/plain", "application/x-www-form-urlencoded"):
        answer = browser.post("/api/v1/orders/", body, content_type, headers=headers)
        assert (answer.status_code, answer["Content-Type"]) == (403, PROBLEM)
        assert "Access-Control-Allow-Origin" not in answer
    assert not Order.objects.exists()


def test_a_token_of_ones_own_does_not_help_another_site(browser, offering, settings):
    browser.cookies[settings.CSRF_COOKIE_NAME] = "s" * 32
    answer = browser.post(
        "/api/v1/orders/",
        wanted_body(offering),
        "application/json",
        headers={"X-CSRFToken": "s" * 32, "Origin": "https://evil.example"},
    )
    assert answer.status_code == 403


def test_a_preflight_from_another_site_is_allowed_nothing(db):
    answer = APIClient().options(
        "/api/v1/orders/",
        headers={"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"},
    )
    assert answer.status_code in {401, 403}
    assert not [name for name in answer.headers if name.lower().startswith("access-control-")]


def test_too_many_requests_are_told_when_to_go_on(client, monkeypatch):
    monkeypatch.setattr("rest_framework.throttling.UserRateThrottle.THROTTLE_RATES", {"user": "2/minute"})
    answers = [client.get("/api/v1/orders/", headers={"X-Forwarded-For": f"10.0.0.{n}"}) for n in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert (answers[2]["Content-Type"], int(answers[2]["Retry-After"]) > 0) == (PROBLEM, True)


# --- behind the question mark ---------------------------------------------------------------------------


@pytest.mark.parametrize("route", LISTS)
def test_a_parameter_that_nobody_knows_is_named(client, route):
    for query in UNKNOWN:
        answer = client.get(f"/api/v1/{route}/?{query}")
        assert (answer.status_code, answer["Content-Type"]) == (400, PROBLEM), query
        if "%" not in query:
            assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{query.split('=')[0]}"]


@pytest.mark.parametrize("route", LISTS)
def test_a_page_size_that_is_none_is_refused(client, route):
    for size in ["0", "-1", "201", "1e1", "10.0", "1000000000", "", "x", "\u0663", "1;2", "\0", " 5", "+5", "0x5"]:
        answer = client.get(f"/api/v1/{route}/", query_params={"page_size": size})
        assert (answer.status_code, answer["Content-Type"]) == (400, PROBLEM), size


@pytest.mark.parametrize("route", LISTS)
def test_a_place_that_is_not_on_the_list_is_refused(client, route):
    for name in ("after", "before"):
        for place in ["x", "....", "\u00e9", "A" * 3000, "WyIxIl0:1w:x", "null", "a:b:c:d", "\ud800"]:
            answer = client.get(f"/api/v1/{route}/?{name}={quote(place, errors='replace')}")
            assert answer.status_code == 400
            assert [error["pointer"] for error in answer.json()["errors"]] == [f"/{name}"]


def test_a_place_on_one_list_is_none_on_another(client, offering, org):
    for name in ("db-1", "db-2"):
        order = orders.place(orders.Wanted(**_wanted(offering) | {"name": name}), actor=org.business).order
    place = parse_qs(urlsplit(client.get("/api/v1/orders/?page_size=1").json()["next"]).query)["after"][0]
    assert client.get("/api/v1/orders/", query_params={"after": place}).status_code == 200
    answer = client.get(f"/api/v1/orders/{order.pk}/events/", query_params={"after": place})
    assert answer.status_code == 400


def _wanted(offering):
    return {name: value for name, value in wanted_body(offering).items() if name != "action"}


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    route=st.sampled_from(LISTS),
    query=st.dictionaries(
        st.sampled_from(["q", "category", "pre_authorized", "state", "after", "before", "page_size"])
        | st.text(max_size=10),
        st.text(max_size=30) | st.integers() | st.lists(st.text(max_size=5), max_size=3),
        max_size=4,
    ),
)
def test_no_query_breaks_a_list(client, route, query):
    assert client.get(f"/api/v1/{route}/", query_params=query).status_code in {200, 400}


@pytest.mark.parametrize("charset", ["zlib", "hex", "rot13", "utf-7", "idna", "undefined", "utf-16"])
def test_a_charset_that_is_none_breaks_no_address(db, charset):
    request = RequestFactory().get("/api/v1/offerings/?q=%41%ff", query_params=None)
    environ = request.environ | {"CONTENT_TYPE": f"application/json; charset={charset}"}
    seen = []
    list(application(environ, lambda status, _: seen.append(status)))
    assert seen == ["401 Unauthorized"]


def test_a_parameter_stands_once(client):
    answer = client.get("/api/v1/offerings/?q=a&q=b")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/q")


def test_what_takes_no_parameters_says_so(client, offering):
    for address in ("/api/v1/offerings/database/", f"/api/v1/orders/{uuid4()}/"):
        assert client.get(f"{address}?expand=plan").status_code == 400


# --- methods and addresses --------------------------------------------------------------------------------


@pytest.mark.parametrize("route", LISTS)
def test_head_is_get_without_a_body_and_options_tells_the_methods(client, route):
    head, options = client.head(f"/api/v1/{route}/"), client.options(f"/api/v1/{route}/")
    assert (head.status_code, head.content) == (200, b"")
    assert options.status_code == 200
    assert "GET" in options["Allow"]


def test_a_method_that_is_not_offered_is_told_which_are(client):
    for method, address, allowed in [
        ("PUT", "/api/v1/orders/", "GET, POST, HEAD, OPTIONS"),
        ("DELETE", f"/api/v1/orders/{uuid4()}/", "GET, HEAD, OPTIONS"),
        ("PATCH", "/api/v1/offerings/database/", "GET, HEAD, OPTIONS"),
        ("GET", f"/api/v1/orders/{uuid4()}/cancel/", "POST, OPTIONS"),
        ("GET", f"/api/v1/service-instances/{uuid4()}/credentials/", "POST, OPTIONS"),
        ("GET", "/api/v1/quotes/", "POST, OPTIONS"),
        ("BREW", "/api/v1/orders/", "GET, POST, HEAD, OPTIONS"),
    ]:
        answer = client.generic(method, address)
        assert (answer.status_code, answer["Content-Type"], answer["Allow"]) == (405, PROBLEM, allowed)


def test_an_address_that_leads_nowhere_says_so_in_json(client):
    for rest in [
        "", "nowhere/", "nowhere", "orders/x/", "orders/1/", f"orders/{uuid4()}/fly/", "offerings/A!/",
        "offerings/a b/", "service-instances/%00/", "orders//", "../", "%ED%A0%80/", "orders/'%20or%201=1/", "x" * 3000,
    ]:  # fmt: skip
        for method in ("GET", "POST"):
            answer = client.generic(method, f"/api/v1/{rest}")
            assert answer.status_code in {400, 404}, rest
            assert answer["Content-Type"] == PROBLEM


def test_an_address_without_its_last_slash_leads_to_the_right_one(client, offering):
    answer = client.get("/api/v1/orders?page_size=5")
    assert (answer.status_code, answer["Location"]) == (308, "/api/v1/orders/?page_size=5")
    answer = client.post("/api/v1/orders", wanted_body(offering), format="json", headers={"Idempotency-Key": "x"})
    assert (answer.status_code, answer["Location"]) == (308, "/api/v1/orders/")
    answer = client.get("/api/v1//evil.example")
    assert answer.status_code == 404


def test_what_is_not_json_is_not_given(client):
    answer = client.get("/api/v1/orders/", headers={"Accept": "text/html"})
    assert (answer.status_code, answer["Content-Type"]) == (406, PROBLEM)


@pytest.mark.parametrize("route", ["credentials", "rotate"])
def test_a_body_where_none_is_needed_is_refused(client, offering, org, route):
    order = orders.place(orders.Wanted(**_wanted(offering)), actor=org.business).order
    address = f"/api/v1/service-instances/{order.instance_id}/{route}/"
    answer = client.post(address, {"force": True}, format="json")
    assert (answer.status_code, answer.json()["errors"][0]["pointer"]) == (400, "/force")
    assert client.post(address, [1], format="json").status_code == 400
    assert client.generic("POST", address, b"x", "text/plain").status_code == 415


# --- how many statements a list takes -----------------------------------------------------------------------


@pytest.mark.parametrize("route", LISTS)
def test_a_list_takes_as_many_statements_for_twenty_rows_as_for_one(api, org, offering, route):
    client = api("admin" if route == "tasks" else "business")
    seen = []
    for number in range(20):
        _grow(route, org, offering, number)
        if number in {0, 19}:
            with CaptureQueriesContext(connection) as statements:
                answer = client.get(f"/api/v1/{route}/")
            seen.append((len(statements), len(answer.json()["results"])))
    (with_few, few), (with_many, many) = seen
    assert many == few + 19
    assert with_many == with_few <= 5


def _grow(route, org, offering, number):
    """Add one row to the list of `route`."""
    if route == "offerings":
        published_offering(org, f"service-{number}")
        return
    orders.place(orders.Wanted(**_wanted(offering) | {"name": f"db-{number}"}), actor=org.business)
    if route == "tasks":
        ManualTask.objects.create(step=Step.objects.get(task=None), title="Do it", assignee=org.curator)
