"""Who gets what: every route of the site, for every role, by GET and by POST, against the table in permissions.txt.

A route that does not stand in the table fails: whoever adds one says there who may open it. After a wanted
change, `UPDATE_PERMISSIONS=1 pytest tests/test_permissions.py -k write` writes the table anew; read its difference.
"""

import json
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.core.cache import cache
from django.db import transaction
from django.test import Client
from django.urls import get_resolver

import accounts.services as accounts
import catalog.services as catalog
from accounts.models import ApiToken, BusinessUnit, CostCenter, Membership
from catalog.models import Category
from core.models import Event
from orders.models import Order
from provisioning.models import ManualTask, Run, Step
from tests.factories import PASSWORD, published_offering, wanted_body
from tests.provisioning.engine import drive, place

FILE = Path(__file__).with_name("permissions.txt")
ROLES = [
    "anonymous",
    "business",
    "business2",
    "approver",
    "owner",
    "curator",
    "reviewer_security",
    "service_owner",
    "finance",
    "auditor",
    "admin",
]
METHODS = ["GET", "POST"]
REASONED = ["runs/<uuid:pk>/undo", "runs/<uuid:pk>/abandon", "steps/<uuid:pk>/skip"]
FOUND = {"reason": "x", "answer": "did_not"}


def routes(patterns=None, before="") -> Iterator[str]:
    """List the routes of the URLconf as they are written, regular expressions by the names of their groups."""
    for one in get_resolver().url_patterns if patterns is None else patterns:
        route = before + re.sub(r"\(\?P<(\w+)>[^)]*\)", r"<\1>", str(one.pattern)).replace("^", "").replace("$", "")
        if hasattr(one, "url_patterns"):
            yield from routes(one.url_patterns, route)
        else:
            yield f"/{route}"


def table() -> dict[tuple[str, str], list[str]]:
    """Read the table: (route, method) -> expected status of each role."""
    lines = [line.split() for line in FILE.read_text().splitlines() if line and not line.startswith("#")]
    return {(route, method): expected for route, method, *expected in lines}


def test_every_route_stands_in_the_table_and_none_that_is_gone():
    wanted = {(route, method) for route in routes() for method in METHODS}
    listed = set(table())
    assert wanted - listed == set(), "Say in tests/permissions.txt who may open these."
    assert listed - wanted == set(), "These are gone."


def test_every_line_of_the_table_speaks_of_every_role():
    assert {len(expected) for expected in table().values()} == {len(ROLES)}


@pytest.fixture
def things(org, settings):
    """One of everything: what the routes' names stand for, and what is sent to them."""
    settings.LEASE_SECONDS = 60
    database = published_offering(org, "postgresql", connector="postgresql")
    laptop = published_offering(org, "laptop")
    delivered, waiting = place(database, org.business), place(laptop, org.business)
    drive()
    accounts.create_token(
        org.business, label="t", scopes=["read"], expires_in=accounts.MAX_TOKEN_AGE, actor=org.business
    )
    delivered = Order.objects.select_related("instance", "plan__version").get(pk=delivered.pk)
    version = delivered.plan.version
    back_end = catalog.save_back_end(
        None,
        slug="postgresql",  # as the names of all things here
        name="A broker",
        connector="osb",
        address="https://broker.example/",
        config={},
        credentials=None,
        limit=None,
        is_active=True,
        actor=org.curator,
    )
    rows = {
        "core/event": Event.objects.first().pk,
        "accounts/person": org.business2.pk,
        "accounts/businessunit": BusinessUnit.objects.get(slug="marketing").pk,
        "accounts/costcenter": CostCenter.objects.get(code="4100").pk,
        "accounts/membership": Membership.objects.first().pk,
        "axes/accessattempt": 1,
        "catalog/backend": back_end.pk,
        "catalog/category": Category.objects.get().pk,
        "catalog/offering": database.pk,
        "catalog/offeringversion": version.pk,
        "provisioning/serviceinstance": delivered.instance_id,
        "provisioning/run": Run.objects.first().pk,
        "provisioning/step": Step.objects.first().pk,
        "approvals/decision": delivered.decision_id,
        "orders/order": delivered.pk,
    }
    return {
        "order": delivered,
        "waiting": waiting,
        "task": ManualTask.objects.get().pk,
        "step": ManualTask.objects.get().step,
        "token": ApiToken.objects.get().id,
        "rows": rows,
        "json": {route: wanted_body(database, name="one-more") for route in ("/api/v1/orders/", "/api/v1/quotes/")}
        | {f"/api/v1/{what}/": {"reason": "x"} for what in REASONED}
        | {"/api/v1/runs/retry/": {"stands": "operator"}, "/api/v1/steps/<uuid:pk>/resolve/": FOUND},
        "forms": forms(version),
    }


def forms(version):
    """What is sent to routes that would refuse an empty form before they ask who it is."""
    plan = version.plans.get(slug="small")
    return {
        "/catalog/<slug:slug>/order/": {
            "idempotency_key": "one-more",
            "plan": str(plan.pk),
            "name": "one-more",
            "cost_center": "4100",
            "purpose": "test",
            "data_classification": "internal",
            "accept": "on",
            "terms_hash": version.terms_hash,
            "p-storage": "10",
        },
        "/orders/<uuid:pk>/change/": {
            "idempotency_key": "a-change",
            "plan": str(version.plans.get(slug="medium").pk),
            "p-storage": "10",
        },
        "/orders/<uuid:pk>/remove/": {"idempotency_key": "a-removal"},
        **{f"/runs/<uuid:pk>/{what}": {"reason": "x"} for what in ("undo/", "abandon/", "steps/<uuid:step>/skip/")},
        "/runs/<uuid:pk>/steps/<uuid:step>/resolve/": FOUND,
        "/admin/provisioning/step/<path:object_id>/resolve/": FOUND,
        "/sign-in/": {"username": "business", "password": PASSWORD},
        "/profile/tokens/": {"label": "one more", "scopes": ["read"], "days": "1"},
        "/admin/accounts/person/<path:object_id>/password/": {"password": "a-rather-long-sentence"},
        "/admin/catalog/offering/<path:object_id>/pause/": {"reason": "Out of stock."},
        "/admin/catalog/offeringversion/<path:object_id>/retire-plan/": {"plan": str(plan.pk)},
    }


def address_of(route, things):
    """Put what exists into the names of a route."""
    if route.startswith("/admin/"):
        app_model = "/".join(route.split("/")[2:4])
        filled = route.replace("<path:object_id>", str(things["rows"].get(app_model, 1)))
        return filled.replace("<app_label>", "catalog").replace("<url>", "nothing/")
    if "cancel" in route:
        pk = things["waiting"].pk
    elif "tasks" in route:
        pk = things["task"]
    elif "tokens" in route:
        pk = things["token"]
    elif "/runs/" in route:
        pk = things["step"].run_id
    elif "/steps/" in route:
        pk = things["step"].pk
    else:
        pk = things["order"].instance_id if "service-instances" in route else things["order"].pk
    route = route.replace("<uuid:step>", str(things["step"].pk)).replace("<slug:back_end>", "postgresql")
    return route.replace("<uuid:pk>", str(pk)).replace("<slug:slug>", "postgresql").replace("<path:rest>", "nothing/")


def ask(client, method, route, things):
    """Send one request and undo all that it changed; give its status."""
    address = address_of(route, things)
    undo = transaction.savepoint()
    cookies = client.cookies.output()
    try:
        if method == "GET":
            status = client.get(address).status_code
        elif route.startswith("/api/"):
            body = json.dumps(things["json"].get(route, {}))
            status = client.post(address, body, content_type="application/json").status_code
        else:
            status = client.post(address, things["forms"].get(route, {})).status_code
    finally:
        transaction.savepoint_rollback(undo)
        client.cookies.clear()
        client.cookies.load(cookies.replace("Set-Cookie: ", ""))
        cache.clear()
    return str(status)


@pytest.fixture
def answers(things, org):
    """Ask every route as one role; give the statuses."""

    def of(role):
        client = Client(raise_request_exception=False)
        if role != "anonymous":
            client.force_login(org.people[role], backend="django.contrib.auth.backends.ModelBackend")
        return {(route, method): ask(client, method, route, things) for route in routes() for method in METHODS}

    return of


@pytest.mark.parametrize("role", ROLES)
def test_every_route_answers_this_role_as_the_table_says(answers, role):
    expected = {line: statuses[ROLES.index(role)] for line, statuses in table().items()}
    found = answers(role)
    wrong = [
        f"{method} {route}: {found[route, method]}, not {expected.get((route, method))}"
        for route, method in found
        if found[route, method] != expected.get((route, method))
    ]
    assert not wrong, "\n".join([f"{role}:", *wrong])


if "UPDATE_PERMISSIONS" in os.environ:

    def test_write_the_table(answers):
        found = {role: answers(role) for role in ROLES}
        width = max(len(route) for route in routes())
        head = "# " + "route".ljust(width) + "method".ljust(8) + " ".join(name[:9].ljust(9) for name in ROLES)
        lines = [
            f"{route.ljust(width)}  {method.ljust(6)}  "
            + " ".join(found[role][route, method].ljust(9) for role in ROLES).rstrip()
            for route in routes()
            for method in METHODS
        ]
        FILE.write_text("\n".join([head, *lines]) + "\n")
