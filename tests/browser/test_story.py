"""The whole story: a business user orders a database and is connected to it."""

import re
from urllib.parse import urlsplit

import psycopg2
import pytest

from orders.models import Order
from tests.provisioning.engine import numbers

pytestmark = pytest.mark.browser

SHOWN = "#credentials .note.warn:has-text('Shown once')"


def new_name():
    return f"campaign-{next(numbers)}"


def fill_and_order(page, slug="postgresql", **more):
    """Fill the form of an offering in; give the name."""
    name = more.pop("name", None) or new_name()
    page.goto(f"/catalog/{slug}/")
    page.fill("#f-name", name)
    page.check("#f-accept")
    page.click("text=Order now")
    page.wait_for_selector("#live")
    return name


def shown(page):
    """What the page says of how to connect."""
    return page.evaluate(
        "Object.fromEntries([...document.querySelectorAll('dl.secret dt')]"
        ".map(e => [e.innerText.toLowerCase(), e.nextElementSibling.innerText]))"
    )


def connect(values):
    """Open the database as its new owner."""
    psycopg2.connect(
        host=values["host"],
        port=values["port"],
        dbname=values["database"],
        user=values["username"],
        password=values["password"],
    ).close()


def orders_named(name):
    return Order.objects.filter(name=name).count()


def test_a_business_user_is_connected_to_a_new_database_with_three_clicks(site, open_page):
    page, asked = open_page("business"), []
    page.on("request", lambda request: asked.append(request.url))
    name = new_name()
    page.click("text=PostgreSQL database")  # the first
    page.fill("#f-name", name)
    page.check("text=Medium")
    page.check("#f-accept")
    page.wait_for_selector("#quote strong:has-text('$81.00')")
    assert "no approval needed" in page.inner_text("#quote")
    page.click("text=Order now")  # the second
    page.wait_for_selector(f"h1:has-text('{name} is ready')")
    assert page.title().startswith(f"{name} is ready")
    assert page.inner_text("#say") == f"{name} is ready."
    words = page.inner_text(".tl")
    for step in ("Order accepted", "Creating the database", "Checking the connection", "Ready to use"):
        assert step in words
    before = page.content()
    page.click("text=Show password")  # the third
    page.wait_for_selector("#credentials .note.warn:focus")  # the message has the focus
    values = shown(page)
    assert values["password"] not in before
    connect(values)
    page.reload()
    assert values["password"] not in page.content()
    assert page.locator("text=Show password").count() == 0
    assert {urlsplit(url).netloc for url in asked} == {urlsplit(site.url).netloc}, "nothing is fetched elsewhere"


def test_who_lost_the_password_sets_a_new_one(open_page):
    page = open_page("business")
    name = fill_and_order(page)
    page.click("text=Show password")
    page.wait_for_selector(SHOWN)
    first = shown(page)
    page.click("summary:has-text('Set a new password')")
    page.click("button:has-text('Set a new password')")
    page.wait_for_selector(f"h1:has-text('{name} is ready')")
    page.click("text=Show password")
    page.wait_for_selector(SHOWN)
    second = shown(page)
    assert second["password"] != first["password"]
    connect(second)
    with pytest.raises(psycopg2.OperationalError):
        connect(first)


def test_the_page_follows_the_delivery_and_rests_after_it(site, open_page):
    page, polls = open_page("business"), []
    page.on("response", lambda answer: polls.append(answer.status) if "/live/" in answer.url else None)
    name = fill_and_order(page, "slow")
    page.wait_for_selector("li.active:has-text('Building it')")
    assert page.inner_text("#live h1") == f"{name} is being delivered"
    page.click("text=Technical log")
    page.wait_for_timeout(1200)
    assert polls[-1] == 204, "nothing new is no answer"
    page.evaluate("Object.defineProperty(document, 'hidden', {value: true, configurable: true})")
    page.wait_for_timeout(300)
    quiet = len(polls)
    page.wait_for_timeout(1500)
    assert len(polls) == quiet, "a hidden tab does not ask"
    page.evaluate("Object.defineProperty(document, 'hidden', {value: false, configurable: true})")
    site.far.open("build")
    page.wait_for_selector(f"h1:has-text('{name} is ready')", timeout=5000)
    assert page.evaluate("document.querySelector('details:has(#log)').open"), "the log stays open"
    page.wait_for_timeout(300)
    rested = len(polls)
    page.wait_for_timeout(1500)
    assert len(polls) == rested, "after the delivery nobody asks"
    assert page.inner_text("#say") == f"{name} is ready."
    assert page.locator("#log li").count() == len(set(page.locator("#log li").all_inner_texts()))


def test_two_presses_make_one_order(open_page):
    page, name = open_page("business"), new_name()
    page.goto("/catalog/postgresql/")
    page.fill("#f-name", name)
    page.check("#f-accept")
    page.dblclick("text=Order now")
    page.wait_for_selector(f"h1:has-text('{name} is ready')")
    assert orders_named(name) == 1
    page.go_back()
    page.wait_for_selector("text=Order now")
    if page.input_value("#f-name") == name:  # some browsers bring the form back as it was
        page.check("#f-accept")
        page.click("text=Order now")
        page.wait_for_selector(f"h1:has-text('{name} is ready')")
    assert orders_named(name) == 1


def test_an_empty_form_says_what_is_missing_and_leads_there(open_page):
    page = open_page("business")
    page.goto("/catalog/postgresql/")
    page.fill("#f-p-storage", "500")
    page.check("text=Medium")
    with page.expect_response("**/order/") as answer:
        page.click("text=Order now")
    assert answer.value.status == 422
    page.wait_for_selector(".errsum")
    assert page.title().startswith("Error: ")
    assert page.evaluate("document.activeElement.className") == "errsum"
    page.click(".errsum >> text=Storage must be 100 or less")
    assert page.evaluate("document.activeElement.id") == "f-p-storage"
    assert page.input_value("#f-p-storage") == "500"
    assert page.is_checked("text=Medium")
    assert page.get_attribute("#f-p-storage", "aria-invalid") == "true"
    assert "f-p-storage-error" in page.get_attribute("#f-p-storage", "aria-describedby")


def test_all_of_it_works_without_javascript(open_page):
    page, name = open_page("business", java_script_enabled=False), new_name()
    page.fill("#q", "databse")
    page.click("text=Apply filters")
    page.click("text=PostgreSQL database")
    page.fill("#f-name", name)
    page.click("text=Order now")
    assert "Accept the terms of use." in page.inner_text(".errsum")
    page.check("#f-accept")
    page.click("text=Order now")
    page.wait_for_selector(f"h1:has-text('{name} is ready')")  # the page asks by itself every 4 seconds
    page.click("text=Show password")
    page.wait_for_selector(SHOWN)
    password = page.locator("dl.secret dt:has-text('Password') + dd").inner_text()
    assert re.fullmatch(r"\S{16,}", password)
    page.goto(page.url)
    assert password not in page.content()
    page.click("summary:has-text('Set a new password')")
    page.click("button:has-text('Set a new password')")
    page.wait_for_selector("text=Show password")


def focus_on(page, wanted, presses=60):
    """Press Tab until `wanted` has the focus."""
    for _ in range(presses):
        page.keyboard.press("Tab")
        if page.evaluate("wanted => document.activeElement.matches(wanted)", wanted):
            return
    raise AssertionError(f"Tab does not reach {wanted}.")


def test_all_of_it_works_by_keyboard_alone(open_page):
    page, name = open_page("business"), new_name()
    page.goto("/")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.className") == "skip", "the first stop skips the navigation"
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") == "q"
    page.keyboard.type("postgre")
    page.wait_for_selector("text=1 service found")
    focus_on(page, "h3 a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#f-name")
    focus_on(page, "#f-name")
    page.keyboard.type(name)
    focus_on(page, "[name=plan]")
    page.keyboard.press("ArrowDown")
    focus_on(page, "#f-accept")
    page.keyboard.press("Space")
    focus_on(page, "button[form=order]")
    page.keyboard.press("Enter")
    page.wait_for_selector(f"h1:has-text('{name} is ready')")
    focus_on(page, "#credentials button.primary")
    page.keyboard.press("Enter")
    page.wait_for_selector(SHOWN)
    assert "Medium" in page.inner_text(".kv")


def test_the_chosen_theme_stays(open_page):
    page = open_page("business", color_scheme="light")
    page.click("#theme")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    page.goto("/orders/")
    assert page.evaluate("document.documentElement.dataset.theme") == "dark"
    assert page.get_attribute("#theme", "aria-pressed") == "true"


def test_the_slash_key_does_nothing_for_who_switched_it_off(open_page):
    page = open_page("colleague")
    page.goto("/profile/")
    page.uncheck("[name=slash_focuses_search]")
    page.click("text=Save")
    page.goto("/")
    page.keyboard.press("/")
    assert page.evaluate("document.activeElement.id") != "q"


def test_filters_live_in_the_address_and_back_works(open_page):
    page = open_page("business")
    page.check("text=No approval needed")
    page.wait_for_url("**pre_authorized=true**")
    page.fill("#q", "laptop")
    page.wait_for_selector("text=1 service found")
    page.wait_for_url("**q=laptop**")
    page.reload()
    assert page.locator(".tile").count() == 1
    page.click("text=Laptop")
    page.wait_for_selector("#f-name")
    page.go_back()
    page.wait_for_selector(".tile")
    assert page.locator("html h1").count() == 1, "a whole page, not the fragment"
