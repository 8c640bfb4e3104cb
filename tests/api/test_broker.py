"""Ordering while the broker hangs or is gone: a real web process, and a socket that never answers."""

import http.client
import json
import os
import socket
import subprocess
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from uuid import uuid4

import pytest
from django.conf import settings
from django.db import connection

from orders.models import Order
from provisioning.models import Step
from tests.factories import published_offering, wanted_body

ROOT = Path(settings.BASE_DIR)
pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@contextmanager
def web_process(broker_port):
    """Run the web process as in production, as the application role, with its broker at `broker_port`."""
    port, database = free_port(), os.environ["DATABASE_URL"].rpartition("/")[0]
    environ = os.environ | {
        "DATABASE_URL": f"{database}/{connection.settings_dict['NAME']}",
        "REDIS_URL": f"redis://127.0.0.1:{broker_port}/0",
        "PORT": str(port),
        "LOG_LEVEL": "INFO",
    }
    command = [sys.executable, "-m", "gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}", "--workers", "1"]
    process = subprocess.Popen(command, cwd=ROOT, env=environ, stderr=subprocess.DEVNULL)
    try:
        deadline = time.monotonic() + 30
        while not is_up(port):
            assert process.poll() is None, "the web process has ended"
            assert time.monotonic() < deadline, "the web process does not answer"
            time.sleep(0.1)
        yield port
    finally:
        process.terminate()
        process.wait(timeout=30)


def is_up(port):
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=5)
    try:
        line.request("GET", "/healthz")
        return line.getresponse().status == 200
    except OSError:
        return False
    finally:
        line.close()


def order(port, token, body):
    """Place an order; give the seconds it took, the status and the body."""
    line = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    headers = {"Authorization": token, "Idempotency-Key": str(uuid4()), "Content-Type": "application/json"}
    began = time.monotonic()
    try:
        line.request("POST", "/api/v1/orders/", json.dumps(body), headers)
        answer = line.getresponse()
        return time.monotonic() - began, answer.status, json.loads(answer.read())
    finally:
        line.close()


def test_orders_are_taken_at_once_while_the_broker_hangs_and_when_it_is_gone(org, api):
    offering = published_offering(org)
    token = api("business")._credentials["HTTP_AUTHORIZATION"]
    hole = socket.create_server(("127.0.0.1", 0))
    hole.settimeout(10)
    with hole, web_process(hole.getsockname()[1]) as port:
        order(port, token, wanted_body(offering, name="warm-up"))
        hanging = [order(port, token, wanted_body(offering, name=f"hang-{number}")) for number in range(5)]
        caller, _ = hole.accept()
        assert caller.recv(10), "the bell did try to ring, beside the request"
        caller.close()
        hole.close()
        gone = [order(port, token, wanted_body(offering, name=f"gone-{number}")) for number in range(5)]
    for seconds, status, body in hanging + gone:
        assert (status, body["state"]) == (201, "fulfilling")
        assert seconds < 2, "a socket's time-out would take at least as long"
    assert median(seconds for seconds, _, _ in hanging + gone) < 0.5
    assert Order.objects.count() == 11
    assert Step.objects.filter(state=Step.State.READY).count() == 11, "whichever worker comes finds them"
