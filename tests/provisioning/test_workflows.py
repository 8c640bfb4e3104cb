"""What a workflow may say beyond "do this": conditions, values of the order, failures that wait."""

import pytest

import orders.services as orders
import provisioning.services as provisioning
from core.models import Event
from provisioning.models import Run, Secret, Step, StepLine
from provisioning.services import claims, execution
from provisioning.services.runs import start_run, workflow_steps
from tests.provisioning.engine import drive, fresh, run_of, step_of


def lines_of(step):
    """The technical log of a step."""
    return list(StepLine.objects.filter(step=step).values_list("text", flat=True))


def test_inputs_take_values_of_the_order_and_of_earlier_steps(ordered, far_side):
    order = ordered(
        ("First", "bare", {"says": {"host": "db-1", "port": 5432}}),
        ("Second", "bare", {"says": {
            "url": "${outputs.host}:${outputs.port}/${order.name}", "port": "${outputs.port}",
            "who": "${requester.username}",
            "pays": "${cost_center.code}", "size": "${parameters.storage}", "backup": "${parameters.backup}",
        }}),
    )  # fmt: skip
    drive()
    outputs = fresh(order).instance.outputs
    assert outputs["url"] == f"db-1:5432/{order.name}"
    assert (outputs["port"], outputs["size"], outputs["backup"]) == (5432, 10, False)
    assert (outputs["who"], outputs["pays"]) == ("business", "4100")


def test_what_a_person_typed_is_never_a_template(ordered, far_side):
    order = ordered(("First", "bare", {"says": {"text": "$${outputs.nothing} and ${order.name}"}}))
    drive()
    assert fresh(order).instance.outputs["text"] == f"${{outputs.nothing}} and {order.name}"


def test_a_step_whose_condition_does_not_hold_is_passed_over_and_never_undone(ordered, far_side):
    order = ordered(
        ("First", "bare", {}, {"when": "parameters.backup == true"}),
        ("Second", "bare", {}, {"when": "parameters.storage >= 10 && order.plan == 'small'"}),
        ("Third", "bare", {"refuses": True}),
    )
    drive()
    assert step_of(order, "First").state == "skipped"
    assert step_of(order, "First").detail == "Not needed for this order."
    assert [call[0::2] for call in far_side.calls()] == [
        ["start", "Second"],
        ["start", "Third"],
        ["undo", "Third"],
        ["undo", "Second"],
    ]
    assert fresh(order).state == "failed"


@pytest.mark.parametrize("condition", ["outputs.unheard_of == 1", "parameters.storage / 0 > 1", "parameters.storage"])
def test_a_condition_without_an_answer_does_nothing_and_undoes_the_rest(ordered, far_side, condition):
    order = ordered(("First", "bare", {}), ("Second", "bare", {}))
    Step.objects.filter(run__instance=order.instance, seq=2).update(when=condition)
    drive()
    assert fresh(order).state == "failed"
    assert [call[0::2] for call in far_side.calls()] == [["start", "First"], ["undo", "First"]]
    assert "could not be answered" in step_of(order, "Second").error


def test_an_input_that_cannot_be_filled_fails_before_anything_is_called(ordered, far_side):
    order = ordered(("First", "bare", {}), ("Second", "bare", {}))
    Step.objects.filter(run__instance=order.instance, seq=2).update(inputs={"says": {"at": "${outputs.nowhere}"}})
    drive()
    assert fresh(order).state == "failed"
    assert [call[0::2] for call in far_side.calls()] == [["start", "First"], ["undo", "First"]]


def test_a_refusal_that_made_nothing_is_not_undone(ordered, far_side):
    order = ordered(("First", "bare", {"refuses": "at once"}))
    drive()
    assert fresh(order).state == "failed"
    assert far_side.calls("undo") == []


def test_after_an_earlier_attempt_such_a_refusal_is_undone_all_the_same(ordered, far_side):
    order = ordered(("First", "bare", {"fails": 1}))
    execution.execute(claims.claim())
    Step.objects.filter(run__instance=order.instance).update(inputs={"refuses": "at once"})
    drive()
    assert len(far_side.calls("undo", order.instance_id)) == 1


def test_a_failure_may_wait_for_an_operator_with_everything_kept(ordered, far_side):
    order = ordered(("First", "bare", {}), ("Second", "bare", {"refuses": True}, {"on_failure": "wait"}))
    drive()
    assert fresh(order).state == "fulfilling"
    assert (run_of(order).state, step_of(order, "Second").state) == ("running", "failed")
    assert len(far_side.live(order.instance_id)) == 1
    assert Event.objects.filter(name="run.held", subject_id=run_of(order).pk).count() == 1
    orders.cancel(order, actor=order.requester)
    drive()
    assert fresh(order).state == "canceled"
    assert far_side.live(order.instance_id) == []


def test_an_end_that_nobody_knows_waits_for_a_person_and_is_never_tried_blindly(ordered, far_side):
    order = ordered(("First", "bare", {"unsure": True}), ("Second", "bare", {}))
    drive()
    step = step_of(order, "First")
    assert (step.state, step.error) == ("outcome_unknown", "The far side hung up in the middle.")
    assert len(far_side.calls("start")) == 1
    assert step.attempts.get().outcome == "unknown"


@pytest.mark.parametrize(("is_there", "ends"), [(True, "completed"), (False, "fulfilling")])
def test_asked_to_look_again_the_worker_looks_and_makes_nothing(ordered, far_side, is_there, ends):
    order = ordered(("First", "bare", {"unsure": True}))
    drive()
    step = step_of(order, "First")
    if not is_there:
        for name in far_side.live(order.instance_id):
            (far_side.folder / name).unlink()
    Step.objects.filter(pk=step.pk).update(state="ready", look_again=True, next_run_at=step.created_at)
    execution.work()
    assert [call[0] for call in far_side.calls()] == ["start", "describe"]
    step.refresh_from_db()
    assert fresh(order).state == ends
    assert step.look_again is False
    if is_there:
        assert fresh(order).instance.outputs == {"found": "yes"}
    else:
        assert (step.state, step.error) == ("outcome_unknown", "Looked again: It is not there.")


def test_passwords_that_a_back_end_gives_are_stored_encrypted_and_shown_once(ordered, far_side):
    order = ordered(("First", "giving", {"gives": {"uri": "postgres://app:s3cr3t-of-theirs@db/1"}}))
    drive()
    secret = Secret.objects.get(instance=order.instance)
    assert b"s3cr3t" not in bytes(secret.ciphertext)
    written = Step.objects.filter(run__instance=order.instance).values("outputs", "detail", "error", "external_ref")
    assert "s3cr3t" not in str([*written, *lines_of(step_of(order, "First")), *Event.objects.values("facts")])
    assert provisioning.reveal(fresh(order).instance, actor=order.requester) == {
        "uri": "postgres://app:s3cr3t-of-theirs@db/1"
    }


def test_a_connector_without_passwords_of_its_own_sees_none(ordered, far_side):
    order = ordered(("First", "fake", {}), ("Second", "bare", {}))
    drive()
    assert far_side.password(order.instance_id) == ""
    assert Secret.objects.filter(instance=order.instance, in_force_at__isnull=False).count() == 1


def change(order, value, before):
    """Begin a change of a delivered service, as orders do."""
    instance = fresh(order).instance
    type(instance).objects.filter(pk=instance.pk).update(state="updating")
    step = Step(name="First", connector="bare", back_end="bare", operation="update")
    step.inputs = {"value": "${parameters.value}"}
    context = {"plan_id": str(instance.plan_id), "plan": "small", "parameters": {"value": value}, "limits": {}}
    context["before"] = {"plan": "small", "parameters": {"value": before}, "limits": {}}
    return start_run(instance, Run.Kind.UPDATE, [step], context=context, order_ref=None, actor=order.requester).run


def test_a_change_is_in_force_once_the_back_end_took_it(ordered, far_side):
    order = ordered(("First", "bare", {}))
    drive()
    run = change(order, "large", "small")
    drive()
    instance = fresh(order).instance
    assert (fresh(run).state, instance.state) == ("succeeded", "active")
    assert instance.parameters == {"value": "large"}
    assert instance.outputs["value"] == "large"


def test_a_failed_change_is_taken_back_by_another_and_deletes_nothing(ordered, far_side):
    order = ordered(("First", "bare", {}))
    drive()
    run = change(order, "too much", "small")
    drive()
    instance = fresh(order).instance
    assert (fresh(run).state, instance.state) == ("compensated", "active")
    assert far_side.calls("undo") == []
    assert (far_side.folder / f"value-{instance.pk}").read_text() == "small"
    assert instance.parameters != {"value": "too much"}


def remove(order):
    """Begin the removal of a delivered service, as orders do."""
    instance = fresh(order).instance
    type(instance).objects.filter(pk=instance.pk).update(state="retiring")
    done = Step.objects.filter(run__instance=instance, kind="do", state="succeeded").order_by("-seq")
    steps = [
        Step(kind="compensate", undoes=one, name=f"Removing: {one.name}", connector=one.connector,
             back_end=one.back_end, operation="undo", inputs=one.inputs, external_ref=one.external_ref, max_attempts=3)
        for one in done
    ]  # fmt: skip
    return start_run(
        instance, Run.Kind.RETIRE, steps, context=run_of(order).context, order_ref=None, actor=order.requester
    ).run


def test_a_removal_undoes_every_step_last_first(ordered, far_side):
    order = ordered(("First", "bare", {}), ("Second", "bare", {}))
    drive()
    run = remove(order)
    drive()
    assert (fresh(run).state, fresh(order).instance.state) == ("succeeded", "retired")
    assert [call[2] for call in far_side.calls("undo")] == ["Second", "First"]
    assert far_side.live(order.instance_id) == []


def test_a_removal_that_does_not_work_calls_an_operator_and_stands_among_the_orphans(ordered, far_side):
    order = ordered(("First", "bare", {"undo_refuses": True}))
    drive()
    run = remove(order)
    drive()
    assert (fresh(run).state, fresh(order).instance.state) == ("compensation_failed", "retiring")
    assert Step.objects.orphans().filter(run=run).count() == 1


@pytest.mark.django_db(transaction=True)
def test_the_log_of_a_long_call_can_be_read_while_it_goes_on(ordered, far_side, settings, monkeypatch):
    monkeypatch.setattr(execution, "LOG_SECONDS", 0.05)
    order = ordered(("First", "bare", {"chats": 5}))
    step = claims.claim()
    execution.execute(step)
    assert fresh(order).state == "completed"
    assert lines_of(step) == [f"Line {number}" for number in range(5)]
    at = list(StepLine.objects.filter(step=step).values_list("at", flat=True))
    assert len(set(at)) > 1


def test_work_for_minutes_is_left_to_the_long_queue(ordered, far_side, settings):
    settings.CONNECTORS = settings.CONNECTORS | {"bare": settings.CONNECTORS["bare"] | {"queue": "long"}}
    order = ordered(("First", "bare", {}), ("Second", "fake", {}))
    assert execution.work() == 0
    assert execution.work(queue="long") == 1
    assert step_of(order, "First").state == "succeeded"
    assert execution.work(queue="long") == 0
    assert execution.work() == 1
    assert fresh(order).state == "completed"


def test_the_steps_are_those_of_the_version_that_was_ordered(ordered, far_side):
    order = ordered(("First", "bare", {}, {"when": "parameters.storage > 5", "on_failure": "wait", "max_attempts": 7}))
    step = workflow_steps(order.plan)[0]
    assert (step.when, step.on_failure, step.max_attempts, step.back_end) == (
        "parameters.storage > 5",
        "wait",
        7,
        "bare",
    )
