"""A service broker as the specification wants it: made with openbrokerapi, and one whose requests are looked at."""

import pytest

from provisioning.connectors import connector
from provisioning.connectors.base import Done, Failed, LeaseLost, Missing, Retry, Working
from tests.far_side.broker import CREDENTIALS, LARGE, SERVICE, SMALL, RealBroker, Say, ScriptedBroker
from tests.provisioning.calls import lost_lease
from tests.provisioning.osb_calls import FACTS, go, osb_call, then
from tests.provisioning.test_connectors import HOSTILE_NAMES

BOUND = {"bind": True}


@pytest.fixture(autouse=True)
def _loopback(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]


@pytest.fixture(params=[False, True], ids=["at once", "asynchronously"])
def real(request):
    """A broker made with openbrokerapi that does everything at once, or everything later."""
    broker = RealBroker(is_async=request.param)
    yield broker
    broker.close()


@pytest.fixture
def broker():
    """A broker that writes down what it hears."""
    serving = ScriptedBroker()
    yield serving
    serving.close()


# --- a real broker ----------------------------------------------------------------------------------


def test_an_instance_is_made_with_its_credentials_and_taken_away_whole(real):
    call = osb_call(real, inputs=BOUND)
    made, _ = go(call)
    instance = real.database.instances[str(call.instance_id)]
    assert (instance["plan"], instance["parameters"]) == (SMALL, {"storage": 7})
    assert made.outputs == {"dashboard_url": f"https://dashboards.example/{call.instance_id}"}
    assert made.secrets["password"] == CREDENTIALS["password"]
    assert made.secrets["port"] == "3306"
    assert made.secrets["tls"] == '{"ca": "-----BEGIN CERTIFICATE-----"}'
    removed, _ = go(then(call, "undo", external_ref=made.external_ref))
    assert removed.detail == "The broker has removed it."
    assert (real.database.instances, real.database.bindings) == ({}, {})


def test_undoing_twice_or_what_was_never_there_is_no_error(real):
    call = osb_call(real, "undo")
    for _ in range(2):
        assert isinstance(go(then(call, "undo"))[0], Done)


def test_started_twice_it_is_one_instance_with_one_binding(real):
    call = osb_call(real, inputs=BOUND)
    first, _ = go(call)
    second, _ = go(then(call, "start", external_ref=""))
    assert (second.outputs, second.secrets) == (first.outputs, first.secrets)
    assert (len(real.database.instances), len(real.database.bindings)) == (1, 1)


def test_after_undoing_it_can_be_started_again(real):
    call = osb_call(real, inputs=BOUND)
    made, _ = go(call)
    go(then(call, "undo", external_ref=made.external_ref))
    assert go(then(call, "start", external_ref=""))[0].secrets == made.secrets


@pytest.mark.parametrize("asked", [0, 1, 3, 6])
def test_what_a_lost_worker_left_half_made_is_undone_whole(real, asked):
    call = osb_call(real, inputs=BOUND)
    back = connector("osb")
    answer = back.start(call)
    while isinstance(answer, Working) and asked:
        asked -= 1
        answer = back.last_operation(then(call, "start", external_ref=answer.external_ref))
    go(then(call, "undo", external_ref=answer.external_ref, was_done=False))
    assert (real.database.instances, real.database.bindings) == ({}, {})


def test_an_instance_of_the_same_id_that_is_another_is_refused(real):
    call = osb_call(real)
    real.database.instances[str(call.instance_id)] = other = {"plan": LARGE}
    with pytest.raises(Failed, match="409"):
        connector("osb").start(call)
    assert real.database.instances[str(call.instance_id)] is other


@pytest.mark.parametrize("name", HOSTILE_NAMES)
def test_a_hostile_name_is_data(real, name):
    call = osb_call(real, instance_name=name)
    go(call)
    assert real.database.instances[str(call.instance_id)]["context"]["instance_name"] == name


def test_plan_and_parameters_are_changed(real):
    call = osb_call(real)
    made, _ = go(call)
    changed, _ = go(
        then(
            call,
            "update",
            inputs=call.inputs | {"plan_id": LARGE},
            context=FACTS | {"parameters": {"storage": 9}},
            before={"plan": "small", "limits": {"plan_id": SMALL}, "parameters": {"storage": 7}},
            external_ref=made.external_ref,
        )
    )
    instance = real.database.instances[str(call.instance_id)]
    assert (instance["plan"], instance["parameters"]) == (LARGE, {"storage": 9})
    assert instance["previous"]["plan_id"] == SMALL
    assert changed.external_ref


def test_new_credentials_are_a_new_binding(real):
    call = osb_call(real, inputs=BOUND)
    made, _ = go(call)
    renewed, _ = go(then(call, "rotate", external_ref=made.external_ref))
    assert renewed.secrets["password"] == CREDENTIALS["password"]
    assert len(real.database.bindings) == 1
    go(then(call, "undo", external_ref=made.external_ref))
    assert (real.database.instances, real.database.bindings) == ({}, {})


def test_the_broker_learns_for_whom_it_works(real):
    call = osb_call(real)
    go(call)
    identity = {"user_id": "maria", "name": "Maria Keller", "email": "maria@example.com"}
    assert real.database.identities == [{"platform": "greenlane", "value": identity}]
    context = real.database.instances[str(call.instance_id)]["context"]
    assert (context["platform"], context["organization_guid"], context["space_guid"]) == (
        "greenlane",
        "marketing",
        "4100",
    )


def test_what_is_there_is_described_and_what_is_gone_is_missing(real):
    call = osb_call(real, inputs={"instances_retrievable": True})
    go(call)
    back = connector("osb")
    assert isinstance(back.describe(then(call, "describe")), Done)
    real.database.instances.clear()
    with pytest.raises(Missing):
        back.describe(then(call, "describe"))


# --- what a broker hears ----------------------------------------------------------------------------


def test_every_request_says_version_requester_step_and_credentials(broker):
    call = osb_call(broker, inputs=BOUND)
    broker.script["provision"] = [Say(202, {"operation": "x"})]
    go(call)
    assert broker.operations() == ["provision", "poll", "bind"]
    for heard in broker.heard:
        assert heard.headers["x-broker-api-version"] == "2.17"
        assert heard.identity == (
            "greenlane",
            {"user_id": "maria", "name": "Maria Keller", "email": "maria@example.com"},
        )
        assert heard.headers["authorization"].startswith("Basic ")
        assert heard.headers["traceparent"]
    assert broker.heard[0].headers["x-broker-api-request-identity"] == str(call.step_id)
    assert broker.heard[0].query == {"accepts_incomplete": "true"}
    assert broker.heard[0].path == f"/v2/service_instances/{call.instance_id}"


def test_without_a_requester_nobody_is_named(broker):
    go(osb_call(broker, context={"parameters": {}}))
    assert "x-broker-api-originating-identity" not in broker.heard[0].headers
    assert broker.heard[0].body["organization_guid"]


def test_an_operation_is_echoed_percent_encoded(broker):
    operation = "a b&c=d/é+%20?#" * 40
    broker.script["provision"] = [Say(202, {"operation": operation})]
    go(osb_call(broker))
    heard = broker.last("poll")
    assert heard.query["operation"] == operation
    assert not set(heard.raw_query) & set(" /+#?é")
    assert (heard.query["service_id"], heard.query["plan_id"]) == (SERVICE, SMALL)


def test_parameters_go_under_the_names_that_the_broker_knows(broker):
    go(osb_call(broker, inputs={"parameter_names": {"storage": "disk-size"}}))
    assert broker.heard[0].body["parameters"] == {"disk-size": 7}


def test_parameters_of_the_step_go_before_those_of_the_order(broker):
    go(osb_call(broker, inputs={"parameters": {"tier": "gold"}, "maintenance_info": {"version": "1.2.3", "more": 1}}))
    assert broker.heard[0].body["parameters"] == {"tier": "gold"}
    assert broker.heard[0].body["maintenance_info"] == {"version": "1.2.3"}


def test_while_a_change_is_polled_the_plan_before_it_is_named(broker):
    call = osb_call(broker)
    go(call)
    broker.script["update"] = [Say(202, {"operation": "up"}, acts=True)]
    before = {"plan": "small", "limits": {"plan_id": SMALL}, "parameters": {"storage": 7}}
    go(then(call, "update", inputs=call.inputs | {"plan_id": LARGE}, before=before))
    assert broker.last("poll").query["plan_id"] == SMALL
    assert broker.last("update").body["plan_id"] == LARGE
    assert "parameters" not in broker.last("update").body


def test_a_change_of_nothing_asks_nothing(broker):
    call = osb_call(broker)
    go(call)
    before = {"plan": "small", "limits": {"plan_id": SMALL}, "parameters": {"storage": 7}}
    go(then(call, "update", before=before))
    assert "update" not in broker.operations()


def test_a_plan_that_cannot_be_left_is_not_left(broker):
    call = osb_call(broker)
    before = {"plan": "small", "limits": {"plan_id": SMALL, "plan_updateable": False}, "parameters": {}}
    with pytest.raises(Failed, match="from this plan to another") as refused:
        connector("osb").update(then(call, "update", inputs=call.inputs | {"plan_id": LARGE}, before=before))
    assert refused.value.left_nothing
    assert broker.heard == []


def test_asynchronous_credentials_are_fetched_when_the_binding_is_there(broker):
    call = osb_call(broker, inputs=BOUND)
    broker.script["bind"] = [Say(202, {"operation": "b"}, acts=True)]
    broker.script["get binding"] = [Say(404), Say(200, {"credentials": {"user": "shop-user"}})]
    back = connector("osb")
    call.external_ref = back.start(call).external_ref
    for _ in range(2):
        call.external_ref = back.last_operation(then(call, "start")).external_ref
    with pytest.raises(Retry):
        back.last_operation(then(call, "start"))
    assert back.last_operation(then(call, "start")).secrets == {"user": "shop-user"}


@pytest.mark.parametrize("name", ["syslog_drain_url", "route_service_url", "volume_mounts"])
def test_bindings_for_applications_of_a_platform_are_refused_by_name(broker, name):
    broker.script["bind"] = [Say(201, {name: ["something"]})]
    with pytest.raises(Failed, match=name) as refused:
        go(osb_call(broker, inputs=BOUND))
    assert not refused.value.left_nothing


def test_a_dashboard_that_is_no_web_address_is_left_out(broker):
    broker.script["provision"] = [Say(201, {"dashboard_url": "javascript:alert(1)"})]
    assert go(osb_call(broker))[0].outputs == {}


def test_a_broker_that_cannot_tell_is_not_asked_what_is_there(broker):
    with pytest.raises(Failed, match="instances_retrievable"):
        connector("osb").describe(osb_call(broker, "describe"))
    assert broker.heard == []


@pytest.mark.parametrize(
    ("status", "raised"), [(500, Retry), (422, Retry), (400, Failed), (404, Missing), (401, Failed)]
)
def test_looking_says_missing_for_404_alone(broker, status, raised):
    broker.script["get"] = [Say(status, {"error": "ConcurrencyError"})]
    with pytest.raises(raised) as refused:
        connector("osb").describe(osb_call(broker, "describe", inputs={"instances_retrievable": True}))
    assert type(refused.value) is raised


@pytest.mark.parametrize("missing", ["service_id", "plan_id"])
@pytest.mark.parametrize("value", [None, "", 7])
def test_a_step_without_its_ids_fails_before_anything_is_asked(broker, missing, value):
    with pytest.raises(Failed, match=missing) as refused:
        connector("osb").start(osb_call(broker, inputs={missing: value}))
    assert refused.value.left_nothing
    assert broker.heard == []


@pytest.mark.parametrize("operation", ["start", "undo", "update", "rotate", "describe"])
def test_who_has_lost_the_lease_asks_nothing(broker, operation):
    inputs = {"instances_retrievable": True, "bind": True}
    with pytest.raises(LeaseLost):
        getattr(connector("osb"), operation)(osb_call(broker, operation, inputs=inputs, lease=lost_lease()))
    assert broker.heard == []


def test_without_credentials_there_is_nothing_to_change(broker):
    with pytest.raises(Failed, match="no credentials"):
        connector("osb").rotate(osb_call(broker, "rotate"))


def test_no_credential_is_in_log_lines_details_or_references(broker):
    call = osb_call(broker, inputs=BOUND)
    answer, waits = go(call)
    seen = [*call.lines, answer.detail, answer.external_ref, *(wait.external_ref + wait.detail for wait in waits)]
    assert not [text for text in seen if CREDENTIALS["password"] in text]


def test_what_was_asked_is_forgotten_by_nobody(broker):
    with pytest.raises(Failed, match="not known"):
        connector("osb").last_operation(osb_call(broker, external_ref="half a refer"))


def test_the_pause_between_questions_grows_and_the_broker_may_set_it(broker):
    call = osb_call(broker)
    broker.script["provision"] = [Say(202, headers={"Retry-After": "17"})]
    broker.always["poll"] = Say(200, {"state": "in progress", "description": "Half way."})
    back = connector("osb")
    answer = back.start(call)
    assert answer.after == 17
    for age, pause in [(0, 2), (100, 10), (5000, 60)]:
        answer = back.last_operation(then(call, "start", external_ref=answer.external_ref, elapsed=age))
        assert (answer.after, answer.detail) == (pause, "Half way.")
    broker.always["poll"] = Say(200, {"state": "in progress"}, headers={"Retry-After": "9"})
    answer = back.last_operation(then(call, "start", external_ref=answer.external_ref))
    assert isinstance(answer, Working)
    assert answer.after == 9
