"""The order path as the database sees it: few statements, one commit, whatever the order has in it."""

import re
from collections import Counter

import pytest
from django.db import connection
from django.test import Client

from orders.models import Order
from tests.factories import published_offering, wanted_body

ADDRESS = "/api/v1/orders/"
AT_MOST = 20
SESSION = "django.contrib.auth.backends.ModelBackend"
# How PostgreSQL numbers what it parses (nodes/nodes.h, nodes/parsenodes.h).
COMMANDS = {"1": "SELECT", "2": "UPDATE", "3": "INSERT", "4": "DELETE", "5": "MERGE", "6": "utility"}
TRANSACTION = {"0": "BEGIN", "2": "COMMIT", "3": "ROLLBACK", "4": "SAVEPOINT", "5": "RELEASE"}


def statements_of(press, warm_up):
    """List the kind of each statement that reaches the database while `press` runs, BEGIN and COMMIT among them.

    Django counts only what passes its cursors; so the server itself is asked to tell what it parses. The
    `warm_up` before lets it prepare, once a connection, its own checks of foreign keys.
    """
    heard = []
    warm_up()
    with connection.cursor() as cursor:
        cursor.execute("SET client_min_messages = log")
        cursor.execute("SET debug_print_parse = on")
    connection.connection.notices = heard
    # As at the beginning of every request: is the kept connection still alive?
    connection.health_check_done, connection.health_check_enabled = False, True
    try:
        answer = press()
    finally:
        connection.close()
    assert answer.status_code == 201, answer.content
    return [_kind(notice) for notice in heard if "parse tree:" in notice]


def _kind(notice):
    transaction = re.search(r"\{TRANSACTIONSTMT\s+:kind (\d+)", notice)
    if transaction:
        return TRANSACTION[transaction[1]]
    return COMMANDS[re.search(r":commandType (\d+)", notice)[1]]


@pytest.fixture
def press(transactional_db, request):
    """Order an offering with a token, as `business`, under a name which is the key too."""
    client = request.getfixturevalue("api")("business")

    def press(offering, name):
        body = wanted_body(offering, name=name)
        return lambda: client.post(ADDRESS, body, format="json", headers={"Idempotency-Key": name})

    return press


@pytest.mark.django_db(transaction=True)
def test_an_order_with_a_password_takes_at_most_twenty_statements_and_one_commit(press, org):
    offering = published_offering(org, connector="postgresql")
    seen = Counter(statements_of(press(offering, "db-1"), press(offering, "db-0")))
    assert sum(seen.values()) <= AT_MOST, seen
    assert (seen["BEGIN"], seen["COMMIT"]) == (1, 1)
    assert not seen["ROLLBACK"] + seen["SAVEPOINT"] + seen["RELEASE"]
    assert set(Order.objects.values_list("state", flat=True)) == {"fulfilling"}


@pytest.mark.django_db(transaction=True)
def test_more_steps_and_fields_take_no_more_statements(press, org):
    fields = {f"field_{number}": {"type": "integer", "title": f"Field {number}", "default": 1} for number in range(15)}
    steps = [{"name": "Step", "connector": "postgresql"}]
    steps += [{"name": f"Step {number}", "connector": "git_repository"} for number in range(11)]
    small = published_offering(org, "small", connector="postgresql")
    large = published_offering(org, "large", steps=steps, form={"type": "object", "properties": fields})
    few = statements_of(press(small, "small-1"), press(small, "small-0"))
    assert statements_of(press(large, "large-1"), press(large, "large-0")) == few


@pytest.mark.django_db(transaction=True)
def test_an_order_from_a_browser_takes_no_more(press, org, settings):
    offering = published_offering(org, connector="postgresql")
    browser = Client(enforce_csrf_checks=True)
    browser.force_login(org.business, SESSION)
    browser.cookies[settings.CSRF_COOKIE_NAME] = secret = "s" * 32
    body, headers = wanted_body(offering), {"X-CSRFToken": secret, "Idempotency-Key": "one"}
    seen = statements_of(
        lambda: browser.post(ADDRESS, body, "application/json", headers=headers), press(offering, "db-0")
    )
    assert len(seen) <= AT_MOST
    assert seen.count("COMMIT") == 1


@pytest.mark.django_db(transaction=True)
def test_a_replay_takes_far_fewer(press, org):
    offering = published_offering(org)
    assert len(statements_of(press(offering, "db-0"), press(offering, "db-0"))) <= 8
    assert Order.objects.count() == 1
