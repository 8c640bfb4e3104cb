"""What may be ordered of a delivered service, by whom, and what is refused; nothing is stored then."""

from uuid import uuid4

import pytest
from django.core.exceptions import PermissionDenied

import catalog.services as catalog
import orders.services as orders
from core.problems import Conflict, Invalid
from core.states import move
from orders.models import Order, TermsAcceptance
from orders.services.changes import merged
from provisioning.models import Run, ServiceInstance
from tests.factories import published_offering
from tests.provisioning.conftest import far_side  # noqa: F401 (a fixture)
from tests.provisioning.engine import drive, fresh, place


@pytest.fixture
def service(org, far_side):  # noqa: F811 (the fixture)
    """A service of `business`, delivered."""
    order = place(published_offering(org, connector="bare"), org.business)
    drive()
    return fresh(order).instance


def wanted(service, action="modify", **more):
    return orders.WantedChange(action, str(service.pk), **more)


def placed(service, actor, action="modify", **more):
    return orders.place_change(wanted(service, action, **more), actor=actor).order


def refusal(service, actor, action="modify", **more):
    """What is wrong with it, by pointer; nothing was stored."""
    before = Order.objects.count(), Run.objects.count()
    with pytest.raises(Invalid) as refused:
        placed(service, actor, action, **more)
    assert (Order.objects.count(), Run.objects.count()) == before
    assert fresh(service).state == service.state
    return refused.value.errors


def test_only_the_person_whose_service_it_is_changes_it(org, service):
    for name in ("owner", "curator", "service_owner", "auditor"):
        with pytest.raises(PermissionDenied):
            placed(service, org.people[name], plan="database/medium")
    assert placed(service, org.business, plan="database/medium").state == "fulfilling"


@pytest.mark.parametrize("name", ["business", "owner", "curator"])
def test_owner_payer_and_operators_remove_it(org, service, name):
    order = placed(service, org.people[name], "delete")
    assert (order.state, order.requester.username, order.beneficiary.username) == ("fulfilling", name, "business")


@pytest.mark.parametrize("name", ["service_owner", "auditor", "finance"])
def test_who_only_looks_does_not_remove_it(org, service, name):
    with pytest.raises(PermissionDenied):
        placed(service, org.people[name], "delete")


@pytest.mark.parametrize("name", ["colleague", "business2", "approver"])
def test_a_service_of_others_is_one_that_does_not_exist(org, service, name):
    errors = refusal(service, org.people[name], "delete")
    unknown = str(uuid4())
    with pytest.raises(Invalid) as refused:
        orders.place_change(orders.WantedChange("delete", unknown), actor=org.people[name])
    assert errors["/service_instance"] == refused.value.errors["/service_instance"].replace(unknown, str(service.pk))


@pytest.mark.parametrize("name", ["", "nonsense", "0", "²", "a" * 500])
def test_what_is_no_id_names_no_service(org, service, name):
    with pytest.raises(Invalid, match="There is no service"):
        orders.place_change(orders.WantedChange("modify", name), actor=org.business)


def test_what_is_wrong_is_said_at_its_field(org, service):
    assert set(refusal(service, org.business, plan="database/huge")) == {"/plan"}
    assert set(refusal(service, org.business, plan="medium")) == {"/plan"}
    assert set(refusal(service, org.business, parameters={"storage": 500})) == {"/parameters/storage"}
    assert set(refusal(service, org.business, parameters={"color": "red"})) == {"/parameters/color"}
    assert set(refusal(service, org.business, plan="database/medium", terms_hash="0" * 64)) == {"/terms_hash"}


def test_what_changes_nothing_is_refused(org, service):
    assert set(refusal(service, org.business)) == {""}
    assert set(refusal(service, org.business, plan="database/small", parameters={"storage": 10})) == {""}


def test_plans_are_those_of_the_version_that_was_ordered(org, service):
    offering = service.plan.version.offering
    draft = catalog.new_draft(offering, actor=org.curator)
    catalog.publish(type(draft).objects.get(pk=draft.pk), actor=org.curator2)
    newer = draft.plans.get(slug="medium")
    assert set(refusal(service, org.business, plan=str(newer.pk))) == {"/plan"}
    order = placed(service, org.business, plan="database/medium")
    assert order.plan.version_id == service.plan.version_id


def test_a_retired_offering_is_still_changed_and_removed(org, service):
    catalog.retire(service.plan.version.offering, actor=org.curator)
    assert placed(service, org.business, parameters={"storage": 20}).state == "fulfilling"
    drive()
    assert placed(service, org.business, "delete").state == "fulfilling"


def test_a_retired_plan_is_kept_but_not_taken(org, service):
    plans = service.plan.version.plans
    catalog.retire_plan(plans.get(slug="medium"), actor=org.curator)
    assert set(refusal(service, org.business, plan="database/medium")) == {"/plan"}
    catalog.retire_plan(plans.get(slug="small"), actor=org.curator)
    assert placed(service, org.business, parameters={"storage": 20}).state == "fulfilling"


def test_terms_that_are_accepted_again_are_noted(org, service):
    terms = service.plan.version.terms_hash
    order = placed(service, org.business, plan="database/medium", terms_hash=terms)
    assert TermsAcceptance.objects.get(order=order).person == org.business


@pytest.mark.parametrize("state", ["suspended", "missing"])
def test_what_is_suspended_or_missing_is_removed_but_not_changed(org, service, state):
    move(service, state)
    with pytest.raises(Conflict) as refused:
        placed(service, org.business, plan="database/medium")
    assert refused.value.code == "not-changeable"
    assert placed(service, org.business, "delete").state == "fulfilling"
    drive()
    assert fresh(service).state == "retired"


def test_what_is_gone_stays_gone(org, service):
    placed(service, org.business, "delete")
    drive()
    for action in ("modify", "delete"):
        with pytest.raises(Conflict) as refused:
            placed(service, org.business, action, plan="database/medium" if action == "modify" else "")
        assert refused.value.code == "not-changeable"


def test_one_change_at_a_time(org, service):
    placed(service, org.business, plan="database/medium")
    with pytest.raises(Conflict) as refused:
        placed(service, org.business, "delete")
    assert (refused.value.code, refused.value.retry_after) == ("change-running", 5)


def test_a_preview_prices_a_change_and_stores_nothing(org, service):
    before = Order.objects.count()
    found = orders.preview_change(wanted(service, plan="database/medium"), actor=org.business)
    assert (found.quote.monthly, found.outcome, found.errors) == (81, "allowed", {})
    assert orders.preview_change(wanted(service, "delete"), actor=org.business).quote.monthly == 0
    ServiceInstance.objects.filter(pk=service.pk).update(state="updating")
    busy = orders.preview_change(wanted(service, plan="database/medium"), actor=org.business)
    assert (busy.outcome, set(busy.errors)) == ("denied", {"/service_instance"})
    assert Order.objects.count() == before


# The table of RFC 7396, appendix A, as far as its targets and patches are objects.
@pytest.mark.parametrize(
    ("target", "patch", "result"),
    [
        ({"a": "b"}, {"a": "c"}, {"a": "c"}),
        ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
        ({"a": "b"}, {"a": None}, {}),
        ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
        ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
        ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
        ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
        ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
        ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
        ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
    ],
)
def test_parameters_are_merged_as_the_standard_says(target, patch, result):
    assert merged(target, patch) == result
