"""What every test shares."""

from datetime import timedelta

import pytest
from django.core.cache import cache
from django.db import connection
from rest_framework.test import APIClient

import accounts.services as accounts
from tests.factories import Organization, organization, published_offering


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Begin with the files that start processes: at the end one of them would keep a single core busy for minutes."""
    items.sort(key=lambda item: item.get_closest_marker("processes") is None and "/browser/" not in item.nodeid)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup, django_db_blocker):
    """Let the owner empty tables between tests: the triggers against that are off in test databases alone."""
    with django_db_blocker.unblock(), connection.cursor() as cursor:
        cursor.execute(
            "SELECT tgrelid::regclass::text, tgname FROM pg_trigger WHERE tgname LIKE 'pgtrigger_no_truncate%'"
        )
        for table, trigger in cursor.fetchall():
            cursor.execute(f"ALTER TABLE {table} DISABLE TRIGGER {trigger}")
        # Knox's own token table, which ours replaces: Django does not know that it is there to be emptied too.
        cursor.execute("DROP TABLE IF EXISTS knox_authtoken")


@pytest.fixture(autouse=True)
def _quick(settings):
    """Throttles count from nothing in each test; nobody's password here is worth a slow hash."""
    cache.clear()
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]


@pytest.fixture
def org(db) -> Organization:
    """The small organization of tests/factories.py."""
    return organization()


@pytest.fixture
def offering(org):
    """A published offering that `business` may order; a person fulfills it."""
    return published_offering(org)


@pytest.fixture
def api(org):
    """Make an API client of a person, with a token of the given scopes."""

    def client_of(username: str, *scopes: str) -> APIClient:
        person = org.people[username]
        _, text = accounts.create_token(
            person,
            label="tests",
            scopes=scopes or ["read", "order", "admin"],
            expires_in=timedelta(hours=1),
            actor=person,
        )
        client = APIClient()
        client.credentials(HTTP_AUTHORIZATION=f"Bearer {text}")
        return client

    return client_of
