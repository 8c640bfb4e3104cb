import pytest
from django.test import Client

from tests.factories import PASSWORD


def sign_in(client, username="business", password=PASSWORD, **more):
    return client.post("/sign-in/", {"username": username, "password": password} | more)


def test_who_is_not_signed_in_is_led_to_the_sign_in_and_back(org, client):
    answer = client.get("/orders/?tab=past")
    assert (answer.status_code, answer.url) == (302, "/sign-in/?next=/orders/%3Ftab%3Dpast")
    assert b'name="next" value="/orders/?tab=past"' in client.get(answer.url).content
    answer = sign_in(client, next="/orders/?tab=past")
    assert (answer.status_code, answer.url) == (303, "/orders/?tab=past")


@pytest.mark.parametrize(
    "elsewhere", ["https://evil.example/", "//evil.example", "javascript:alert(1)", "/\\evil.example"]
)
def test_the_sign_in_never_leads_to_another_site(org, client, elsewhere):
    assert sign_in(client, next=elsewhere).url == "/"


def test_a_wrong_password_is_said_and_the_name_is_kept(org, client):
    answer = sign_in(client, password="wrong")
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "The sign-in name or the password is wrong." in page
    assert 'value="business"' in page
    assert "wrong" not in page.split("<form", 1)[1].split("</form>")[0].replace("aria-", "")


def test_empty_fields_are_named_and_linked(org, client):
    answer = sign_in(client, "", "")
    assert answer.status_code == 422
    page = answer.content.decode()
    assert "<title>Error: Sign in" in page
    assert '<a href="#id_username">Enter your sign-in name.</a>' in page
    assert '<a href="#id_password">Enter your password.</a>' in page


def test_ten_wrong_passwords_lock_the_name_for_a_while(org, client):
    answers = [sign_in(client, password="wrong").status_code for _ in range(10)]
    assert answers[:9] == [422] * 9
    locked = sign_in(client)
    assert locked.status_code == 429
    assert "Too many wrong passwords" in locked.content.decode()
    assert sign_in(Client(REMOTE_ADDR="10.1.2.3")).status_code == 303, "someone else guessed, not he"


def test_signing_out_ends_the_session(business):
    assert business.get("/sign-out/").status_code == 303, "a link does not sign out"
    assert business.get("/").status_code == 200
    answer = business.post("/sign-out/", follow=True)
    assert "You are signed out" in answer.content.decode()
    assert business.get("/").status_code == 302


def test_who_is_signed_in_needs_no_sign_in(business):
    assert business.get("/sign-in/").url == "/"
    assert business.get("/sign-in/?next=/orders/").url == "/orders/"
    assert business.get("/sign-in/?next=https://evil.example/").url == "/"


def test_a_new_password_keeps_this_session_and_ends_the_others(org, business, signed_in, api):
    elsewhere, machine = signed_in("business"), api("business")
    assert machine.get("/api/v1/orders/").status_code == 200
    new = {"old_password": PASSWORD, "new_password1": "better-horse-staple", "new_password2": "better-horse-staple"}
    answer = business.post("/profile/password/", new)
    assert (answer.status_code, answer.url) == (303, "/profile/password/changed/")
    assert business.get(answer.url).status_code == 200
    assert elsewhere.get("/").status_code == 302
    assert machine.get("/api/v1/orders/").status_code == 401
    assert sign_in(Client(), password="better-horse-staple").status_code == 303


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"old_password": "wrong"}, "Your old password was entered incorrectly"),
        ({"new_password1": "short", "new_password2": "short"}, "This password is too short"),
        ({"new_password2": "another-horse"}, "The two password fields didn"),
        ({"new_password1": "", "new_password2": ""}, "Enter a new password."),
    ],
)
def test_a_bad_new_password_is_refused_with_the_reason(business, changed, sentence):
    new = {"old_password": PASSWORD, "new_password1": "better-horse-staple", "new_password2": "better-horse-staple"}
    answer = business.post("/profile/password/", new | changed)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert answer.headers["Cache-Control"].count("no-store") == 1
