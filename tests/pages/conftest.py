"""Browsers of people, and services that are delivered."""

import pytest
from django.test import Client

from orders.models import Order
from tests.factories import published_offering
from tests.pages.forms import order_form, press
from tests.provisioning.engine import drive


@pytest.fixture(autouse=True)
def _unhurried(settings):
    """Here the test itself is the worker, within its own transaction: nobody can renew its lease."""
    settings.LEASE_SECONDS = 60


@pytest.fixture
def signed_in(org):
    """Sign a person in, as his browser would be."""

    def client_of(username):
        client = Client()
        client.force_login(org.people[username], backend="django.contrib.auth.backends.ModelBackend")
        return client

    return client_of


@pytest.fixture
def business(signed_in):
    """The browser of a business user."""
    return signed_in("business")


@pytest.fixture
def database(org):
    """An offering that really makes databases."""
    steps = [
        {"name": "Creating the database", "connector": "postgresql"},
        {"name": "Checking the connection", "connector": "postgresql", "operation": "describe"},
    ]
    return published_offering(org, "postgresql", steps=steps, name="PostgreSQL database")


@pytest.fixture
def ordered(business, database):
    """An order of a database that no worker has seen yet."""
    answer = press(business, order_form(business, "postgresql"), "postgresql")
    return Order.objects.get(pk=answer.url.split("/")[2])


@pytest.fixture
def delivered(ordered):
    """A database that was ordered and is there."""
    drive()
    return Order.objects.select_related("instance").get(pk=ordered.pk)
