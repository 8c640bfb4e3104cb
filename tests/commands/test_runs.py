"""`runs`, as operators type it."""

import io
from uuid import uuid4

import pytest
from django.core.management import call_command
from django.core.management.base import CommandError

import orders.services as orders
from core.models import Event
from orders.models import Order
from provisioning.models import Run, Step, StepLine
from provisioning.services import claims
from tests.factories import published_offering, wanted_body
from tests.provisioning import fakes
from tests.provisioning.engine import drive, fresh, lose, numbers, place, run_of, step_of

STUCK = [("Building it", "bare", {"undo_refuses": True}), ("Looking at it", "bare", {"refuses": True})]


@pytest.fixture(autouse=True)
def far_side(settings, tmp_path, monkeypatch):
    """The fake connectors beside the real ones, and their far side; the test itself is the worker."""
    settings.LEASE_SECONDS = 60
    monkeypatch.setenv("FAR_SIDE", str(tmp_path))
    settings.CONNECTORS = settings.CONNECTORS | fakes.CONNECTORS
    return fakes.FarSide(tmp_path)


@pytest.fixture
def order(org):
    """Order a service of steps given as (name, connector, inputs, further fields of the step)."""

    def placed(*steps):
        rows = [
            {"name": name, "connector": connector, "inputs": inputs} | (more[0] if more else {})
            for name, connector, inputs, *more in steps
        ]
        return place(published_offering(org, f"service-{next(numbers)}", steps=rows), org.business)

    return placed


@pytest.fixture
def stuck(order):
    """An order whose undoing has failed."""
    placed = order(*STUCK)
    drive()
    return placed


@pytest.fixture
def blind(order):
    """An order of which nobody knows whether its step happened."""
    placed = order(("Building it", "forgetful", {}))
    lose(claims.claim())
    drive()
    return placed


def runs(*arguments):
    output = io.StringIO()
    call_command("runs", *map(str, arguments), stdout=output, stderr=output)
    return output.getvalue()


def test_list_shows_what_each_waits_for_and_narrows(stuck, blind):
    everything = runs("list")
    assert str(run_of(stuck).pk) in everything
    assert "Undoing: Building it: Undoing failed; waits for an operator: The far side does not let it go." in everything
    for filters, found in (
        (["--state", "compensation_failed"], [stuck]),
        (["--stands", "operator"], [stuck, blind]),
        (["--back-end", "forgetful"], [blind]),
        (["--connector", "bare"], [stuck]),
        (["--text", stuck.name], [stuck]),
        (["--since", "2999-01-01"], []),
        (["--since", "2020-01-01T00:00:00+00:00"], [stuck, blind]),
        (["--limit", "0"], []),
    ):
        listed = runs("list", *filters)
        assert [one for one in (stuck, blind) if str(run_of(one).pk) in listed] == found, filters


def test_show_tells_steps_attempts_and_log(stuck):
    StepLine.objects.create(step=step_of(stuck, "Building it"), text="It is there.")
    said = runs("show", run_of(stuck).pk)
    for words in (
        str(step_of(stuck, "Looking at it").pk),
        "attempt 1: failed",
        "| It is there.",
        "The far side refuses it.",
    ):
        assert words in said


def test_retry_goes_on_with_one_or_with_all_that_match(stuck, far_side):
    far_side.open("undo")
    runs("retry", run_of(stuck).pk, "--user", "curator")
    drive()
    assert run_of(stuck).state == "compensated"


def test_retry_all_says_what_is_not_tried_again(stuck, blind, far_side):
    far_side.open("undo")
    with pytest.raises(CommandError, match="1 does not"):
        runs("retry", "--all", "--stands", "operator", "--user", "curator")
    drive()
    assert run_of(stuck).state == "compensated"
    assert "0 runs go on." in runs("retry", "--all", "--state", "abandoned", "--user", "curator")


def test_a_step_is_left_out(blind):
    runs("skip", step_of(blind, "Building it").pk, "--user", "curator", "--reason", "Done by hand.")
    assert fresh(blind).state == "completed"
    assert Event.objects.get(name="step.skipped").facts["reason"] == "Done by hand."


def test_what_became_of_a_step_is_said_with_what_it_gave(blind):
    step = step_of(blind, "Building it")
    given = ["--output", "host=10.0.0.7", "--output", "note=a=b", "--external-ref", "vm-7"]
    assert "done" in runs("resolve", step.pk, "happened", *given, "--user", "curator", "--reason", "I saw it.")
    assert fresh(step).external_ref == "vm-7"
    assert fresh(blind.instance).outputs == {"host": "10.0.0.7", "note": "a=b"}


def test_undo_takes_back_what_was_made(order, far_side):
    placed = order(("One", "bare", {}), ("By hand", "manual", {}))
    drive()
    assert far_side.live()
    runs("undo", run_of(placed).pk, "--user", "curator", "--reason", "Wrong plan.")
    drive()
    assert (run_of(placed).state, far_side.live()) == ("compensated", [])


def test_abandon_ends_the_run_with_its_reason_and_frees_the_name(org, stuck):
    runs("abandon", run_of(stuck).pk, "--user", "curator", "--reason", "Removed by hand.")
    run = run_of(stuck)
    assert (run.state, run.reason, fresh(run.instance).state) == ("abandoned", "Removed by hand.", "failed")
    event = Event.objects.get(name="run.abandoned")
    assert (event.actor, event.facts["reason"]) == ("Tom Lund", "Removed by hand.")
    assert fresh(stuck).state == "failed"
    again = wanted_body(stuck.plan.version.offering, name=stuck.name)
    again.pop("action")
    assert orders.place(orders.Wanted(**again), actor=org.business).order.state == "fulfilling"


@pytest.mark.parametrize(
    ("verb", "changes", "sentence"),
    [
        ("retry", {"--user": "business"}, "may not"),
        ("retry", {"--user": "nobody"}, "no person"),
        ("abandon", {"--user": "business", "--reason": "x"}, "may not"),
        ("abandon", {"--user": "curator", "--reason": "  "}, "reason"),
        ("undo", {"--user": "curator", "--reason": "x"}, "cannot be undone"),
    ],
)
def test_who_may_not_or_says_no_reason_is_refused(stuck, verb, changes, sentence):
    with pytest.raises(CommandError, match=sentence):
        runs(verb, run_of(stuck).pk, *(f"{name}={value}" for name, value in changes.items()))


@pytest.mark.parametrize("arguments", [[], ["--all", str(uuid4())]], ids=["neither", "both"])
def test_retry_takes_one_run_or_all_and_not_both(org, arguments):
    with pytest.raises(CommandError, match="Name one run"):
        runs("retry", *arguments, "--user", "curator")


@pytest.mark.parametrize(
    "arguments", [["show"], ["retry", "--user=curator"], ["abandon", "--user=curator", "--reason=x"]]
)
def test_an_unknown_run_is_said(org, arguments):
    with pytest.raises(CommandError, match="There is no run"):
        runs(arguments[0], uuid4(), *arguments[1:])


def test_an_unknown_step_is_said(org):
    with pytest.raises(CommandError, match="There is no step"):
        runs("skip", uuid4(), "--user", "curator", "--reason", "x")


def test_a_run_that_is_done_is_left_alone(order):
    placed = order(("One", "bare", {}))
    drive()
    for verb in (["retry"], ["abandon", "--reason=x"], ["undo", "--reason=x"]):
        with pytest.raises(CommandError, match="succeeded"):
            runs(verb[0], run_of(placed).pk, "--user=curator", *verb[1:])
    assert not Step.objects.exclude(state="succeeded").exists()
    assert (Run.objects.get().state, Order.objects.get().state) == ("succeeded", "completed")
