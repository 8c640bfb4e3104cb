"""What has to hold before an offering is published."""

import pytest

import catalog.services as catalog
from catalog.models import OfferingVersion, Plan, Price, WorkflowStep
from core.problems import Conflict


@pytest.fixture
def draft(org, offering):
    return catalog.new_draft(offering, actor=org.curator)


def test_a_new_draft_is_a_copy_that_another_curator_publishes_and_the_old_version_is_superseded(org, offering, draft):
    published = catalog.publish(draft, actor=org.curator2)
    offering.refresh_from_db()
    assert offering.current_version == published
    assert published.promised["plans"] == offering.versions.get(number=1).promised["plans"]
    assert offering.versions.get(number=1).state == "superseded"


def test_who_touched_a_draft_cannot_publish_it(org, draft):
    plan = draft.plans.first()
    catalog.save_part(plan, actor=org.curator2)
    with pytest.raises(Conflict, match="another IT admin"):
        catalog.publish(draft, actor=org.curator2)


def test_a_superuser_who_wrote_a_draft_cannot_publish_it_either(org, draft):
    catalog.save_draft(draft, summary="Better.", actor=org.admin)
    with pytest.raises(Conflict, match="another IT admin"):
        catalog.publish(draft, actor=org.admin)


def test_two_steps_whose_passwords_would_overwrite_each_other_are_refused(org, draft):
    draft.workflow_steps.all().delete()
    for position, connector in enumerate(["postgresql", "redis_acl"]):
        step = WorkflowStep(version=draft, position=position, name=connector, connector=connector)
        catalog.save_part(step, actor=org.curator)
    with pytest.raises(Conflict, match="passwords of different names"):
        catalog.publish(draft, actor=org.curator2)


def test_all_that_is_missing_is_said_at_once(org, draft):
    draft.plans.all().delete()
    catalog.save_draft(draft, terms=" ", purposes=[], actor=org.curator)
    assert len(catalog.missing(OfferingVersion.objects.get(pk=draft.pk))) == 3


def test_prices_in_two_currencies_are_refused(org, draft):
    plan = catalog.save_part(Plan(version=draft, slug="large", name="Large"), actor=org.curator)
    catalog.save_part(Price(plan=plan, kind="monthly", amount="5", currency="EUR"), actor=org.curator)
    with pytest.raises(Conflict, match="One currency"):
        catalog.publish(draft, actor=org.curator2)
