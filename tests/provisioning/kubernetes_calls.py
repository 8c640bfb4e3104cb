"""Calls of the Kubernetes connector, and manifests to call it with."""

from provisioning.connectors import connector
from provisioning.connectors.base import BackEnd, Working
from tests.far_side.kubernetes import TOKEN
from tests.provisioning.calls import a_call, again

NAMESPACE = "/api/v1/namespaces/shop"
DEPLOYMENT = "/apis/apps/v1/namespaces/shop/deployments/web"


def manifest(kind, name="web", version="v1", **more):
    return {"apiVersion": version, "kind": kind, "metadata": {"name": name}, **more}


def deployment(name="web", replicas=2):
    return manifest("Deployment", name, "apps/v1", spec={"replicas": replicas, "template": {"spec": {"a": ["b"]}}})


def condition(kind, status, message):
    """The status of an object that says one thing of what was last asked for."""
    return {"observedGeneration": 9, "conditions": [{"type": kind, "status": status, "message": message}]}


SECRET = manifest("Secret", "login", stringData={"password": {"$secret": "password"}, "user": "shop"})
APPLICATION = [SECRET, deployment(), manifest("Service", spec={"type": "LoadBalancer"})]


def kubernetes_call(cluster, *manifests, operation="start", **inputs):
    """Make a call for some manifests in the namespace `shop`."""
    back_end = BackEnd("cluster", cluster.address, {}, {"token": TOKEN})
    return a_call(operation, inputs={"namespace": "shop", "manifests": list(manifests)} | inputs, back_end=back_end)


def then(call, operation=None, **changes):
    return again(call, operation, back_end=call.back_end, **changes)


def finish(call, answer):
    for _ in range(20):
        if not isinstance(answer, Working):
            return answer
        polled = then(call, call.operation, external_ref=answer.external_ref or call.external_ref)
        answer = connector("kubernetes").last_operation(polled)
    raise AssertionError("It has no end.")


def go(call):
    return finish(call, getattr(connector("kubernetes"), call.operation)(call))
