"""Clients of people who curate."""

import pytest
from django.test import Client


@pytest.fixture
def staff(org):
    """Sign a person in, as his browser would be."""

    def client_of(username):
        client = Client()
        client.force_login(org.people[username], backend="django.contrib.auth.backends.ModelBackend")
        return client

    return client_of
