import json

import pytest
from django.test import Client

POLICY = (
    "default-src 'self'; script-src 'self'; style-src 'self'; img-src 'self' data:; "
    "frame-ancestors 'none'; base-uri 'none'; form-action 'self'"
)
PROBLEM = "application/problem+json"


def directives(policy):
    return {part.split()[0]: sorted(part.split()[1:]) for part in policy.split(";") if part.strip()}


def is_guarded(answer):
    headers = answer.headers
    assert headers["X-Content-Type-Options"] == "nosniff"
    assert headers["X-Frame-Options"] == "DENY"
    assert headers["Referrer-Policy"] == "same-origin"
    return directives(headers["Content-Security-Policy"])


@pytest.mark.parametrize(
    "address",
    [
        "/",
        "/catalog/database/",
        "/catalog/database/quote/",
        "/orders/",
        "/profile/",
        "/profile/password/",
        "/tasks/",
        "/nothing/here/",
        "/?q=%00",
        "/orders/00000000-0000-0000-0000-000000000000/",
        "/api/v1/orders/",
        "/api/v1/nothing/",
        "/healthz",
        "/static/app.css",
    ],
)
def test_every_answer_has_the_policy_and_its_guards(offering, business, address):
    if address != "/static/app.css":  # a file runs nothing
        assert is_guarded(business.get(address)) == directives(POLICY)


def test_who_is_not_known_gets_the_same_guards(org, client):
    for address in ("/", "/sign-in/", "/signed-out/", "/nothing/"):
        assert is_guarded(client.get(address)) == directives(POLICY)
    assert is_guarded(client.post("/sign-in/", {"username": "x", "password": "y"})) == directives(POLICY)


@pytest.mark.parametrize("address", ["/admin/", "/admin/catalog/offering/", "/admin/catalog/offeringversion/"])
def test_the_admin_may_relax_styles_but_never_scripts(offering, signed_in, address):
    found = is_guarded(signed_in("curator").get(address))
    assert found["script-src"] == ["'self'"]
    assert "style-src" in found
    assert {name: value for name, value in found.items() if name != "style-src"} == {
        name: value for name, value in directives(POLICY).items() if name != "style-src"
    }


@pytest.mark.parametrize("address", ["/mistake/", "/away/", "/busy/"])
@pytest.mark.urls("tests.pages.broken_urls")
def test_faults_are_answered_from_a_file_with_all_guards(org, signed_in, address):
    client = signed_in("business")
    client.raise_request_exception = False
    answer = client.get(address)
    page = answer.content.decode()
    assert is_guarded(answer) == directives(POLICY)
    assert "secret detail" not in page
    assert "Greenlane" in page
    if address == "/mistake/":
        assert answer.status_code == 500
    else:
        assert (answer.status_code, answer.headers["Retry-After"]) == (503, "2")


@pytest.mark.parametrize(
    ("address", "status"), [("/api/v1/mistake/", 500), ("/api/v1/away/", 503), ("/api/v1/no/", 404)]
)
@pytest.mark.urls("tests.pages.broken_urls")
def test_below_api_faults_are_problems(org, client, address, status):
    client.raise_request_exception = False
    answer = client.get(address)
    assert (answer.status_code, answer.headers["Content-Type"]) == (status, PROBLEM)
    body = json.loads(answer.content)
    assert body["status"] == status
    assert "secret detail" not in body["detail"]


def test_below_api_a_character_that_cannot_be_stored_is_a_problem(org, client):
    answer = client.get("/api/v1/offerings/?q=%00")
    assert (answer.status_code, answer.headers["Content-Type"]) == (400, PROBLEM)


def test_a_form_without_its_token_is_refused_in_words(offering, org):
    client = Client(enforce_csrf_checks=True)
    client.force_login(org.business, backend="django.contrib.auth.backends.ModelBackend")
    answer = client.post("/catalog/database/order/", {})
    assert answer.status_code == 403
    assert "This form is too old" in answer.content.decode()


@pytest.mark.parametrize(
    ("address", "status", "words"),
    [
        ("/nothing/", 404, "There is no page here for you"),
        ("/?q=%00", 400, "cannot be stored"),
        ("/catalog/nothing/", 404, "There is no page here for you"),
        ("/orders/not-an-id/", 404, "There is no page here for you"),
    ],
)
def test_error_pages_say_what_happened_and_lead_on(org, business, address, status, words):
    answer = business.get(address)
    assert answer.status_code == status
    assert words in answer.content.decode()
    assert "Go to the catalog" in answer.content.decode()


def test_a_strange_host_is_refused_without_repeating_it(org, client):
    answer = client.get("/", headers={"Host": "evil.example"})
    assert answer.status_code == 400
    assert "evil.example" not in answer.content.decode()


@pytest.mark.parametrize("method", ["put", "patch", "delete"])
@pytest.mark.parametrize("address", ["/", "/catalog/database/order/", "/profile/", "/orders/", "/sign-in/"])
def test_methods_that_no_page_has_are_refused(offering, business, method, address):
    assert getattr(business, method)(address).status_code == 405
