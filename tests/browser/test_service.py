"""A delivered service is changed and removed, as people do it; each page looked at as in test_accessibility."""

import pytest

from tests.browser.test_accessibility import check
from tests.browser.test_story import fill_and_order

pytestmark = pytest.mark.browser


def test_a_service_is_changed_and_then_removed(open_page):
    page = open_page("business")
    fill_and_order(page)
    page.wait_for_selector("text=Show password")
    service = page.url
    page.click("#actions >> text=Change")
    page.wait_for_selector("text=It costs the same as now")
    check(page, "change")
    page.click("text=Medium")
    page.fill("[name=p-storage]", "20")
    page.wait_for_selector("#quote >> text=a month more than now")
    check(page, "change with another price")
    page.fill("[name=p-storage]", "500")
    page.click("text=Change now")
    page.wait_for_selector(".errsum")
    assert page.evaluate("document.activeElement.className") == "errsum"
    check(page, "change refused")
    page.fill("[name=p-storage]", "20")
    page.click("text=Change now")
    page.wait_for_selector("h1:has-text('is changed')")
    check(page, "changed")
    page.goto(service)
    page.wait_for_selector("h1:has-text('is ready')")
    page.click("#actions >> text=Remove")
    page.wait_for_selector("text=What goes")
    check(page, "removal asked")
    page.click("button:has-text('Remove')")
    page.wait_for_selector("h1:has-text('is removed')")
    check(page, "removed")
    page.goto(service)
    page.wait_for_selector("h1:has-text('was removed')")
    check(page, "what was removed")
    page.goto("/orders/?tab=past")
    check(page, "orders that are over")
