import re

import pytest

from accounts.models import ApiToken


def create(client, **changes):
    return client.post("/profile/tokens/", {"label": "nightly", "scopes": ["read", "order"], "days": "7"} | changes)


def test_the_profile_says_who_one_is_and_what_one_may_do(business):
    page = business.get("/profile/").content.decode()
    for words in ("Maria Keller", "Marketing", "Business user", "4100 Brand"):
        assert words in page


def test_a_new_token_is_shown_once_and_works(org, business, client):
    answer = create(business)
    assert answer.status_code == 200
    assert "no-store" in answer.headers["Cache-Control"]
    text = re.search(r"gl_[0-9A-Za-z]+", answer.content.decode()).group()
    assert text not in business.get("/profile/").content.decode()
    used = client.get("/api/v1/orders/", headers={"Authorization": f"Bearer {text}"})
    assert used.status_code == 200


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"label": ""}, "Enter a label."),
        ({"label": "   "}, "Enter a label."),
        ({"scopes": []}, "Choose at least one scope."),
        ({"scopes": ["everything"]}, "Select a valid choice."),
        ({"days": "100000"}, "Select a valid choice."),
    ],
)
def test_a_bad_token_form_comes_back_with_what_is_wrong(business, changes, sentence):
    answer = create(business, **changes)
    assert answer.status_code == 422
    assert sentence in answer.content.decode()
    assert not ApiToken.objects.exists()


def test_a_revoked_token_is_gone_and_nobody_elses_can_be_revoked(org, business, signed_in):
    create(business)
    token = ApiToken.objects.get()
    address = f"/profile/tokens/{token.id}/revoke/"
    assert signed_in("business2").post(address).status_code == 404
    assert business.get(address).url == "/profile/"
    assert ApiToken.objects.exists(), "looking revokes nothing"
    assert business.post(address).status_code == 303
    assert not ApiToken.objects.exists()


def test_the_slash_key_can_be_switched_off_and_on(org, business):
    assert "data-search-key" in business.get("/").content.decode()
    business.post("/profile/", {})
    assert "data-search-key" not in business.get("/").content.decode()
    business.post("/profile/", {"slash_focuses_search": "on"})
    assert "data-search-key" in business.get("/").content.decode()
