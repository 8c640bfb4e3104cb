"""Placing an order through the service."""

import pytest

import orders.services as orders
from core.problems import Invalid
from orders.models import Order


def wanted(offering, **changes):
    values = {
        "plan": f"{offering.slug}/small",
        "name": "campaign-db",
        "cost_center": "4100",
        "parameters": {},
        "terms_hash": offering.current_version.terms_hash,
        "purpose": "test",
        "data_classification": "internal",
    }
    return orders.Wanted(**(values | changes))


def test_an_allowed_order_is_priced_decided_and_under_way_in_one_call(org, offering):
    placed = orders.place(wanted(offering, parameters={"storage": 20}), actor=org.business)
    order = Order.objects.get(pk=placed.order.pk)
    assert (order.state, order.decision.outcome) == ("fulfilling", "allowed")
    assert (str(order.monthly), order.currency) == ("48.0000", "USD")
    assert order.acceptance.person == org.business
    assert order.instance.state == "provisioning"
    assert [step.state for step in order.instance.runs.get().steps.all()] == ["ready"]


@pytest.mark.parametrize(
    ("changes", "pointer"),
    [
        ({"plan": "database/huge"}, "/plan"),
        ({"cost_center": "5200"}, "/cost_center"),
        ({"cost_center": ""}, "/cost_center"),
        ({"parameters": {"storage": 5}}, "/parameters/storage"),
        ({"parameters": {"colour": "red"}}, "/parameters/colour"),
        ({"parameters": []}, "/parameters"),
        ({"terms_hash": "0" * 64}, "/terms_hash"),
        ({"purpose": "office"}, "/purpose"),
        ({"data_classification": "restricted"}, "/data_classification"),
        ({"name": ""}, "/name"),
        ({"name": "-"}, "/name"),
    ],
)
def test_what_is_wrong_is_said_at_its_field_and_nothing_is_stored(org, offering, changes, pointer):
    with pytest.raises(Invalid) as refused:
        orders.place(wanted(offering, **changes), actor=org.business)
    assert pointer in refused.value.errors
    assert not Order.objects.exists()


def test_a_name_in_use_on_the_cost_center_is_refused(org, offering):
    orders.place(wanted(offering), actor=org.business)
    with pytest.raises(Invalid) as refused:
        orders.place(wanted(offering, name="Campaign-DB"), actor=org.business)
    assert list(refused.value.errors) == ["/name"]
