"""The demo organization: complete, repeatable, and fit to be ordered from."""

import io

import pytest
from django.apps import apps
from django.contrib.auth import authenticate
from django.core.management import call_command
from django.core.management.base import CommandError
from django.db.models.functions import Now
from django.test import RequestFactory

import accounts.services as accounts
import orders.services as orders
import provisioning.services as provisioning
from accounts.models import CostCenter, Person, Role
from catalog.models import Offering
from config.demo_data.history import HISTORY
from config.demo_data.people import PEOPLE
from core.models import Event
from orders.models import Order
from provisioning.models import ManualTask, Step

PASSWORD = "a-demo-password-for-tests"
REAL = ["postgresql-database", "redis-namespace", "git-repository", "laptop"]


def seed():
    output = io.StringIO()
    call_command("seed_demo", stdout=output)
    return output.getvalue()


def signs_in(username, password):
    """Ask all sign-in backends, as the page does."""
    return authenticate(RequestFactory().post("/"), username=username, password=password)


def counts():
    return {model._meta.label: model._default_manager.count() for model in apps.get_models()}


@pytest.fixture
def demo(db, settings):
    settings.DEMO_PASSWORD = PASSWORD
    return seed()


def test_a_second_run_changes_nothing(demo):
    before = counts()
    hashes = list(Person.objects.order_by("pk").values_list("password", "credentials_version"))
    assert seed() == demo
    assert counts() == before
    assert list(Person.objects.order_by("pk").values_list("password", "credentials_version")) == hashes


def test_every_demo_person_can_sign_in_with_the_printed_password(demo):
    for entry in PEOPLE:
        assert entry.username in demo
        person = signs_in(entry.username, PASSWORD)
        assert person is not None, entry.username
        assert person.is_superuser == (entry.username == "admin")
    assert demo.count(PASSWORD) == len(PEOPLE)


def test_people_stand_where_the_contract_says(demo):
    held = set(Person.objects.values_list("memberships__role", flat=True))
    assert set(Role.values) - held == {Role.PLATFORM_ADMIN}  # the superuser's

    def usable(name):
        people = CostCenter.objects.usable_by(Person.objects.get(username=name))
        return sorted(people.values_list("code", flat=True))

    assert usable("business") == ["4100", "4200"]
    assert usable("business2") == ["5200", "5300"]
    assert CostCenter.objects.get(code="4100").owner.username == "owner"
    assert CostCenter.objects.count() == 6


def test_twelve_offerings_stand_in_five_categories_and_entitlements_differ(demo):
    offerings = Offering.objects.filter(current_version__isnull=False).select_related("current_version")
    assert offerings.count() == 12
    assert offerings.values("category").distinct().count() == 5
    for offering in offerings:
        form = offering.current_version.promised["form"]
        assert all("default" in field for field in form["properties"].values()), offering.slug
    sees = {
        name: set(Offering.objects.visible_to(Person.objects.get(username=name)).values_list("slug", flat=True))
        for name in ("business", "business2")
    }
    assert sees["business"] - sees["business2"] == {"software-license"}
    assert sees["business2"] - sees["business"] == {"linux-virtual-machine"}


def test_what_is_really_delivered_can_be_ordered_without_touching_the_form(demo):
    business = Person.objects.get(username="business")
    for slug in REAL:
        offering = Offering.objects.select_related("current_version", "figures").get(slug=slug)
        assert offering.figures.delivered > 0
        assert offering.figures.usual_seconds > 0
        for plan in ("small", "medium"):
            wanted = orders.Wanted(
                plan=f"{slug}/{plan}",
                name=f"{plan}-{slug}",
                cost_center="4100",
                parameters={},
                terms_hash=offering.current_version.terms_hash,
                purpose="development",
                data_classification="internal",
            )
            assert orders.place(wanted, actor=business).order.state == "fulfilling"


def test_past_orders_ended_in_every_way_and_none_is_due_to_a_worker(demo):
    assert Order.objects.count() == len(HISTORY)
    states = set(Order.objects.values_list("state", flat=True))
    assert states == {"completed", "failed", "canceled", "fulfilling"}
    assert not Step.objects.filter(state__in=Step.WORKABLE).exists()
    numbers = list(Order.objects.order_by("created_at").values_list("number", flat=True))
    assert numbers == sorted(numbers)
    assert not Event.objects.filter(at__gt=Now()).exists()


def test_a_failed_order_of_the_past_looks_as_the_engine_leaves_one(demo):
    run = Order.objects.filter(state="failed").first().instance.runs.get()
    done = dict(run.steps.filter(kind="do").values_list("seq", "state"))
    assert done == {1: "failed", 2: "skipped"}
    assert Event.objects.filter(name="step.skipped", subject_id__in=run.steps.values("pk")).count() == 1


def test_no_service_of_the_past_offers_a_password(demo):
    live = Order.objects.filter(instance__state="active")
    assert live.exists()
    for order in live.select_related("plan__version"):
        assert {step["connector"] for step in order.plan.version.promised["workflow"]} == {"manual"}


def test_an_open_task_of_the_demo_can_be_done_and_completes_its_order(demo):
    curator = Person.objects.get(username="curator")
    task = ManualTask.objects.filter(state="open").first()
    provisioning.complete(task, {field["name"]: "done" for field in task.output_fields}, actor=curator)
    order = Order.objects.get(pk=task.step.run.instance.order_ref)
    assert order.state == "completed"


def test_a_password_that_a_person_changed_is_set_to_the_printed_one_again(demo):
    person = Person.objects.get(username="business")
    accounts.change_password(person, "something-of-my-own", actor=person)
    seed()
    assert signs_in("business", PASSWORD) is not None


def test_without_a_given_password_one_is_drawn_once_and_kept(db, settings):
    settings.DEMO_PASSWORD = ""
    line = next(line for line in seed().splitlines() if line.startswith("business "))
    assert signs_in("business", line.split()[1]) is not None
    assert "(as before)" in seed()
    assert signs_in("business", line.split()[1]) is not None


def test_a_database_with_other_people_is_left_alone(db, settings):
    settings.DEMO_PASSWORD = PASSWORD
    Person.objects.create_user("finance", password="her-own-password")
    with pytest.raises(CommandError, match="not the demo's"):
        seed()
    assert Person.objects.count() == 1
    assert not Event.objects.exists()
