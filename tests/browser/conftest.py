"""One site for all browser tests, and browsers that look at it."""

import os
import shutil
from dataclasses import dataclass
from pathlib import Path

import pytest
from django.conf import settings
from django.core.management import call_command
from django.db import connection, connections
from django.test import override_settings
from playwright.sync_api import sync_playwright

import catalog.services as catalog
from config.embedded.process import wait_until
from tests.factories import PASSWORD, Organization, organization, published_offering
from tests.processes import Processes
from tests.provisioning import fakes

NAMES = ["chromium", "chromium-browser", "google-chrome"]
SWITCHES = [
    "--no-sandbox",  # as root it does not start otherwise
    "--disable-gpu",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
DATABASE = [
    {"name": "Creating the database", "connector": "postgresql"},
    {"name": "Checking the connection", "connector": "postgresql", "operation": "describe"},
]
FORM = {
    "type": "object",
    "properties": {
        "support": {
            "type": "string",
            "title": "Support",
            "default": "office",
            "oneOf": [
                {"const": "office", "title": "Office hours", "description": "Monday to Friday"},
                {"const": "always", "title": "Always", "description": "Every day", "x-price": "18"},
            ],
        },
        "storage": {
            "type": "integer",
            "title": "Storage",
            "description": "For all tables together.",
            "default": 10,
            "minimum": 10,
            "maximum": 100,
            "x-unit": "GiB",
            "x-price": "0.5",
        },
        "backup": {"type": "boolean", "title": "Keep backups for 35 days", "default": False, "x-price": "6"},
        "note": {"type": "string", "title": "Note for the database team", "maxLength": 300},
    },
}


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items):
    """Let these tests look into the database, without a transaction of their own: their site commits."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.django_db)


@pytest.fixture(scope="session")
def chromium():
    """The browser's program; without one these tests are skipped by name, or fail where one is required."""
    path = os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, NAMES)), None)
    if not path:
        missing = f"No Chromium found: install one of {', '.join(NAMES)}, or name its program in CHROMIUM."
        (pytest.fail if os.environ.get("BROWSER_REQUIRED") else pytest.skip)(missing)
    return path


@dataclass
class Site:
    """A running site with its people and its far side."""

    url: str
    org: Organization
    far: fakes.FarSide


@pytest.fixture(scope="module")
def site(chromium, django_db_setup, django_db_blocker, tmp_path_factory):
    """Start web and worker on a small organization; take all away at the end."""
    folder = tmp_path_factory.mktemp("site")
    # Playwright's loop makes Django believe that it is called from asynchronous code.
    os.environ["DJANGO_ALLOW_ASYNC_UNSAFE"] = "1"
    with django_db_blocker.unblock():
        running = Processes(folder)
        try:
            with override_settings(CONNECTORS=settings.CONNECTORS | fakes.CONNECTORS):
                org = organization()
                _offer(org)
            running.worker(places=2, LEASE_SECONDS="10", EGRESS_ALLOW="127.0.0.1")
            web = running.web()
            yield Site(f"http://127.0.0.1:{web.port}", org, fakes.FarSide(folder))
        finally:
            running.end()
            wait_until(_is_alone, 20)
            call_command("flush", verbosity=0, interactive=False)
            os.environ.pop("DJANGO_ALLOW_ASYNC_UNSAFE")


def _is_alone():
    """Tell whether the sessions of killed processes are gone: the test database is about to go, too."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
        return cursor.fetchone()[0] == 0


def _offer(org):
    published_offering(org, "postgresql", name="PostgreSQL database", steps=DATABASE, form=FORM)
    for slug, gate in (("slow", "build"), ("held", "held")):
        steps = [
            {"name": "Reserving the place", "connector": "bare"},
            {"name": "Building it", "connector": "fake", "inputs": {"hold": gate}},
            {"name": "Looking at it", "connector": "fake", "operation": "describe"},
        ]
        published_offering(org, slug, name=f"{slug.title()} service", steps=steps)
    published_offering(org, "broken", steps=[{"name": "Building it", "connector": "fake", "inputs": {"refuses": True}}])
    paused = published_offering(org, "paused", name="Paused service")
    catalog.pause(paused, "The supplier is out of stock.", actor=org.curator)
    task = {"instructions": "1. Take one.\n2. Set it up.", "assignee_role": "it_admin", "due_hours": 8}
    task["output_fields"] = [{"name": "serial", "title": "Serial number"}]
    published_offering(
        org, "laptop", name="Laptop", steps=[{"name": "Preparing the laptop", "connector": "manual", "inputs": task}]
    )


@pytest.fixture(scope="module")
def browser(chromium):
    """One browser for the tests of a file."""
    with sync_playwright() as playwright:
        running = playwright.chromium.launch(executable_path=chromium, args=SWITCHES)
        yield running
        running.close()
        # While Playwright's loop runs, Django keeps connections of their own for it.
        connections.close_all()


def is_complaint(line):
    """Tell whether a line of the console is about the page; what has no address is about a script of the test."""
    return line.type in {"error", "warning"} and line.location["url"] != ""


@pytest.fixture
def open_page(site, browser):
    """Open a page as a person (or as nobody); at the end nothing may have been logged as an error."""
    contexts, complaints = [], []

    def opened(username="", **options):
        context = browser.new_context(base_url=site.url, **{"viewport": {"width": 1280, "height": 860}} | options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", lambda line: complaints.append(line.text) if is_complaint(line) else None)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        if username:
            page.goto("/sign-in/")
            page.fill("[name=username]", username)
            page.fill("[name=password]", PASSWORD)
            page.click("main button.primary")
            page.wait_for_selector("h1:has-text('What do you need?')")
        return page

    opened.complaints = complaints
    yield opened
    for context in contexts:
        context.close()
    # A refused form or a page that does not exist is a line in the console, too.
    assert [line for line in complaints if "the server responded with a status of 4" not in line] == []
