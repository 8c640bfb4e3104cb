"""Whatever happens in whatever order: the states fit together, and no open run waits for nobody."""

from contextlib import suppress
from tempfile import mkdtemp

import pytest
from django.db import transaction
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

import orders.services as orders
from core.models import Event
from core.problems import Conflict
from core.states import IllegalMove
from orders.models import Order
from provisioning.models import ManualTask, Run, ServiceInstance, Step
from provisioning.services import claims, complete, execution, retry_run, rotate
from tests.factories import published_offering
from tests.provisioning.engine import fresh, lose, make_due, place
from tests.provisioning.fakes import FarSide

STEPS = [
    {"name": "one", "connector": "fitful", "max_attempts": 2},
    {"name": "two", "connector": "manual"},
    {"name": "three", "connector": "fitful_bare", "inputs": {"polls": 2}, "max_attempts": 3},
    {"name": "four", "connector": "forgetful"},
]
# What order and service may be in while the run that sets the service up is in a state.
FITTING = {
    "running": ({"fulfilling"}, {"provisioning"}),
    "compensating": ({"fulfilling", "failed"}, {"provisioning"}),
    "succeeded": ({"completed"}, {"active", "updating"}),
    "compensated": ({"canceled", "failed"}, {"retired", "failed"}),
    "compensation_failed": ({"failed"}, {"provisioning"}),
}
ALL_STATES = {*Order.State.values, *ServiceInstance.State.values, *Run.State.values, *Step.State.values}
NEEDS_SOMEBODY = {Step.State.WAITING_FOR_PERSON, Step.State.OUTCOME_UNKNOWN}


class Story:
    """One order, and the deeds of workers, people and the far side."""

    def __init__(self, org, offering):
        self.org = org
        self.order = place(offering, org.business)
        self.far = FarSide()

    def work(self):
        """A worker does what is due."""
        make_due()
        step = claims.claim()
        if step:
            execution.execute(step)

    def die(self):
        """A worker dies over what is due."""
        make_due()
        step = claims.claim()
        if step:
            lose(step)

    def refuse(self):
        """The far side refuses what it is asked next."""
        self.far.set_mood("refuse")

    def fail(self):
        """The far side does not answer what it is asked next."""
        self.far.set_mood("fail")

    def cancel(self):
        """The person thinks better of it."""
        orders.cancel(fresh(self.order), actor=self.org.business)

    def complete(self):
        """A person does his task."""
        for task in ManualTask.objects.filter(state="open"):
            complete(task, {}, actor=self.org.curator)

    def operate(self):
        """An operator has the undoing tried again."""
        retry_run(self.order.instance.runs.first(), actor=self.org.curator)

    def rotate(self):
        """The person wants a new password."""
        rotate(fresh(self.order.instance), actor=self.org.business)


DEEDS = ["work"] * 5 + ["complete"] * 2 + ["die", "refuse", "fail", "cancel", "operate", "rotate"]


@pytest.fixture
def fitful_service(org, far_side):
    """An offering of four steps, of which some have moods."""
    return published_offering(org, "service", steps=STEPS)


@hypothesis_settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow]
)
@given(st.lists(st.sampled_from(DEEDS), max_size=25))
def test_whatever_happens_the_states_fit_together(org, fitful_service, far_side, monkeypatch, deeds):
    monkeypatch.setenv("FAR_SIDE", mkdtemp(dir=far_side.folder))
    with transaction.atomic():
        story = Story(org, fitful_service)
        check(story)
        for deed in deeds:
            with suppress(IllegalMove, Conflict), transaction.atomic():
                getattr(story, deed)()
            check(story)
        transaction.set_rollback(True)  # the next example begins from nothing


def check(story):
    """Every promise of the engine about the rows as they stand."""
    order = fresh(story.order)
    for run in order.instance.runs.all():
        check_run(run)
    provision = order.instance.runs.get(kind="provision")
    order_states, instance_states = FITTING[provision.state]
    instance = fresh(order.instance)
    assert (order.state in order_states, instance.state in instance_states) == (True, True)
    if provision.state == "compensated":
        assert story.far.live() == []
    if provision.state == "succeeded":
        assert len(story.far.live()) == 3
    check_events([order, instance, *instance.runs.all(), *Step.objects.filter(run__instance=instance)])


def check_run(run):
    steps = list(run.steps.all())
    in_work = [step for step in steps if step.state in Step.WORKABLE]
    assert len(in_work) <= 1
    if run.state in Run.OPEN:
        assert all(step.next_run_at or step.lease_expires_at for step in in_work)
        assert in_work or any(step.state in NEEDS_SOMEBODY for step in steps)
    else:
        assert not in_work
        assert not ManualTask.objects.filter(step__run=run, state="open").exists()
    undone = [step.undoes_id for step in steps if step.undoes_id]
    assert len(undone) == len(set(undone))
    assert all(step.attempt <= step.max_attempts + 1 for step in steps)


def check_events(rows):
    """The last event about a row says the state that it is in."""
    told = Event.objects.filter(subject_id__in=[row.pk for row in rows]).order_by("id")
    last = {
        subject: name
        for subject, name in told.values_list("subject_id", "name")
        if name.rsplit(".", 1)[1] in ALL_STATES
    }
    for row in rows:
        kind = row._meta.model_name
        assert last.get(row.pk, f"{kind}.pending") == f"{kind}.{row.state}"
