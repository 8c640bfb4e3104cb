"""Back ends in a real browser: opened in two steps, the credential typed once and never on a page again."""

import pytest

from tests.browser.test_accessibility import check_admin

pytestmark = pytest.mark.browser
CANARY = "canary-in-a-credential"


def test_an_it_admin_keeps_a_back_end(open_page):
    page = open_page("curator")
    page.goto("/admin/catalog/backend/add/")
    check_admin(page, "adding")
    page.fill("[name=name]", "Cluster in Frankfurt")
    page.fill("[name=slug]", "frankfurt")
    page.select_option("[name=connector]", "kubernetes")
    page.fill("[name=address]", "https://cluster.example:6443")
    page.click("[name=_save]")
    page.wait_for_selector("text=Enter how to sign in there")
    page.fill("[name=credential_token]", CANARY)
    page.fill("[name=limit]", "4")
    page.click("[name=_continue]")
    page.wait_for_selector("text=was changed successfully")
    assert CANARY not in page.content()
    assert page.input_value("[name=credential_token]") == ""
    check_admin(page, "row")
    page.goto("/admin/catalog/backend/")
    check_admin(page, "list")
    page.set_viewport_size({"width": 360, "height": 740})
    page.click("#result_list tbody tr:first-child a >> nth=0")
    page.wait_for_selector("#content-main")
    assert page.evaluate("document.documentElement.scrollWidth") <= 360
