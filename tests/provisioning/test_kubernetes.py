"""Objects in a cluster: applied once, whatever gets lost, changed, deleted; never those of somebody else."""

import base64
import logging
from functools import partial

import pytest

from core import secrets
from provisioning.connectors import connector
from provisioning.connectors.base import Done, Failed, LeaseLost, Missing, Retry, Working
from tests.far_side.kubernetes import TOKEN, KubernetesServer
from tests.provisioning.calls import lost_lease
from tests.provisioning.kubernetes_calls import (
    APPLICATION,
    DEPLOYMENT,
    NAMESPACE,
    deployment,
    finish,
    go,
    kubernetes_call,
    manifest,
    then,
)


@pytest.fixture
def cluster(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    server = KubernetesServer()
    yield server
    server.close()


@pytest.fixture
def call_of(cluster):
    """Make a call for some manifests."""
    return partial(kubernetes_call, cluster)


def test_objects_are_applied_and_watched_until_they_work(cluster, call_of):
    cluster.takes = {"Deployment": 2, "Service": 3}
    outputs = {"address": "Service/web#/status/loadBalancer/ingress/0/ip", "replicas": "Deployment#/spec/replicas"}
    call = call_of(*APPLICATION, outputs=outputs, secrets=["password"])
    working = connector("kubernetes").start(call)
    assert isinstance(working, Working)
    assert working.detail == "Deployment web waits for its new pods."
    done = finish(call, working)
    assert done.outputs == {"address": "203.0.113.7", "replicas": 2}
    assert cluster.names() == [["secrets", "login"], ["deployments", "web"], ["services", "web"]]
    assert done.external_ref.splitlines() == [
        f"{NAMESPACE}/secrets/login",
        DEPLOYMENT,
        f"{NAMESPACE}/services/web",
    ]
    assert {found["metadata"].get("labels", {}).get("greenlane/instance") for found in cluster.objects.values()} == {
        None,
        str(call.instance_id),
    }


def test_a_drawn_password_is_in_the_secret_and_nowhere_else(cluster, call_of, caplog):
    caplog.set_level(logging.DEBUG)
    call = call_of(*APPLICATION, secrets=["password"])
    done = go(call)
    data = cluster.objects[f"{NAMESPACE}/secrets/login"]["data"]
    assert base64.b64decode(data["password"]).decode() == call.secrets["password"]
    assert base64.b64decode(data["user"]) == b"shop"
    seen = "\n".join([*call.lines, caplog.text, repr(done)])
    assert call.secrets["password"] not in seen
    assert data["password"] not in seen
    assert TOKEN not in seen
    assert data["password"] not in secrets.scrub(f"Invalid value: {data['password']}")


@pytest.mark.parametrize(
    "manifests",
    [
        [manifest("ConfigMap", data={"password": {"$secret": "password"}})],
        [manifest("Secret", data={"password": {"$secret": "password"}})],
        [manifest("Secret", stringData={"password": {"$secret": "another"}})],
        [manifest("Secret", stringData={"password": 7})],
        [manifest("Secret", stringData="password")],
        [manifest("Secret", data="password", stringData={"password": "x"})],
        [],
        [deployment()] * 2,
        ["text"],
        [{"kind": "Secret"}],
        [manifest("Secret", "../../pods/web")],
        [manifest("Secret", "a..b")],
        [manifest("Secret", "a?b=c")],
        [manifest("Secret", "a\nb")],
        [manifest("Secret", None)],
        [manifest("secret/status")],
        [manifest("Secret", version="../v1")],
        [manifest("Secret") | {"metadata": {"name": "a", "namespace": "../kube-system"}}],
        [manifest("Secret") | {"metadata": {"name": "a", "labels": "x"}}],
        [manifest("Nonsense")],
        [manifest("Deployment", version="nonsense.example/v1")],
        [manifest("ConfigMap", f"map-{number}") for number in range(50)],
    ],
)
def test_manifests_that_cannot_work_are_refused_before_anything_is_made(cluster, call_of, manifests):
    with pytest.raises(Failed) as refused:
        connector("kubernetes").start(call_of(*manifests))
    assert refused.value.left_nothing
    assert cluster.names() == []
    assert not cluster.asked("PATCH")


def test_an_object_without_a_namespace_is_refused_where_its_kind_needs_one(cluster, call_of):
    with pytest.raises(Failed, match="needs a namespace"):
        connector("kubernetes").start(call_of(deployment(), namespace=""))


def test_objects_of_the_whole_cluster_and_those_within_a_new_namespace_are_made_in_order(cluster, call_of):
    within = deployment()
    within["metadata"]["namespace"] = "mine"
    call = call_of(manifest("Namespace", "mine"), within, namespace="")
    assert isinstance(go(call), Done)
    assert isinstance(go(then(call, "undo")), Done)
    assert cluster.names() == []
    assert [one.path for one in cluster.asked("DELETE")] == [
        "/apis/apps/v1/namespaces/mine/deployments/web",
        "/api/v1/namespaces/mine",
    ]


@pytest.mark.parametrize("piece", ["secrets/login", "deployments/web", "services/web"])
@pytest.mark.parametrize("how", [{"drop": True, "acts": True}, {"drop": True}, {"status": 503}, {"status": 200}])
def test_an_attempt_that_broke_off_anywhere_is_completed_by_the_next(cluster, call_of, piece, how):
    call = call_of(*APPLICATION, secrets=["password"])
    cluster.trouble("PATCH", piece, **how)
    with pytest.raises(Retry):
        connector("kubernetes").start(call)
    assert isinstance(go(then(call, "start", attempt=2)), Done)
    assert len(cluster.names()) == 3
    assert isinstance(go(then(call, "undo", was_done=False)), Done)
    assert cluster.names() == []


def test_starting_twice_changes_nothing(cluster, call_of):
    call = call_of(*APPLICATION, secrets=["password"])
    first = go(call)
    before = {path: found["metadata"]["generation"] for path, found in cluster.objects.items()}
    second = go(then(call, "start"))
    assert second == first
    assert {path: found["metadata"]["generation"] for path, found in cluster.objects.items()} == before


def test_what_greenlane_did_not_make_is_neither_changed_nor_deleted(cluster, call_of):
    cluster.make(f"{NAMESPACE}/services/web", manifest("Service", spec={"type": "ClusterIP"}))
    call = call_of(*APPLICATION, secrets=["password"])
    with pytest.raises(Failed, match="Greenlane did not make") as refused:
        connector("kubernetes").start(call)
    assert refused.value.left_nothing
    assert cluster.names() == [["services", "web"]]
    assert isinstance(go(then(call, "undo")), Done)
    assert cluster.names() == [["services", "web"]]
    assert not cluster.asked("DELETE")


def test_another_instance_s_objects_are_foreign_too(cluster, call_of):
    go(call_of(deployment()))
    with pytest.raises(Failed, match="Greenlane did not make"):
        connector("kubernetes").start(call_of(deployment(replicas=9)))


def test_fields_that_somebody_else_manages_are_not_taken_from_him(cluster, call_of):
    call = call_of(deployment(replicas=2))
    go(call)
    path = DEPLOYMENT
    cluster.objects[path]["spec"]["replicas"] = 5
    cluster.managers[path]["autoscaler"] = {("spec", "replicas")}
    with pytest.raises(Failed, match=r"Deployment web: .*conflict.*autoscaler"):
        connector("kubernetes").start(then(call, "start"))


def test_what_the_cluster_refuses_is_told(cluster, call_of):
    with pytest.raises(Failed, match='namespaces "nowhere" not found'):
        connector("kubernetes").start(call_of(deployment(), namespace="nowhere"))


def test_a_refusal_of_a_later_object_says_that_something_is_left(cluster, call_of):
    for number, piece in enumerate(["secrets/login", "deployments/web", "services/web"]):
        cluster.trouble("PATCH", piece, 422, {"message": "No."})
        with pytest.raises(Failed, match=r"No\.") as refused:
            connector("kubernetes").start(call_of(*APPLICATION, secrets=["password"]))
        assert refused.value.left_nothing == (number == 0)
        for path in [path for path in cluster.objects if path != NAMESPACE]:
            cluster.remove(path)


def test_an_object_still_being_deleted_is_waited_for(cluster, call_of):
    cluster.lingers = 3
    call = call_of(deployment())
    go(call)
    connector("kubernetes").undo(then(call, "undo"))
    with pytest.raises(Retry, match="still being deleted") as busy:
        connector("kubernetes").start(then(call, "start"))
    assert not busy.value.is_fault


# --- changing, undoing, looking --------------------------------------------------------------------------


def test_a_change_applies_what_is_wanted_now_and_deletes_what_is_no_longer(cluster, call_of):
    call = call_of(deployment(replicas=2), manifest("ConfigMap", "old"))
    made = go(call)
    changed = call.inputs | {"manifests": [deployment(replicas=5), manifest("ConfigMap", "new")]}
    done = go(then(call, "update", inputs=changed, external_ref=made.external_ref))
    assert cluster.names() == [["deployments", "web"], ["configmaps", "new"]]
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 5
    assert done.external_ref.splitlines() == [
        DEPLOYMENT,
        f"{NAMESPACE}/configmaps/new",
    ]


def test_half_a_change_is_taken_back_whole(cluster, call_of):
    call = call_of(deployment(replicas=2), manifest("ConfigMap", "old"))
    made = go(call)
    changed = call.inputs | {"manifests": [deployment(replicas=5), manifest("ConfigMap", "new")]}
    update = then(call, "update", inputs=changed, external_ref=made.external_ref)
    begun = connector("kubernetes").update(update)
    cluster.trouble("PATCH", "configmaps/new", 422, {"message": "No."}, acts=True)
    with pytest.raises(Failed, match="No"):
        connector("kubernetes").last_operation(then(update, external_ref=begun.external_ref))
    back = go(then(call, "update", external_ref=begun.external_ref))
    assert cluster.names() == [["deployments", "web"], ["configmaps", "old"]]
    assert cluster.objects[DEPLOYMENT]["spec"]["replicas"] == 2
    assert back.external_ref == made.external_ref


def test_undoing_waits_until_all_objects_are_gone(cluster, call_of):
    cluster.lingers = 2
    call = call_of(*APPLICATION, secrets=["password"])
    made = go(call)
    undoing = then(call, "undo", external_ref=made.external_ref)
    working = connector("kubernetes").undo(undoing)
    assert working.detail == "Waits for 3 objects to go."
    assert [one.path.rsplit("/", 1)[1] for one in cluster.asked("DELETE")] == ["web", "web", "login"]
    assert isinstance(finish(undoing, working), Done)
    assert cluster.names() == []
    assert isinstance(go(then(call, "undo", external_ref=made.external_ref)), Done)


def test_what_is_known_to_be_there_is_deleted_even_where_the_workflow_makes_no_sense_any_more(cluster, call_of):
    call = call_of(deployment())
    made = go(call)
    broken = call.inputs | {"manifests": [manifest("Nonsense")]}
    assert isinstance(go(then(call, "undo", inputs=broken, external_ref=made.external_ref)), Done)
    assert cluster.names() == []


def test_an_object_made_anew_by_somebody_else_is_not_deleted_in_the_place_of_ours(cluster, call_of):
    call = call_of(deployment())
    go(call)
    cluster.trouble("DELETE", "deployments/web", 409, {"message": "the UID does not match"})
    assert isinstance(connector("kubernetes").undo(then(call, "undo")), Working)
    assert cluster.names() == [["deployments", "web"]]


@pytest.mark.parametrize(("status", "body"), [(500, "<html>"), (200, "<html>"), (200, []), (200, {"kind": "x"})])
def test_a_bad_answer_while_looking_is_asked_for_again(cluster, call_of, status, body):
    cluster.takes["Deployment"] = 2
    call = call_of(deployment())
    working = connector("kubernetes").start(call)
    cluster.trouble("GET", "deployments/web", status, body)
    with pytest.raises(Retry):
        connector("kubernetes").last_operation(then(call, "start", external_ref=working.external_ref))
    cluster.trouble("GET", "deployments/web", status, body)
    with pytest.raises(Retry):
        connector("kubernetes").undo(then(call, "undo"))
    assert isinstance(finish(call, working), Done)


def test_looking_finds_what_is_missing_foreign_or_broken(cluster, call_of):
    call = call_of(deployment())
    go(call)
    look = then(call, "describe")
    assert isinstance(connector("kubernetes").describe(look), Done)
    path = DEPLOYMENT
    cluster.takes["Deployment"] = 99
    cluster.objects[path]["status"]["conditions"][0]["status"] = "False"
    with pytest.raises(Failed, match="Available"):
        connector("kubernetes").describe(look)
    cluster.objects[path]["metadata"]["labels"]["greenlane/instance"] = "another"
    with pytest.raises(Failed, match="did not make"):
        connector("kubernetes").describe(look)
    cluster.remove(path)
    with pytest.raises(Missing, match="Deployment web"):
        connector("kubernetes").describe(look)


def test_a_preview_makes_nothing(cluster, call_of):
    call = call_of(*APPLICATION, operation="preview", secrets=["password"])
    assert isinstance(connector("kubernetes").preview(call), Done)
    assert "Deployment web: would be made" in call.lines
    assert cluster.names() == []


def test_a_new_password_is_set_in_the_secret(cluster, call_of):
    call = call_of(*APPLICATION, secrets=["password"])
    go(call)
    fresh = then(call, "rotate", secrets={"password": secrets.generate()})
    assert isinstance(connector("kubernetes").rotate(fresh), Done)
    data = cluster.objects[f"{NAMESPACE}/secrets/login"]["data"]
    assert base64.b64decode(data["password"]).decode() == fresh.secrets["password"]
    with pytest.raises(Failed):
        connector("kubernetes").rotate(call_of(deployment(), operation="rotate"))


@pytest.mark.parametrize("operation", ["start", "update", "undo", "describe", "rotate", "preview"])
def test_who_has_lost_the_lease_does_nothing(cluster, call_of, operation):
    call = call_of(*APPLICATION, secrets=["password"])
    with pytest.raises(LeaseLost):
        getattr(connector("kubernetes"), operation)(then(call, operation, lease=lost_lease()))
    assert cluster.heard == []
