"""Orders that take a job of AWX and objects in a cluster, through the engine: what is left there in the end."""

import base64

import pytest

import catalog.services as catalog
import orders.services as orders
from provisioning.connectors import connector
from provisioning.models import Secret, StepLine
from provisioning.services import claims, execution, reveal
from tests.factories import published_offering
from tests.far_side.awx import TOKEN as AWX_TOKEN
from tests.far_side.awx import AwxServer
from tests.far_side.kubernetes import TOKEN as CLUSTER_TOKEN
from tests.far_side.kubernetes import KubernetesServer
from tests.provisioning.engine import drive, fresh, lose, place, run_of, step_of

MAKE, REMOVE = 7, 8
DEPLOYMENT = {
    "apiVersion": "apps/v1",
    "kind": "Deployment",
    "metadata": {"name": "shop-${instance.id}"},
    "spec": {
        "replicas": "${parameters.storage}",
        "template": {
            "spec": {
                "containers": [
                    {
                        "name": "shop",
                        "env": [
                            {"name": "HOST", "value": "${outputs.address}"},
                            {
                                "name": "PASSWORD",
                                "valueFrom": {"secretKeyRef": {"name": "login-${instance.id}", "key": "password"}},
                            },
                        ],
                    }
                ]
            }
        },
    },
}
LOGIN = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "login-${instance.id}"},
    "stringData": {"password": {"$secret": "password"}},
}
STEPS = [
    {
        "name": "Making the host",
        "connector": "awx",
        "back_end": "awx",
        "inputs": {
            "template": MAKE,
            "undo_template": REMOVE,
            "extra_vars": {"size": "${parameters.storage}", "owner": "${requester.username}"},
            "outputs": ["address"],
        },
    },
    {
        "name": "Starting it",
        "connector": "kubernetes",
        "back_end": "cluster",
        "inputs": {
            "namespace": "shop",
            "secrets": ["password"],
            "manifests": [LOGIN, DEPLOYMENT],
            "outputs": {"replicas": "Deployment#/spec/replicas"},
        },
    },
]


@pytest.fixture
def awx(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    server = AwxServer()
    server.add_template(MAKE, "Make a host")
    server.add_template(REMOVE, "Take a host away")
    server.artifacts[MAKE] = {"address": "10.0.0.7"}
    yield server
    server.close()


@pytest.fixture
def cluster(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    server = KubernetesServer()
    server.takes["Deployment"] = 2
    yield server
    server.close()


@pytest.fixture
def offering(org, awx, cluster):
    """An offering whose workflow takes both."""
    for slug, kind, address, token in [
        ("awx", "awx", awx.address, AWX_TOKEN),
        ("cluster", "kubernetes", cluster.address, CLUSTER_TOKEN),
    ]:
        catalog.save_back_end(
            None,
            slug=slug,
            name=slug,
            connector=kind,
            address=address,
            config={},
            credentials={"token": token},
            limit=None,
            is_active=True,
            actor=org.curator,
        )
    return published_offering(org, "shop", steps=STEPS)


def change(order, person, action, **wanted):
    placed = orders.place_change(orders.WantedChange(action, str(order.instance_id), **wanted), actor=person)
    drive()
    return fresh(placed.order)


def test_a_service_is_made_by_both_changed_and_removed_without_a_rest(offering, org, awx, cluster):
    order = place(offering, org.business)
    drive()
    order = fresh(order)
    assert order.state == "completed"
    assert order.instance.outputs == {"address": "10.0.0.7", "replicas": 10}
    assert awx.variables(awx.launched(MAKE)[0]).items() >= {"size": 10, "owner": "business"}.items()
    made = cluster.objects[f"/apis/apps/v1/namespaces/shop/deployments/shop-{order.instance_id}"]
    assert made["spec"]["template"]["spec"]["containers"][0]["env"][0] == {"name": "HOST", "value": "10.0.0.7"}
    password = reveal(order.instance, actor=org.business)["password"]
    login = cluster.objects[f"/api/v1/namespaces/shop/secrets/login-{order.instance_id}"]
    assert base64.b64decode(login["data"]["password"]).decode() == password

    assert change(order, org.business, "modify", parameters={"storage": 20}).state == "completed"
    assert [awx.variables(job)["size"] for job in awx.launched(MAKE)] == [10, 20]
    made = cluster.objects[f"/apis/apps/v1/namespaces/shop/deployments/shop-{order.instance_id}"]
    assert (made["spec"]["replicas"], fresh(order.instance).outputs["replicas"]) == (20, 20)

    assert change(order, org.business, "delete").state == "completed"
    assert cluster.names() == []
    assert [awx.variables(job)["size"] for job in awx.launched(REMOVE)] == [20]
    texts = "\n".join(StepLine.objects.values_list("text", flat=True))
    assert texts
    assert not [text for text in (AWX_TOKEN, CLUSTER_TOKEN, password) if text in texts]


def test_what_the_cluster_refuses_has_the_host_taken_away(offering, org, awx, cluster):
    cluster.trouble("PATCH", "/deployments/", 422, {"message": "spec.selector is required"})
    order = place(offering, org.business)
    drive()
    order = fresh(order)
    assert (order.state, run_of(order).state) == ("failed", "compensated")
    assert "spec.selector is required" in step_of(order, "Starting it").error
    assert cluster.names() == []
    assert len(awx.launched(REMOVE)) == 1
    assert not Secret.objects.filter(in_force_at__isnull=False).exists()


def test_a_worker_lost_between_a_launch_and_its_result_launches_nothing_twice(offering, org, awx, cluster):
    order = place(offering, org.business)
    step = claims.claim()
    with_call = execution.calls.call_for(step, execution.Lease(30.0), [])
    connector("awx").start(with_call)
    lose(step)
    drive()
    assert fresh(order).state == "completed"
    assert len(awx.launched(MAKE)) == 1


def test_a_change_that_the_cluster_refuses_is_taken_back_at_both(offering, org, awx, cluster):
    order = place(offering, org.business)
    drive()
    cluster.trouble("PATCH", "/deployments/", 422, {"message": "quota exceeded"})
    assert change(order, org.business, "modify", parameters={"storage": 20}).state == "failed"
    assert fresh(order.instance).state == "active"
    assert [awx.variables(job)["size"] for job in awx.launched(MAKE)] == [10, 20, 10]
    made = cluster.objects[f"/apis/apps/v1/namespaces/shop/deployments/shop-{order.instance_id}"]
    assert made["spec"]["replicas"] == 10
