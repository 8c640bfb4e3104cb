import re

import pytest

LINK = re.compile(r'<a href="([^"]+)"( aria-current="page")?>\s*<svg.*?</svg>([^<]+)')


def navigation(client, address="/"):
    page = client.get(address).content.decode()
    bar = page.partition('<nav aria-label="Main">')[2].partition("</nav>")[0]
    return {label.strip(): bool(current) for _, current, label in LINK.findall(bar)}


@pytest.mark.parametrize(
    ("username", "labels"),
    [
        ("business", ["Catalog", "My orders"]),
        ("approver", ["Catalog", "My orders"]),
        ("owner", ["Catalog", "My orders"]),
        ("curator", ["Catalog", "My orders", "Tasks", "Runs", "Curation"]),
        ("reviewer_security", ["Catalog", "My orders", "Curation"]),
        ("service_owner", ["Catalog", "My orders", "Tasks", "Runs", "Curation"]),
        ("finance", ["Catalog", "My orders", "Curation"]),
        ("auditor", ["Catalog", "My orders", "Tasks", "Runs", "Curation"]),
        ("admin", ["Catalog", "My orders", "Tasks", "Runs", "Curation"]),
    ],
)
def test_everyone_sees_only_what_he_may_open(signed_in, username, labels):
    assert list(navigation(signed_in(username))) == labels


@pytest.mark.parametrize(
    ("address", "current"),
    [("/", "Catalog"), ("/catalog/database/", "Catalog"), ("/orders/", "My orders"), ("/tasks/", "Tasks")]
    + [(address, "Runs") for address in ("/runs/", "/orphans/", "/back-ends/")],
)
def test_the_bar_says_where_one_is(offering, signed_in, address, current):
    shown = navigation(signed_in("curator"), address)
    assert [label for label, is_here in shown.items() if is_here] == [current]


def test_who_is_not_signed_in_gets_no_bar(org, client):
    assert navigation(client, "/sign-in/") == {}
