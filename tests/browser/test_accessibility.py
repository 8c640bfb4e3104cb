"""Every page and state, light, dark and on a phone: no complaint of axe's, nothing beside the screen."""

from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from django.conf import settings

from tests.browser.test_story import SHOWN, fill_and_order

pytestmark = pytest.mark.browser

OPTIONS = {
    "runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"],
    "resultTypes": ["violations"],
}
FITS = "document.documentElement.scrollWidth <= innerWidth"
PHONE = {"width": 360, "height": 760}
DESK = {"width": 1280, "height": 860}
# Free-standing targets under 24 pixels; links within text may be smaller (WCAG 2.5.8).
SMALL = """[...document.querySelectorAll('a, button, input, select, summary')].filter(one => {
    const box = one.getBoundingClientRect();
    return box.width && (box.width < 24 || box.height < 24)
        && !one.closest('label, p, .prose, nav.crumbs, footer, .errsum, .skip');
}).map(one => one.outerHTML.slice(0, 120))"""


def violations(page):
    """What axe finds, in short."""
    return [
        f"{found['id']}: {node['html'][:160]}"
        for found in Axe().run(page, options=OPTIONS).response["violations"]
        for node in found["nodes"]
    ]


def check(page, state):
    """Look at the page as it is now: light, dark, and on a phone."""
    for scheme, size in (("light", DESK), ("dark", DESK), ("light", PHONE)):
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
        page.set_viewport_size(size)
        assert violations(page) == [], f"{state}, {scheme}, {size['width']} px"
    assert page.evaluate(FITS), f"{state} scrolls sideways at 360 px"
    assert page.evaluate(SMALL) == [], f"{state} has targets too small for a thumb"
    page.set_viewport_size({"width": 320, "height": 640})
    assert page.evaluate(FITS), f"{state} scrolls sideways at 320 px"
    page.emulate_media(color_scheme="light")
    page.set_viewport_size(DESK)


def test_axe_finds_what_is_wrong(open_page):
    page = open_page()
    page.goto("/sign-in/")
    page.evaluate("document.querySelector('main').insertAdjacentHTML('beforeend', '<img src=/favicon.ico><input>')")
    found = " ".join(violations(page))
    assert "image-alt" in found
    assert "label" in found


def test_before_anybody_is_known(open_page):
    page = open_page()
    page.goto("/sign-in/?next=/orders/")
    check(page, "sign-in")
    page.click("main button.primary")
    page.wait_for_selector(".errsum")
    check(page, "sign-in with errors")
    page.goto("/signed-out/")
    check(page, "signed out")


def test_a_name_that_is_locked(open_page):
    page = open_page()
    for _ in range(10):
        page.goto("/sign-in/")
        page.fill("[name=username]", "nobody")
        page.fill("[name=password]", "wrong")
        page.click("main button.primary")
    page.wait_for_selector("text=Too many wrong passwords")
    check(page, "locked out")


@pytest.mark.parametrize("status", [500, 503])
def test_the_pages_of_our_own_faults(open_page, status):
    page, text = open_page(), Path(settings.BASE_DIR, "templates", f"{status}.html").read_text("utf-8")
    page.route("**/fault/", lambda route: route.fulfill(body=text, content_type="text/html"))
    page.goto("/fault/")
    check(page, f"{status}")


def test_the_catalog(open_page):
    page = open_page("business")
    check(page, "catalog")
    page.goto("/?q=zzzz")
    check(page, "nothing found")
    page.goto("/nothing/")
    check(page, "no such page")
    page.goto("/?q=%00")
    check(page, "not understood")
    stranger = open_page("business2")
    check(stranger, "empty catalog")
    stranger.goto("/orders/")
    check(stranger, "nothing ordered yet")


def test_the_order_form(open_page):
    page = open_page("business")
    page.goto("/catalog/postgresql/")
    check(page, "order form")
    page.fill("#f-p-storage", "9999")
    page.click("text=Order now")
    page.wait_for_selector(".errsum")
    check(page, "order form with errors")
    page.goto("/catalog/paused/")
    check(page, "not orderable now")


def test_the_order_in_all_its_states(site, open_page):
    page = open_page("business")
    fill_and_order(page)
    page.wait_for_selector("text=Show password")
    page.click("text=Technical log")
    page.click("summary:has-text('Set a new password')")
    check(page, "delivered")
    page.click("button:has-text('Show password')")
    page.wait_for_selector(SHOWN)
    check(page, "password shown")
    page.reload()
    check(page, "password was shown")
    fill_and_order(page, "laptop")
    page.wait_for_selector("h1:has-text('waits for a person')")
    check(page, "waits for a person")
    page.click("summary:has-text('Cancel this order')")
    page.click("button:has-text('Cancel campaign')")
    page.wait_for_selector("h1:has-text('is canceled')")
    check(page, "canceled")
    fill_and_order(page, "broken")
    page.wait_for_selector("h1:has-text('could not be delivered')")
    check(page, "failed")
    fill_and_order(page, "held")
    page.wait_for_selector("li.active")
    check(page, "being delivered")
    site.far.open("held")
    page.goto("/orders/?tab=active")
    check(page, "active services")
    page.goto("/orders/?tab=past")
    check(page, "past orders")


def test_the_profile(open_page):
    page = open_page("business")
    page.goto("/profile/")
    check(page, "profile")
    page.click("text=Create token")
    page.wait_for_selector(".errsum")
    check(page, "token refused")
    page.fill("[name=label]", "nightly")
    page.check("[name=scopes][value=read]")
    page.click("text=Create token")
    page.wait_for_selector("text=Shown once")
    check(page, "token shown")
    page.goto("/profile/password/")
    check(page, "new password")
    page.click("main button.primary")
    page.wait_for_selector(".errsum")
    check(page, "new password refused")


def test_the_tasks(open_page):
    page = open_page("business")
    fill_and_order(page, "laptop")
    page.wait_for_selector("h1:has-text('waits for a person')")
    curator = open_page("curator")
    curator.goto("/tasks/")
    check(curator, "tasks")
    curator.click("main table a")
    check(curator, "task")
    curator.click("button:has-text('Claim it')")
    curator.wait_for_selector("h2:has-text('You have this task')")
    check(curator, "task claimed")
    colleague = open_page("curator2")
    colleague.goto("/tasks/?show=unclaimed")
    check(colleague, "no task unclaimed")
    colleague.goto(curator.url)
    check(colleague, "task of another")
    curator.click("text=Done, go on")
    curator.wait_for_selector(".errsum")
    check(curator, "task refused")
    curator.fill("[name=o-serial]", "A-17")
    curator.click("text=Done, go on")
    curator.wait_for_selector("text=Done by")
    check(curator, "task done")
    page.wait_for_selector("h1:has-text('is ready')")
    check(page, "what a person delivered")


def test_what_may_not_be_or_no_longer(open_page):
    page = open_page("business")
    page.goto("/catalog/postgresql/")
    page.evaluate("document.querySelector('#order [name=csrfmiddlewaretoken]').value = 'x'")
    page.evaluate("document.querySelector('#order').submit()")
    page.wait_for_selector("text=This form is too old")
    check(page, "not allowed")
    fill_and_order(page)
    page.wait_for_selector("text=Show password")
    page.evaluate("document.querySelector('#credentials form').removeAttribute('hx-post')")
    page.context.request.post(
        page.url + "credentials/",
        form={"csrfmiddlewaretoken": page.input_value("#credentials [name=csrfmiddlewaretoken]")},
        headers={"Referer": page.url},
    )
    page.evaluate("document.querySelector('#credentials form').submit()")
    page.wait_for_selector("text=The password was shown before")
    check(page, "no longer possible")


@pytest.mark.parametrize(
    ("username", "address"),
    [
        ("curator", "/admin/"),
        ("curator", "/admin/catalog/offering/"),
        ("curator", "/admin/catalog/offeringversion/"),
        ("curator", "/admin/catalog/category/"),
        ("auditor", "/admin/core/event/"),
        ("admin", "/admin/accounts/person/"),
    ],
)
def test_the_admin(open_page, username, address):
    """Lists and the page of their first row; Django's own widgets may be small."""
    page = open_page(username)
    page.goto(address)
    check_admin(page, f"{address}, list")
    if address != "/admin/":
        page.click("#result_list tbody tr:first-child a >> nth=0")
        page.wait_for_selector("#content-main")
        check_admin(page, f"{address}, row")


def check_admin(page, state):
    """Look at it light and dark; loaded anew, since no color may be on its way to another one."""
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        page.reload()
        assert violations(page) == [], f"{state}, {scheme}"
