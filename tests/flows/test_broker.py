"""Orders while Redis is full, killed, frozen or full of repeats: it only rings, so nothing hangs on it."""

import os
import re
import signal
import threading
import time
from datetime import timedelta

import celery
import pytest
import redis
from django.conf import settings

import accounts.services as accounts
from config import embedded
from orders.models import Order
from provisioning import sweeper
from tests import servers
from tests.factories import published_offering, wanted_body
from tests.flows.outcomes import RECOVERY_SECONDS, attempts, states, wait_for
from tests.provisioning.engine import step_of

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


# A tenth of a second, and what a busy machine of two cores may take on top.
AT_ONCE_SECONDS = 0.5


class Shop:
    """A web process, a worker and a Redis of their own, and a person who orders."""

    def __init__(self, org, root, processes):
        self.root, self.processes = root, processes
        self.broker = embedded.start_redis(root, throw_away=True)
        self.offering = published_offering(org, steps=[{"name": "Making it", "connector": "bare"}])
        _, self.token = accounts.create_token(
            org.business, label="tests", scopes=["read", "order"], expires_in=timedelta(hours=1), actor=org.business
        )
        self.worker = processes.worker(ready=False, places=2, REDIS_URL=self.broker.url)
        self.web = processes.web(REDIS_URL=self.broker.url)
        self.worker.wait_for_line(" ready.")

    def order(self, name):
        """Order once; give the order and the seconds that the answer took."""
        started = time.monotonic()
        body = wanted_body(self.offering, name=name)
        status, answer = self.web.request("POST", "/api/v1/orders/", body, token=self.token, key=name)
        assert status == 201, answer
        return answer["id"], time.monotonic() - started

    def client(self):
        """Redis, as its administrator reaches it."""
        return redis.Redis.from_url(self.broker.url)


@pytest.fixture
def shop(org, far_side, processes):
    with servers.own_root() as root:
        made = Shop(org, root, processes)
        yield made
        os.kill(made.broker.pid, signal.SIGCONT)


def all_completed():
    return not Order.objects.exclude(state="completed").exists()


def test_a_full_redis_takes_no_ring_and_all_runs_once_it_has_room(shop, far_side):
    shop.order("warm")
    wait_for(all_completed)
    with shop.client() as client:
        client.config_set("maxmemory", "1mb")
        slowest = max(shop.order(f"full-{number}")[1] for number in range(10))
        wait_for(lambda: sweeper.last_pulse().facts["broker"] == "degraded")
        status, ready = shop.web.request("GET", "/readyz?strict=1")
        client.config_set("maxmemory", "0")
    assert (status, ready["broker"]) == (503, "degraded")
    assert slowest < 1
    wait_for(all_completed, 30)
    wait_for(lambda: sweeper.last_pulse().facts["broker"] == "ok")
    assert len(far_side.calls("start")) == 11


def test_killed_with_all_that_waited_redis_comes_back_empty_and_every_order_runs(shop, far_side):
    shop.worker.freeze()
    for number in range(20):
        shop.order(f"queued-{number}")
    with shop.client() as client:
        wait_for(lambda: client.llen("default") >= 19)  # one was sent to whom froze while he listened
    shop.broker.kill()
    shop.broker = embedded.start_redis(shop.root, throw_away=True)
    shop.worker.wake()
    wait_for(all_completed, 60)
    assert len(far_side.calls("start")) == 20


def test_killed_between_commit_and_ring_the_web_has_placed_the_order_all_the_same(shop, far_side):
    shop.order("warm")
    wait_for(all_completed)
    os.kill(shop.broker.pid, signal.SIGSTOP)
    unheard = threading.Thread(target=order_unheard, args=(shop,))
    unheard.start()
    wait_for(Order.objects.filter(name="unheard").exists)
    shop.web.process.kill()
    unheard.join()
    os.kill(shop.broker.pid, signal.SIGCONT)
    shop.web = shop.processes.web(port=shop.web.port, REDIS_URL=shop.broker.url)
    order_id, _ = shop.order("unheard")
    assert str(Order.objects.get(name="unheard").pk) == order_id
    wait_for(all_completed, 40)
    assert len(far_side.calls("start")) == 2


def order_unheard(shop):
    try:
        shop.order("unheard")
    except (OSError, AssertionError):
        return  # the answer may have been on its way


def test_repeated_messages_find_the_step_taken_and_leave_at_once(ordered, processes, far_side):
    worker = processes.worker(places=2)
    order = ordered(("Making it", "bare", {"seconds": 3 * settings.LEASE_SECONDS}))
    wait_for(lambda: far_side.calls("start"))
    step = step_of(order)
    hasty = celery.Celery("hasty", broker=settings.REDIS_URL, broker_transport_options={"visibility_timeout": 1})
    with hasty.connection_for_write() as connection:
        for _ in range(5):
            hasty.send_task("provisioning.tasks.advance", args=[str(step.pk)], queue="default", connection=connection)
            connection.default_channel.qos.restore_visible(num=100)
    wait_for(lambda: states(order) == ["completed"], RECOVERY_SECONDS + 20)
    assert attempts(order) == [(1, "succeeded")]
    assert len(far_side.calls("start")) == 1
    took = [
        float(seconds) for seconds in re.findall(r"advance\[[^]]*\] succeeded in ([0-9.e-]+)s", worker.log.read_text())
    ]
    assert len([seconds for seconds in took if seconds < 0.5]) >= 5, took
    assert step_of(order).attempt == 1
