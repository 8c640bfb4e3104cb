"""Jobs of AWX: launched once whatever gets lost, watched to their end, taken back."""

import logging

import pytest

from provisioning.connectors import connector
from provisioning.connectors.base import BackEnd, Done, Failed, LeaseLost, Retry, Unknown, Working
from tests.far_side.awx import TOKEN, AwxServer
from tests.provisioning.calls import a_call, again, lost_lease

TEMPLATE, UNDO, FLOW = 7, 8, 9
SIZES = {"variable": "size", "question_name": "Size", "type": "multiplechoice", "choices": "small\nlarge"}


@pytest.fixture
def awx(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    server = AwxServer()
    server.add_template(TEMPLATE, "Make a host")
    server.add_template(UNDO, "Take a host away")
    server.add_template(FLOW, "Make a site", folder="workflow_job_templates")
    server.artifacts[TEMPLATE] = {"address": "10.0.0.7", "disks": [{"size": 10}]}
    yield server
    server.close()


@pytest.fixture
def call_of(awx):
    """Make a call with inputs, of the template that makes a host where they name none."""

    def made(operation="start", **inputs):
        back_end = BackEnd("awx", awx.address, {}, {"token": TOKEN})
        return a_call(operation, inputs={"template": TEMPLATE} | inputs, secrets={}, back_end=back_end)

    return made


def then(call, operation=None, **changes):
    """The next call of the same step, or of the step that undoes it."""
    key = {} if operation else {"idempotency_key": call.idempotency_key}
    return again(call, operation, back_end=call.back_end, **(key | changes))


def finish(call, answer):
    """Ask until it has come to its end, as the engine would."""
    for _ in range(20):
        if not isinstance(answer, Working):
            return answer
        answer = connector("awx").last_operation(then(call, call.operation, external_ref=answer.external_ref))
    raise AssertionError("It has no end.")


def go(call):
    return finish(call, getattr(connector("awx"), call.operation)(call))


@pytest.mark.parametrize("template", [TEMPLATE, str(TEMPLATE), "Make a host"])
def test_a_template_is_launched_and_watched_to_its_end(awx, call_of, template):
    call = call_of(template=template, extra_vars={"size": 10}, outputs={"address": "address", "disk": "/disks/0/size"})
    working = connector("awx").start(call)
    assert (working.external_ref, len(awx.launched())) == ("jobs/1", 1)
    done = finish(call, working)
    assert done.outputs == {"address": "10.0.0.7", "disk": 10}
    assert awx.variables(awx.launched()[0]) == {
        "size": 10,
        "greenlane_key": str(call.idempotency_key),
        "greenlane_instance": str(call.instance_id),
    }


def test_the_last_lines_of_the_output_are_in_the_log(awx, call_of):
    awx.output = [f"line {number}" for number in range(5)]
    call = call_of()
    working = connector("awx").start(call)
    for _ in range(5):
        polled = then(call, "start", external_ref=working.external_ref)
        connector("awx").last_operation(polled)
    assert polled.lines[-5:] == awx.output


def test_output_that_cannot_be_read_costs_the_log_and_not_the_job(awx, call_of):
    awx.trouble("GET", "job_events", 200, "x" * 2_000_000)
    assert isinstance(go(call_of()), Done)


@pytest.mark.parametrize("leaves_out_variables", [False, True])
@pytest.mark.parametrize("drop", [False, True])
def test_a_launch_whose_answer_was_lost_is_found_and_not_repeated(awx, call_of, drop, leaves_out_variables):
    awx.leaves_out_variables = leaves_out_variables
    awx.trouble("POST", "/launch/", acts=True, drop=drop)
    call = call_of()
    with pytest.raises(Retry):
        connector("awx").start(call)
    second = connector("awx").start(then(call, "start", idempotency_key=call.idempotency_key, attempt=2))
    assert second.external_ref == "jobs/1"
    assert isinstance(finish(call, second), Done)
    assert len(awx.launched()) == 1


def test_a_launch_that_did_not_arrive_is_repeated_and_no_other_s_is_taken_for_it(awx, call_of):
    go(call_of())
    awx.trouble("POST", "/launch/", 503, headers={"Retry-After": "7"})
    call = call_of()
    with pytest.raises(Retry) as refused:
        connector("awx").start(call)
    assert refused.value.after == 7
    second = connector("awx").start(then(call, "start", idempotency_key=call.idempotency_key, attempt=2))
    assert second.external_ref == "jobs/2"


def test_where_launches_are_too_many_to_look_through_a_person_has_to(awx, call_of):
    call = call_of()
    connector("awx").start(call)
    for number in range(2, 600):
        awx.jobs["jobs", number] = awx.jobs["jobs", 1] | {"id": number, "extra_vars": "{}"}
    late = then(call, "start", idempotency_key=call.idempotency_key, attempt=2)
    with pytest.raises(Unknown):
        connector("awx").start(late)
    assert len(awx.asked("POST", "/launch/")) == 1


def test_jobs_from_before_the_step_began_are_not_looked_through(awx, call_of):
    call = call_of()
    connector("awx").start(call)
    for number in range(2, 600):
        awx.jobs["jobs", number] = awx.jobs["jobs", 1] | {"id": number, "extra_vars": "{}", "created": "2020-01-01"}
    late = then(call, "start", idempotency_key=call.idempotency_key, attempt=2)
    assert connector("awx").start(late).external_ref == "jobs/1"
    assert len(awx.asked("GET", "/jobs/")) == 2


@pytest.mark.parametrize("status", ["failed", "error", "canceled"])
def test_a_job_that_ends_badly_fails_with_its_reason(awx, call_of, status):
    awx.script[TEMPLATE] = ["running", status]
    call = call_of()
    working = connector("awx").start(call)
    awx.launched()[0]["job_explanation"] = "No host matched."
    with pytest.raises(Failed, match=f"{status}: No host matched") as failed:
        finish(call, working)
    assert not failed.value.left_nothing
    with pytest.raises(Failed, match="Job 1 ended"):
        connector("awx").start(then(call, "start", idempotency_key=call.idempotency_key, attempt=2))
    # Who has the step begin anew wants a new job.
    anew = connector("awx").start(then(call, "start", idempotency_key=call.idempotency_key, attempt=1))
    assert anew.external_ref == "jobs/2"


@pytest.mark.parametrize(
    ("status", "body"), [(500, "<html>"), (502, "{}"), (401, {"detail": "No."}), (200, "<html>"), (200, []), (200, {})]
)
def test_a_question_that_is_answered_badly_is_asked_again(awx, call_of, status, body):
    call = call_of()
    working = connector("awx").start(call)
    awx.trouble("GET", "/jobs/1/", status, body)
    with pytest.raises(Retry):
        connector("awx").last_operation(then(call, "start", external_ref=working.external_ref))
    assert isinstance(finish(call, working), Done)


def test_a_job_that_awx_has_forgotten_has_failed(awx, call_of):
    call = call_of()
    working = connector("awx").start(call)
    awx.jobs.clear()
    with pytest.raises(Failed, match="no job 1"):
        finish(call, working)


# --- what is checked before anything is launched -------------------------------------------------------


@pytest.mark.parametrize(
    ("inputs", "words"),
    [
        ({"template": "Nonsense"}, "no job template"),
        ({"template": 4711}, "no job template"),
        ({"template": None}, "template"),
        ({"template": True}, "template"),
        ({"kind": "nonsense"}, "kind"),
        ({"kind": "workflow"}, "no workflow template"),
        ({"extra_vars": "size: 1"}, "extra_vars"),
        ({"survey": {"colour": "red"}}, "colour"),
        ({"limit": "db1"}, "limit"),
    ],
)
def test_what_cannot_be_launched_fails_with_a_sentence_and_leaves_nothing(awx, call_of, inputs, words):
    with pytest.raises(Failed, match=words):
        connector("awx").start(call_of(**inputs))
    assert awx.launched() == []


def test_a_name_that_several_templates_have_is_refused(awx, call_of):
    awx.add_template(17, "Make a host")
    with pytest.raises(Failed, match="several"):
        connector("awx").start(call_of(template="Make a host"))


def test_a_template_that_would_drop_our_key_is_refused(awx, call_of):
    awx.add_template(17, "Silent", asks_variables=False)
    with pytest.raises(Failed, match="Prompt on launch") as refused:
        connector("awx").start(call_of(template=17, extra_vars={"size": 1}))
    assert refused.value.left_nothing
    survey = [{"variable": name, "type": "text"} for name in ("greenlane_key", "size")]
    awx.add_template(18, "Survey", asks_variables=False, survey=survey)
    call = call_of(template=18, extra_vars={"size": "1"})
    assert isinstance(go(call), Done)
    assert set(awx.variables(awx.launched()[0])) == {"greenlane_key", "size"}


def test_a_limit_reaches_a_template_that_asks_for_one(awx, call_of):
    awx.add_template(17, "Limited", asks_limit=True)
    connector("awx").start(call_of(template=17, limit="db1"))
    assert awx.launched()[0]["limit"] == "db1"


QUESTIONS = [
    SIZES | {"required": True},
    {"variable": "name", "question_name": "Name", "type": "text", "min": 2, "max": 5},
    {"variable": "disk", "question_name": "Disk", "type": "integer", "min": 1, "max": 9},
    {"variable": "share", "question_name": "Share", "type": "float", "max": 1},
    {"variable": "zones", "question_name": "Zones", "type": "multiselect", "choices": ["a", "b"]},
    {"variable": "owner", "question_name": "Owner", "type": "text", "required": True, "default": "nobody"},
    {
        "variable": "tags",
        "question_name": "T",
        "type": "multiselect",
        "choices": "x\ny",
        "required": True,
        "default": "x",
    },
]


@pytest.mark.parametrize(
    ("survey", "words"),
    [
        ({}, r"“size” \(Size\) is missing"),
        ({"size": "huge"}, "one of small, large"),
        ({"size": "small", "name": "x"}, "at least 2 characters"),
        ({"size": "small", "name": "x" * 6}, "at most 5 characters"),
        ({"size": "small", "name": 7}, "must be text"),
        ({"size": "small", "disk": 0}, "at least 1"),
        ({"size": "small", "disk": "3"}, "whole number"),
        ({"size": "small", "disk": True}, "whole number"),
        ({"size": "small", "share": 1.5}, "at most 1"),
        ({"size": "small", "zones": "a"}, "a list"),
        ({"size": "small", "zones": ["a", "c"]}, "may hold a, b"),
        ({"size": "small", "nonsense": 1}, "asks for no “nonsense”"),
    ],
)
def test_answers_that_a_survey_does_not_take_are_said_before_launching(awx, call_of, survey, words):
    awx.add_template(17, "Survey", survey=QUESTIONS)
    with pytest.raises(Failed, match=words) as refused:
        connector("awx").start(call_of(template=17, survey=survey))
    assert refused.value.left_nothing
    assert awx.launched() == []


def test_answers_that_a_survey_takes_are_launched_with_its_defaults(awx, call_of):
    awx.add_template(17, "Survey", survey=QUESTIONS)
    survey = {"size": "large", "name": "shop", "disk": 3, "share": 0.5, "zones": ["a", "b"]}
    go(call_of(template=17, survey=survey, extra_vars={"more": "{{ lookup('pipe', 'id') }}"}))
    launched = awx.variables(awx.launched()[0])
    assert launched.items() >= survey.items()
    assert (launched["owner"], launched["tags"]) == ("nobody", ["x"])
    assert launched["more"] == "{{ lookup('pipe', 'id') }}"


def test_what_awx_itself_refuses_is_told(awx, call_of):
    awx.trouble("POST", "/launch/", 400, {"variables_needed_to_start": ["'x' value missing"]})
    with pytest.raises(Failed, match="'x' value missing") as refused:
        connector("awx").start(call_of())
    assert refused.value.left_nothing


def test_an_output_that_the_playbook_did_not_set_is_a_failure(awx, call_of):
    with pytest.raises(Failed, match="set_stats"):
        go(call_of(outputs=["nonsense"]))


# --- workflows, taking back, looking ------------------------------------------------------------------


def test_a_workflow_is_launched_and_its_jobs_give_the_outputs(awx, call_of):
    go(call_of())
    call = call_of(template="Make a site", kind="workflow", outputs=["address"])
    working = connector("awx").start(call)
    assert working.external_ref == "workflow_jobs/2"
    assert finish(call, working).outputs == {"address": "10.0.0.7"}


def test_undoing_launches_the_template_for_it_with_the_same_variables_once(awx, call_of):
    call = call_of(extra_vars={"size": 3}, undo_template="Take a host away")
    made = go(call)
    undoing = then(call, "undo", external_ref=made.external_ref)
    awx.trouble("POST", "/launch/", acts=True, drop=True)
    with pytest.raises(Retry):
        connector("awx").undo(undoing)
    late = then(undoing, "undo", external_ref=made.external_ref, idempotency_key=undoing.idempotency_key, attempt=2)
    assert isinstance(go(late), Done)
    assert [awx.variables(job)["size"] for job in awx.launched(UNDO)] == [3]


def test_undoing_cancels_what_still_runs_before_it_is_taken_back(awx, call_of):
    call = call_of(undo_template=UNDO)
    working = connector("awx").start(call)
    undoing = then(call, "undo", external_ref=working.external_ref, was_done=False)
    assert isinstance(go(undoing), Done)
    assert awx.launched(TEMPLATE)[0]["status"] == "canceled"
    assert len(awx.launched(UNDO)) == 1
    assert awx.launched(UNDO)[0]["status"] == "successful"


def test_undoing_finds_a_launch_whose_answer_never_came(awx, call_of):
    call = call_of(undo_template=UNDO)
    awx.trouble("POST", "/launch/", acts=True, drop=True)
    with pytest.raises(Retry):
        connector("awx").start(call)
    assert isinstance(go(then(call, "undo", was_done=False)), Done)
    assert awx.launched(TEMPLATE)[0]["status"] == "canceled"
    assert len(awx.launched(UNDO)) == 1


def test_undoing_what_was_never_launched_does_nothing(awx, call_of):
    go(call_of())
    assert isinstance(go(then(call_of(undo_template=UNDO), "undo", was_done=False)), Done)
    assert awx.launched(UNDO) == []


def test_without_a_template_for_it_a_person_has_to_take_back(awx, call_of):
    call = call_of()
    made = go(call)
    with pytest.raises(Failed, match="by hand"):
        connector("awx").undo(then(call, "undo", external_ref=made.external_ref))


def test_an_undoing_that_failed_is_launched_anew_when_an_operator_tries_again(awx, call_of):
    call = call_of(undo_template=UNDO)
    made = go(call)
    awx.script[UNDO] = ["failed"]
    undoing = then(call, "undo", external_ref=made.external_ref)
    working = connector("awx").undo(undoing)
    with pytest.raises(Failed, match="Taking it back"):
        finish(undoing, working)
    awx.script[UNDO] = ["successful"]
    anew = then(undoing, "undo", external_ref=working.external_ref, idempotency_key=undoing.idempotency_key)
    assert isinstance(go(anew), Done)
    assert len(awx.launched(UNDO)) == 2


def test_an_update_is_one_more_launch_with_the_changed_variables(awx, call_of):
    call = call_of(extra_vars={"size": 1})
    made = go(call)
    changed = then(call, "update", external_ref=made.external_ref, inputs=call.inputs | {"extra_vars": {"size": 2}})
    assert isinstance(go(changed), Done)
    assert [awx.variables(job)["size"] for job in awx.launched()] == [1, 2]


def test_looking_says_how_the_job_ended(awx, call_of):
    call = call_of()
    made = go(call)
    assert isinstance(connector("awx").describe(then(call, "describe", external_ref=made.external_ref)), Done)
    by_key = then(call, "describe", idempotency_key=call.idempotency_key)
    assert isinstance(connector("awx").describe(by_key), Done)
    awx.jobs.clear()
    with pytest.raises(Failed, match="no such job"):
        connector("awx").describe(then(call, "describe", external_ref=made.external_ref))


def test_the_address_may_name_the_api_itself(awx, call_of):
    call = call_of()
    call.back_end = BackEnd("awx", f"{awx.address}/api/controller/v2/", {}, {"token": TOKEN})
    assert isinstance(connector("awx").start(call), Working)
    assert awx.heard[0].path.startswith("/api/controller/v2/job_templates/")


@pytest.mark.parametrize("operation", ["start", "update", "undo", "describe"])
def test_who_has_lost_the_lease_does_nothing(awx, call_of, operation):
    with pytest.raises(LeaseLost):
        getattr(connector("awx"), operation)(then(call_of(), operation, lease=lost_lease()))
    assert awx.heard == []


def test_each_call_says_who_calls_and_no_log_has_the_token(awx, call_of, caplog):
    caplog.set_level(logging.DEBUG)
    call = call_of()
    go(call)
    launch = awx.asked("POST", "/launch/")[0]
    assert launch.headers["idempotency-key"] == str(call.idempotency_key)
    assert launch.headers["x-greenlane-fencing-token"] == str(call.fencing_token)
    assert TOKEN not in "\n".join([*call.lines, caplog.text])


def test_a_wrong_token_fails_with_a_sentence(awx, call_of):
    call = call_of()
    call.back_end = BackEnd("awx", awx.address, {}, {"token": "another"})
    with pytest.raises(Failed, match="401"):
        connector("awx").start(call)
