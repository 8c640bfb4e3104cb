"""Operators watch runs in a real browser: live, at every size, and what is typed stays."""

from datetime import timedelta

import pytest
from django.conf import settings
from django.test import override_settings
from django.utils import timezone

from config.embedded.process import wait_until
from provisioning.models import Breaker, Run, Step
from tests.browser.test_accessibility import check, check_admin
from tests.factories import published_offering
from tests.provisioning import fakes
from tests.provisioning.engine import place

pytestmark = pytest.mark.browser

STEPS = {
    "held": [
        {"name": "Reserving the place", "connector": "bare"},
        {"name": "Building it", "connector": "bare", "inputs": {"refuses": True}, "on_failure": "wait"},
        {"name": "Opening it", "connector": "bare"},
    ],
    "stuck": [
        {"name": "Building it", "connector": "fake", "inputs": {"undo_refuses": True}},
        {"name": "Looking at it", "connector": "bare", "inputs": {"refuses": True}},
    ],
    "waiting": [{"name": "Building it", "connector": "bare", "inputs": {"fails": 9, "after": 3000}}],
    "blind": [{"name": "Building it", "connector": "forgetful", "inputs": {"breaks": True}}],
}
ENDS = {"held": "failed", "stuck": "compensation_failed", "waiting": "retry", "blind": "outcome_unknown"}


@pytest.fixture(scope="module")
def runs(site):
    """One run in each kind of trouble, by its name."""
    with override_settings(CONNECTORS=settings.CONNECTORS | fakes.CONNECTORS):
        orders = {
            name: place(
                published_offering(site.org, f"trouble-{name}", name=f"A service, {name}", steps=steps),
                site.org.business,
            )
            for name, steps in STEPS.items()
        }
    for name, state in ENDS.items():
        wait_until(lambda name=name, state=state: _states(orders[name]) & {state}, 20)
    Breaker.objects.update_or_create(
        back_end="elsewhere",
        defaults={
            "state": "open",
            "failures": 7,
            "opened_at": timezone.now(),
            "probe_at": timezone.now() + timedelta(hours=1),
            "last_error": "Connection refused by elsewhere.example:8443. " * 4,
        },
    )
    return {name: Run.objects.get(instance=order.instance_id) for name, order in orders.items()}


def _states(order):
    return set(Step.objects.filter(run__instance=order.instance_id).values_list("state", flat=True))


def test_the_lists_at_every_size(open_page, runs):
    page = open_page("curator")
    for address, state in (
        ("/runs/", "runs that need an operator"),
        ("/runs/?tab=running", "runs that run"),
        ("/runs/?q=nothing-like-it", "no such runs"),
        ("/orphans/", "orphans"),
        ("/back-ends/", "back ends"),
    ):
        page.goto(address)
        check(page, state)


@pytest.mark.parametrize("name", ["held", "stuck", "waiting", "blind"])
def test_a_run_in_trouble_at_every_size(open_page, runs, name):
    page = open_page("curator")
    page.goto(f"/runs/{runs[name].pk}/")
    for summary in page.query_selector_all("#actions summary"):
        summary.click()
    page.evaluate("scrollTo(0, 0)")
    check(page, f"run, {name}")
    page.click("#actions details button >> nth=-1")
    page.wait_for_selector(".errsum")
    check(page, f"run, {name}, refused")


def test_the_page_of_a_run_changes_by_itself_and_keeps_what_is_typed(open_page, runs):
    page, other = open_page("curator"), open_page("curator2")
    page.goto(f"/runs/{runs['waiting'].pk}/")
    page.click("summary:has-text('Abandon the run')")
    page.fill("#abandon-reason", "Half a sen")
    other.goto("/runs/?tab=running")
    other.click("main table a")
    other.click("button:has-text('Try again now')")
    page.wait_for_selector("#live :text('Attempt 2 at')")
    assert page.input_value("#abandon-reason") == "Half a sen"


def test_a_step_is_left_out_and_the_lists_of_others_learn_of_it(open_page, runs):
    page, other = open_page("curator"), open_page("curator2")
    other.goto("/runs/")
    other.wait_for_selector(f"#run-{runs['held'].pk}")
    page.goto(f"/runs/{runs['held'].pk}/")
    page.click("summary:has-text('Leave out')")
    page.fill("#skip-reason", "Done by hand.")
    page.click("button:has-text('Leave out')")
    page.wait_for_selector("main .tag.ok:has-text('Succeeded')")
    other.wait_for_selector(f"#run-{runs['held'].pk}", state="detached")


def test_the_admin_of_runs(open_page, runs):
    page = open_page("curator")
    for address in (f"run/{runs['stuck'].pk}/change/", f"run/{runs['stuck'].pk}/abandon/", "breaker/"):
        page.goto(f"/admin/provisioning/{address}")
        check_admin(page, address)
