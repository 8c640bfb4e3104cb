"""When objects in a cluster work, what they give, and whose certificate is believed."""

import base64
import datetime as dt
import ipaddress
import ssl
from functools import partial

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from provisioning.connectors import connector
from provisioning.connectors.base import BackEnd, Done, Failed, Retry, Working
from tests.far_side.kubernetes import TOKEN, KubernetesServer
from tests.provisioning.calls import a_call
from tests.provisioning.kubernetes_calls import (
    APPLICATION,
    NAMESPACE,
    condition,
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


@pytest.mark.parametrize(
    ("kind", "version", "spec"),
    [
        ("Deployment", "apps/v1", {"replicas": 3}),
        ("StatefulSet", "apps/v1", {"replicas": 3}),
        ("DaemonSet", "apps/v1", {}),
        ("Job", "batch/v1", {}),
        ("Pod", "v1", {}),
        ("PersistentVolumeClaim", "v1", {}),
        ("Service", "v1", {"type": "LoadBalancer"}),
    ],
)
def test_each_kind_is_waited_for_until_its_status_says_that_it_works(cluster, call_of, kind, version, spec):
    cluster.takes[kind] = 3
    call = call_of(manifest(kind, version=version, spec=spec))
    working = connector("kubernetes").start(call)
    assert isinstance(working, Working)
    assert isinstance(finish(call, working), Done)


def test_a_custom_resource_is_waited_for_by_the_condition_that_the_step_names(cluster, call_of):
    cluster.takes["Cluster"] = 2
    call = call_of(manifest("Cluster", version="shop.example/v1beta1"), ready={"Cluster": "Healthy"})
    working = connector("kubernetes").start(call)
    assert working.detail == "Cluster web waits for the condition Healthy."
    assert isinstance(finish(call, working), Done)


def test_a_kind_may_be_taken_as_ready_once_it_is_there(cluster, call_of):
    cluster.takes["PersistentVolumeClaim"] = 99
    call = call_of(manifest("PersistentVolumeClaim"), ready={"PersistentVolumeClaim": "exists"})
    assert isinstance(connector("kubernetes").start(call), Done)


@pytest.mark.parametrize(
    ("wanted", "status", "words"),
    [
        (manifest("Job", version="batch/v1"), condition("Failed", "True", "Too often."), "Too often"),
        (manifest("Pod"), {"phase": "Failed", "reason": "Evicted"}, "Evicted"),
        (manifest("PersistentVolumeClaim"), {"phase": "Lost"}, "is Lost"),
        (deployment(), condition("Progressing", "False", "No image."), "No image"),
    ],
)
def test_what_will_never_work_fails_with_the_reason(cluster, call_of, wanted, status, words):
    cluster.takes[wanted["kind"]] = 99
    call = call_of(wanted)
    working = connector("kubernetes").start(call)
    next(found for found in cluster.objects.values() if found["kind"] == wanted["kind"])["status"] = status
    with pytest.raises(Failed, match=words):
        finish(call, working)


def test_a_status_of_what_was_wanted_before_does_not_count(cluster, call_of):
    call = call_of(deployment(replicas=2))
    made = go(call)
    cluster.takes["Deployment"] = 3
    changed = call.inputs | {"manifests": [deployment(replicas=3)]}
    update = then(call, "update", inputs=changed, external_ref=made.external_ref)
    assert isinstance(connector("kubernetes").update(update), Working)


def test_an_output_that_is_not_there_yet_is_waited_for(cluster, call_of):
    cluster.takes["Service"] = 3
    call = call_of(
        manifest("Service", spec={"type": "ClusterIP"}), outputs={"ip": "Service#/status/loadBalancer/ingress/0/ip"}
    )
    working = connector("kubernetes").start(call)
    assert "Waits for Service web to have" in working.detail
    assert finish(call, working).outputs == {"ip": "203.0.113.7"}


@pytest.mark.parametrize("place", ["Secret/login#/data/password", "Nonsense#/a", "Deployment", 7])
def test_outputs_from_secrets_or_from_nowhere_are_refused(cluster, call_of, place):
    with pytest.raises(Failed, match="output") as refused:
        go(call_of(*APPLICATION, outputs={"x": place}, secrets=["password"]))
    assert refused.value.left_nothing
    assert cluster.names() == []


def test_a_password_that_the_cluster_makes_is_waited_for_and_kept_as_a_secret(cluster, call_of):
    call = call_of(manifest("Cluster", version="shop.example/v1beta1"), secret_outputs={"password": "web-app#pass"})
    working = connector("kubernetes").start(call)
    assert working.detail == "Waits for its password."
    data = {"pass": base64.b64encode(b"made-by-the-operator").decode()}
    cluster.make(f"{NAMESPACE}/secrets/web-app", manifest("Secret", "web-app", data=data))
    done = finish(call, working)
    assert done.secrets == {"password": "made-by-the-operator"}
    assert "made-by-the-operator" not in repr(done.outputs) + "".join(call.lines)


@pytest.mark.parametrize("data", [{"pass": "%%%"}, {"pass": "/w=="}])
def test_what_is_no_text_is_no_password(cluster, call_of, data):
    cluster.make(f"{NAMESPACE}/secrets/web-app", manifest("Secret", "web-app", data=data))
    with pytest.raises(Failed, match="holds no text"):
        go(call_of(deployment(), secret_outputs={"password": "web-app#pass"}))


@pytest.mark.parametrize("place", ["../../pods/web#x", "web-app", 7, ""])
def test_passwords_from_anywhere_else_are_refused(cluster, call_of, place):
    with pytest.raises(Failed, match="secret-name#key"):
        connector("kubernetes").start(call_of(deployment(), secret_outputs={"password": place}))
    assert cluster.names() == []


def test_a_cluster_whose_authority_is_named_is_trusted_and_another_is_not(settings, tmp_path):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    certificate, tls = self_signed(tmp_path)
    server = KubernetesServer(tls=tls)
    try:
        inputs = {"namespace": "shop", "manifests": [deployment()]}
        trusting = BackEnd("tls", server.address, {"ca_certificate": certificate}, {"token": TOKEN})
        assert isinstance(connector("kubernetes").start(a_call(inputs=inputs, back_end=trusting)), Working | Done)
        doubting = BackEnd("doubt", server.address, {}, {"token": TOKEN})
        with pytest.raises(Retry, match="certificate"):
            connector("kubernetes").start(a_call(inputs=inputs, back_end=doubting))
    finally:
        server.close()


def self_signed(folder):
    """Make a certificate for 127.0.0.1; give it as PEM, and the server's side of it."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "cluster")])
    now = dt.datetime.now(dt.UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(7)
        .not_valid_before(now - dt.timedelta(days=1))
        .not_valid_after(now + dt.timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(serialization.Encoding.PEM)
    both = folder / "server.pem"
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    both.write_bytes(secret + pem)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(both)
    return pem.decode(), context
