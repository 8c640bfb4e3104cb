"""A curator imports a broker's services in a real browser, and a real worker drafts them meanwhile."""

import pytest

from catalog.models import Offering
from tests.browser.test_accessibility import check
from tests.far_side.broker import RealBroker, Say, ScriptedBroker
from tests.provisioning.test_catalog_import import a_back_end

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def brokers(site):
    """A broker that works, and one whose catalog is full of what cannot be taken over or that does not answer."""
    real, scripted = RealBroker(), ScriptedBroker()
    a_back_end(site.org, real.address, "real")
    a_back_end(site.org, scripted.address, "odd")
    yield scripted
    real.close()
    scripted.close()


def begin(page):
    page.select_option("[name=category]", label="Data")
    page.select_option("[name=service_owner]", label="Rita Moreau")
    page.click("main button.primary")


def test_services_are_imported_while_one_looks_on(open_page, brokers):
    page = open_page("curator")
    page.goto("/back-ends/")
    page.click("#import-real")
    page.wait_for_selector("text=Nothing was imported yet")
    check(page, "nothing imported")
    page.click("main button.primary")
    page.wait_for_selector(".errsum")
    check(page, "import refused")
    begin(page)
    page.wait_for_selector("#live .tag.ok:has-text('Done')")
    assert page.get_attribute("#live", "data-poll") is None
    check(page, "imported")
    page.click("#live a:has-text('shop-database')")
    page.wait_for_selector("#content-main")
    assert Offering.objects.get(slug="shop-database").current_version is None


def test_what_failed_and_what_is_odd_is_told_at_every_size(open_page, brokers):
    brokers.script["catalog"] = [Say(503)]
    service = brokers.catalog["services"][0]
    names = [f"a-service-of-a-broker-with-a-long-name-{number}" for number in range(30)]
    brokers.catalog["services"] += [service | {"id": name, "name": name, "metadata": {}} for name in names]
    brokers.catalog["services"] += [{}, {"id": "x" * 300}]
    page = open_page("curator")
    page.goto("/back-ends/odd/import/")
    begin(page)
    page.wait_for_selector("#live .tag.bad:has-text('Failed')")
    begin(page)
    page.wait_for_selector("#live .tag.ok:has-text('Done')")
    page.click("#live summary")
    check(page, "what came of imports")
    assert "31 drafted" in page.inner_text("#live")
    assert "and 11 more" in page.inner_text("#live")


def test_an_auditor_looks_on(open_page, brokers):
    page = open_page("auditor")
    page.goto("/back-ends/odd/import/")
    assert page.query_selector("main form") is None
    check(page, "imports, for auditors")
