"""The API describes itself: a valid document, and a page on which people read and try it."""

import json
import os
import re
from pathlib import Path

import jsonschema_rs
import pytest
import rest_framework.views
from django.test import Client
from django.urls import get_resolver

from tests.factories import published_offering, wanted_body

CHROMIUM = Path("/usr/bin/chromium")
FLAGS = [
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync",
]  # fmt: skip
SESSION = "django.contrib.auth.backends.ModelBackend"
METHODS = {"get", "post", "put", "patch", "delete"}


@pytest.fixture
def document(api):
    answer = api("business", "read").get("/api/v1/schema/")
    assert (answer.status_code, answer["Content-Type"]) == (200, "application/json")
    return answer.json()


def operations(document):
    return [
        (path, method, operation)
        for path, methods in document["paths"].items()
        for method, operation in methods.items()
        if method in METHODS
    ]


def test_the_document_is_openapi_3_1_and_names_every_route(document):
    assert document["openapi"].startswith("3.1")
    described = {(path, method) for path, method, _ in operations(document)}
    assert described == set(routes())


def routes():
    """List path and method of each route below /api/v1/ as Django knows them."""
    (found,) = [entry for entry in get_resolver().url_patterns if str(entry.pattern) == "api/v1/"]
    for entry in found.url_patterns:
        actions = getattr(entry.callback, "actions", None)
        if actions:
            path = re.sub(r"<\w+:(\w+)>", lambda part: "{id}" if part[1] == "pk" else "{slug}", str(entry.pattern))
            yield from ((f"/api/v1/{path}", method) for method in actions if method in METHODS)


def test_each_operation_tells_its_refusals_as_problems(document):
    problem = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    for path, method, operation in operations(document):
        expected = {"400", "401", "403", "404", "429", "503"} | ({"409", "415"} if method == "post" else set())
        expected |= {"422"} if (path, method) == ("/api/v1/orders/", "post") else set()
        assert expected <= set(operation["responses"]), path
        assert all(operation["responses"][code]["content"] == problem for code in expected)
        assert operation["summary"]
        assert operation["description"]
        # News is signed; whoever sends it is no person.
        signed_in = [] if path.startswith("/api/v1/callbacks/") else [{"token": []}, {"session": []}]
        assert operation.get("security", []) == signed_in


def test_each_reference_leads_somewhere_and_each_schema_is_one(document):
    text = json.dumps(document)
    for reference in set(re.findall(r'"\$ref": "#/([^"]+)"', text)):
        found = document
        for name in reference.split("/"):
            found = found[name]
    for schema in document["components"]["schemas"].values():
        jsonschema_rs.validator_for(_with_all(document, schema))


def _with_all(document, schema):
    """Give a schema that stands by itself, with all that it may refer to."""
    whole = schema | {"$defs": document["components"]["schemas"]}
    return json.loads(json.dumps(whole).replace("#/components/schemas/", "#/$defs/"))


@pytest.fixture
def order(api, org):
    """A client, and the order that it placed."""
    client, body = api("business"), wanted_body(published_offering(org))
    return client, client.post("/api/v1/orders/", body, format="json", headers={"Idempotency-Key": "one"}).json()


@pytest.mark.parametrize(
    ("method", "path", "identity"),
    [
        ("get", "/api/v1/offerings/", ""),
        ("get", "/api/v1/offerings/{slug}/", ""),
        ("get", "/api/v1/orders/", ""),
        ("get", "/api/v1/orders/{id}/", "id"),
        ("get", "/api/v1/orders/{id}/events/", "id"),
        ("get", "/api/v1/service-instances/", ""),
        ("get", "/api/v1/service-instances/{id}/", "service_instance"),
        ("post", "/api/v1/orders/{id}/cancel/", "id"),
        ("get", "/api/v1/orders/{id}/", "service_instance"),
    ],
)
def test_answers_are_as_the_document_says(order, document, method, path, identity):
    client, body = order
    answer = getattr(client, method)(path.format(id=body.get(identity), slug="database"))
    response = document["paths"][path][method]["responses"][str(answer.status_code)]
    schema = response["content"][answer["Content-Type"]]["schema"]
    jsonschema_rs.validator_for(_with_all(document, schema)).validate(answer.json())


def test_the_document_holds_no_secret(document, settings):
    text = json.dumps(document)
    assert settings.SECRET_KEY not in text
    assert not re.search(r"gl_[A-Za-z0-9]{10,}", text)


def test_the_document_comes_as_yaml_for_who_asks(api):
    answer = api("business").get("/api/v1/schema/", headers={"Accept": "application/vnd.oai.openapi"})
    assert answer.status_code == 200
    assert answer.content.startswith(b"openapi: 3.1")


def test_every_api_view_keeps_its_doors_shut():
    """No view forgets the defaults: authentication, scope, throttle."""
    from config.api import router  # noqa: PLC0415

    for _, view, _ in router.registry:
        for attribute in ("authentication_classes", "permission_classes", "throttle_classes", "parser_classes"):
            assert getattr(view, attribute) == getattr(rest_framework.views.APIView, attribute)


def test_the_page_asks_a_stranger_to_sign_in(db):
    answer = Client().get("/api/v1/docs/")
    assert (answer.status_code, answer["Location"].endswith("?next=/api/v1/docs/")) == (302, True)


@pytest.mark.browser
@pytest.mark.skipif(not CHROMIUM.exists(), reason="No Chromium is installed.")
@pytest.mark.django_db(transaction=True)
def test_the_page_works_under_the_strict_policy(live_server, request, settings, monkeypatch):
    from playwright.sync_api import sync_playwright  # noqa: PLC0415

    monkeypatch.setitem(os.environ, "DJANGO_ALLOW_ASYNC_UNSAFE", "1")
    org = request.getfixturevalue("org")
    published_offering(org)
    signed_in = Client()
    signed_in.force_login(org.business, SESSION)
    session = signed_in.cookies[settings.SESSION_COOKIE_NAME].value
    said = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=FLAGS)
        context = browser.new_context()
        context.add_cookies([{"name": settings.SESSION_COOKIE_NAME, "value": session, "url": live_server.url}])
        page = context.new_page()
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on(
            "request",
            lambda sent: (
                said.append(sent.url)
                if "127.0.0.1" not in sent.url and "localhost" not in sent.url and not sent.url.startswith("data:")
                else None
            ),
        )
        answer = page.goto(f"{live_server.url}/api/v1/docs/")
        assert "script-src 'self'" in answer.headers["content-security-policy"]
        page.get_by_text("List what you may order").click()
        page.get_by_role("button", name="Try it out").click()
        page.get_by_role("button", name="Execute").click()
        page.get_by_text('"slug": "database"').first.wait_for()
        page.get_by_text("Ask for a price").click()
        quotes = page.locator("#operations-quotes-quotes_create")
        quotes.get_by_role("button", name="Try it out").click()
        quotes.locator("textarea.body-param__text").fill('{"plan": "database/small"}')
        quotes.get_by_role("button", name="Execute").click()
        quotes.get_by_text('"monthly": "43.00"').first.wait_for()
        browser.close()
    assert said == []
