"""What happens to orders when workers are killed, brokers forget or hang, and deployments roll."""

import base64
import json
import os
import signal
import time
from datetime import timedelta
from uuid import uuid4

import pytest
import redis
from django.conf import settings
from psycopg2 import sql

import accounts.services as accounts
from config import embedded
from config.embedded.process import wait_until
from orders.models import Order
from provisioning import sweeper
from provisioning.connectors import connector
from provisioning.connectors.names import name_for
from provisioning.models import StepAttempt
from provisioning.services import reveal
from tests import servers
from tests.factories import published_offering, wanted_body
from tests.flows.outcomes import (
    RECOVERY_SECONDS,
    SLACK_SECONDS,
    another_connection,
    at_work,
    attempts,
    owner_url,
    states,
    wait_for,
)
from tests.provisioning.back_ends import PostgreSQLServer
from tests.provisioning.calls import a_call
from tests.provisioning.engine import fresh, place, run_of, step_of

pytestmark = [pytest.mark.processes, pytest.mark.django_db(transaction=True)]


def check_delivered_once(order):
    """The order is complete, one database is there, and its password opens it."""
    back_end = PostgreSQLServer()
    instance = fresh(order.instance)
    named_after_it = back_end.ask("SELECT datname FROM pg_database WHERE datname LIKE %s", f"%{instance.pk.hex[:8]}")
    assert len(named_after_it) == 1
    password = reveal(instance, actor=instance.owner)["password"]
    assert back_end.use(instance.outputs, password) == [(0,)]
    made = attempts(order)
    assert made[0] == (1, "lost")
    assert made[-1][1] == "succeeded"


@pytest.fixture
def database(ordered):
    """An order of a database; what was delivered goes when the test does."""
    order = ordered(("Making it", "postgresql", {}))
    yield order
    instance = order.instance
    connector("postgresql").undo(a_call("undo", instance_id=instance.pk, instance_name=instance.name))


def test_a_worker_killed_after_the_database_was_made_another_completes_the_order(database, processes):
    name = name_for(database.instance.name, database.instance_id)
    with another_connection(owner_url()) as bystander:
        with bystander.cursor() as cursor:
            # The result waits for the run's row; what is made at the back end does not.
            cursor.execute("SELECT 1 FROM provisioning_run WHERE id = %s FOR UPDATE", [str(run_of(database).pk)])
        workers = [processes.worker(ready=False), processes.worker(ready=False)]
        ready = "SELECT 1 FROM pg_database WHERE datname = %s AND datallowconn"
        wait_for(lambda: PostgreSQLServer().ask(ready, name))
        at_work(*workers).kill()
    wait_for(lambda: states(database) == ["completed"])
    check_delivered_once(database)


def test_a_worker_killed_after_the_back_end_answered_asks_again_under_the_same_key(org, processes, rest):
    register, step = rest
    order = place(published_offering(org, steps=[step]), org.business)
    with another_connection(owner_url()) as bystander:
        with bystander.cursor() as cursor:
            cursor.execute("SELECT 1 FROM provisioning_run WHERE id = %s FOR UPDATE", [str(run_of(order).pk)])
        workers = [processes.worker(ready=False), processes.worker(ready=False)]
        wait_for(register.live)
        at_work(*workers).kill()
    wait_for(lambda: states(order) == ["completed"])
    assert attempts(order) == [(1, "lost"), (2, "succeeded")]
    assert register.live() == {str(order.instance_id): ["disk"]}
    assert register.duplicates == []
    assert register.counts["repeats recognized"] == 1


def test_a_worker_killed_in_the_middle_of_making_it_leaves_nothing_that_acts_later(database, processes):
    name = name_for(database.instance.name, database.instance_id)
    with another_connection(settings.POSTGRESQL_BACKEND_URL) as bystander:
        with bystander.cursor() as cursor:
            cursor.execute(sql.SQL("CREATE ROLE {}").format(sql.Identifier(name)))  # not committed: others wait
        workers = [processes.worker(ready=False), processes.worker(ready=False)]
        waiting = "SELECT 1 FROM pg_stat_activity WHERE application_name LIKE %s AND wait_event_type = 'Lock'"
        wait_for(lambda: PostgreSQLServer().ask(waiting, f"greenlane {database.instance_id.hex} %"))
        at_work(*workers).kill()
    wait_for(lambda: states(database) == ["completed"])
    check_delivered_once(database)


def test_only_the_pool_process_killed_the_same_worker_goes_on(ordered, processes, far_side):
    order = ordered(("Making it", "fake", {"hold": "gate"}))
    worker = processes.worker(ready=False)
    wait_for(StepAttempt.objects.exists)
    place = int(StepAttempt.objects.get().worker.rsplit(":", 1)[1])
    assert place != worker.pid
    os.kill(place, signal.SIGKILL)
    far_side.open("gate")
    wait_for(lambda: states(order) == ["completed"])
    assert worker.alive()
    assert attempts(order) == [(1, "lost"), (2, "succeeded")]
    assert far_side.live() == far_side.live(order.instance_id)


def test_a_worker_killed_before_its_first_sign_of_life_is_missed_all_the_same(ordered, processes, far_side):
    order = ordered(("Making it", "fake", {"hold": "gate"}))
    workers = [processes.worker(ready=False), processes.worker(ready=False)]
    wait_for(lambda: far_side.calls("start"))
    at_work(*workers).kill()
    heartbeat = step_of(order).heartbeat_at
    killed_at = time.monotonic()
    far_side.open("gate")
    wait_for(lambda: states(order) == ["completed"])
    assert heartbeat is None
    assert time.monotonic() - killed_at < RECOVERY_SECONDS + SLACK_SECONDS
    assert attempts(order) == [(1, "lost"), (2, "succeeded")]
    (first_call, second_call) = far_side.calls("start")
    assert first_call == second_call  # the same key, too


def test_a_step_that_kills_its_worker_ends_at_its_maximum_and_others_go_on(ordered, processes, far_side):
    poison = ordered(("Making it", "bare", {"poison": True}, {"max_attempts": 3}))
    first = ordered(("Making it", "bare", {}))
    others = [first, *(place(first.plan.version.offering, first.requester) for _ in range(9))]
    processes.worker(places=2, ready=False)
    wait_for(lambda: states(*others) == ["completed"] * 10)
    wait_for(lambda: states(poison) == ["failed"], 3 * (RECOVERY_SECONDS + SLACK_SECONDS))
    assert len(far_side.calls("start", poison.instance_id)) == 3
    assert len(far_side.calls("undo", poison.instance_id)) == 1
    assert len(far_side.calls("start")) == 13
    assert set(step_of(poison).attempts.values_list("outcome", flat=True)) == {"lost"}


def test_all_that_redis_held_is_forgotten_and_every_order_runs(ordered, processes, far_side):
    first = ordered(("Making it", "bare", {}))
    orders = [first, *(place(first.plan.version.offering, first.requester) for _ in range(19))]
    with redis.Redis.from_url(settings.REDIS_URL) as broker:
        assert wait_until(lambda: broker.llen("default") > 0, 10)
        broker.flushdb()
    processes.worker(places=2, ready=False)
    wait_for(lambda: states(*orders) == ["completed"] * 20, 30)
    assert len(far_side.calls("start")) == 20


def test_asked_to_end_a_worker_finishes_its_step_and_hands_over_the_rest(ordered, processes, far_side):
    first = ordered(("Making it", "bare", {"hold": "gate"}))
    orders = [first, *(place(first.plan.version.offering, first.requester) for _ in range(3))]
    worker = processes.worker()
    wait_for(lambda: far_side.calls("start"))
    worker.process.terminate()
    worker.wait_for_line("Warm shutdown")
    far_side.open("gate")
    assert worker.process.wait(timeout=30) == 0
    assert sorted(states(*orders)) == ["completed", "fulfilling", "fulfilling", "fulfilling"]
    processes.worker(places=2, ready=False)
    wait_for(lambda: states(*orders) == ["completed"] * 4)
    assert len(far_side.calls("start")) == 4
    assert set(StepAttempt.objects.values_list("number", flat=True)) == {1}


def test_killed_a_second_after_it_was_asked_to_end_a_worker_loses_nothing(ordered, processes, far_side):
    first = ordered(("Making it", "bare", {"hold": "gate"}))
    orders = [first, *(place(first.plan.version.offering, first.requester) for _ in range(9))]
    worker = processes.worker(places=2, ready=False)
    wait_for(lambda: len(far_side.calls("start")) == 2)
    worker.process.terminate()
    worker.wait_for_line("Warm shutdown")
    worker.kill()
    far_side.open("gate")
    processes.worker(places=2, ready=False)
    wait_for(lambda: states(*orders) == ["completed"] * 10)
    assert len(far_side.live()) == 10
    lost = StepAttempt.objects.filter(outcome="lost")
    assert lost.count() == 2
    assert StepAttempt.objects.count() == 12


def test_without_redis_and_with_a_hanging_one_orders_are_taken_at_once_and_run_later(org, far_side, processes):
    offering = published_offering(org, steps=[{"name": "Making it", "connector": "bare"}])
    _, token = accounts.create_token(
        org.business, label="tests", scopes=["read", "order"], expires_in=timedelta(hours=1), actor=org.business
    )
    with servers.own_root() as root:
        broker = embedded.start_redis(root, throw_away=True)
        processes.worker(ready=False, REDIS_URL=broker.url)
        web = processes.web(REDIS_URL=broker.url)

        def order_many(kind):
            """Order ten services; give how long the slowest answer took."""
            slowest = 0.0
            for number in range(10):
                started = time.monotonic()
                body = wanted_body(offering, name=f"{kind} {number}")
                status, answer = web.request("POST", "/api/v1/orders/", body, token=token, key=f"{kind}-{number}")
                slowest = max(slowest, time.monotonic() - started)
                assert status == 201, answer
            return slowest

        def all_run():
            return not Order.objects.exclude(state="completed").exists()

        order_many("warm")
        wait_for(all_run)
        broker.stop()
        assert order_many("down") < 1
        assert not all_run()
        wait_for(lambda: sweeper.last_pulse().facts["broker"] == "degraded")
        broker = embedded.start_redis(root, throw_away=True)
        wait_for(all_run, 40)
        os.kill(broker.pid, signal.SIGSTOP)
        assert order_many("hung") < 1
        wait_for(lambda: sweeper.last_pulse().facts["broker"] == "degraded")
        assert sweeper.seconds_since_sweep() < 20
        os.kill(broker.pid, signal.SIGCONT)
        wait_for(all_run, 40)
    assert len(far_side.calls("start")) == 30


def test_whoever_writes_into_redis_can_make_a_worker_look_for_due_work_and_nothing_else(ordered, processes, far_side):
    canary = far_side.folder / "canary"
    orders = [ordered(("Making it", "bare", {})), ordered(("Making it", "manual", {}))]
    pickled = b"cposix\nsystem\n(S'touch %s'\ntR." % str(canary).encode()
    forged = [
        ("provisioning.tasks.advance", "application/json", json.dumps([["' OR 1=1 --"], {}, {}]).encode()),
        ("provisioning.tasks.advance", "application/json", b"[[], {}, {}]"),
        ("provisioning.tasks.advance", "application/json", b"not json"),
        ("provisioning.tasks.advance", "application/x-python-serialize", pickled),
        ("os.system", "application/json", json.dumps([[f"touch {canary}"], {}, {}]).encode()),
    ]
    worker = processes.worker()
    with redis.Redis.from_url(settings.REDIS_URL) as broker:
        for task, content_type, body in forged:
            broker.lpush("default", envelope(task, content_type, body))
    wait_for(
        lambda: states(*orders) == ["completed", "fulfilling"] and step_of(orders[1]).state == "waiting_for_person"
    )
    with redis.Redis.from_url(settings.REDIS_URL) as broker:
        wait_for(lambda: broker.llen("default") == 0)
    assert worker.alive()
    assert not canary.exists()
    told = worker.log.read_text()
    assert "Refusing to deserialize untrusted content of type pickle" in told
    assert "unregistered task of type 'os.system'" in told


def envelope(task, content_type, body):
    """A message as Celery writes it to Redis."""
    return json.dumps(
        {
            "body": base64.b64encode(body).decode(),
            "content-type": content_type,
            "content-encoding": "binary" if "python" in content_type else "utf-8",
            "headers": {"lang": "py", "task": task, "id": str(uuid4()), "argsrepr": "", "kwargsrepr": ""},
            "properties": {
                "body_encoding": "base64",
                "delivery_tag": str(uuid4()),
                "delivery_mode": 2,
                "delivery_info": {"exchange": "", "routing_key": "default"},
            },
        }
    )


def test_where_there_is_no_redis_files_carry_the_messages(ordered, processes, far_side, tmp_path):
    order = ordered(("Making it", "bare", {}))
    worker = processes.worker(REDIS_URL=f"filesystem://{tmp_path / 'broker'}")
    wait_for(lambda: states(order) == ["completed"])
    assert worker.terminate() == 0, worker.tail()
