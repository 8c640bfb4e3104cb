"""What a delivered Redis user may and may not do."""

import hashlib
import subprocess
from pathlib import Path

import pytest
import redis

from config.embedded.process import free_port, wait_until
from provisioning.connectors import connector, redis_acl
from provisioning.connectors.base import Retry, Working
from tests.provisioning.back_ends import RedisServer
from tests.provisioning.calls import a_call, again


@pytest.fixture
def back():
    return connector("redis_acl")


@pytest.fixture
def back_end():
    return RedisServer()


@pytest.fixture
def call(back, back_end):
    made = a_call(instance_name="Session store")
    yield made
    answer = back.undo(again(made, "undo"))
    while isinstance(answer, Working):
        answer = back.last_operation(again(made, external_ref=answer.external_ref))


@pytest.fixture
def delivered(back, back_end, call):
    """The person's connection, and the prefix of his keys."""
    outputs = back.start(call).outputs
    with back_end.client(outputs, call.secrets["password"]) as client:
        yield client, outputs["key_prefix"]


def test_the_user_works_with_keys_and_channels_of_his_prefix(delivered):
    client, prefix = delivered
    client.hset(f"{prefix}session", "user", "maria")
    client.expire(f"{prefix}session", 60)
    with client.pipeline(transaction=True) as pipeline:
        pipeline.incr(f"{prefix}visits").incr(f"{prefix}visits")
        assert pipeline.execute() == [1, 2]
    script = "return redis.call('GET', KEYS[1])"
    assert client.eval(script, 1, f"{prefix}visits") == "2"
    assert client.evalsha(client.script_load(script), 1, f"{prefix}visits") == "2"
    assert client.publish(f"{prefix}news", "hello") == 0
    client.xadd(f"{prefix}log", {"what": "seen"})
    assert client.delete(f"{prefix}session", f"{prefix}visits", f"{prefix}log") == 3


@pytest.mark.parametrize(
    "command",
    [
        "GET other:key",
        "SET other:key 1",
        "DEL other:key",
        "RENAME {prefix}a other:key",
        "EVAL return(redis.call('GET','other:key')) 0",
        "PUBLISH other:news x",
        "SUBSCRIBE other:news",
        "KEYS *",
        "SCAN 0",
        "RANDOMKEY",
        "DBSIZE",
        "PUBSUB CHANNELS",
        "FLUSHALL",
        "FLUSHDB",
        "SELECT 1",
        "MOVE {prefix}a 1",
        "COPY {prefix}a {prefix}b DB 1",
        "SWAPDB 0 1",
        "CONFIG GET *",
        "ACL LIST",
        "ACL SETUSER x on",
        "CLIENT LIST",
        "CLIENT KILL ID 1",
        "MONITOR",
        "DEBUG SLEEP 0",
        "SHUTDOWN",
        "INFO",
        "SAVE",
        "BGSAVE",
        "REPLICAOF NO ONE",
        "SCRIPT FLUSH",
        "FUNCTION FLUSH",
        "SORT {prefix}a BY other:*",
        "MIGRATE 127.0.0.1 1 x 0 1",
        "RESTORE {prefix}a 0 x",
        "SLOWLOG GET",
        "LATENCY LATEST",
        "MODULE LIST",
        "MEMORY STATS",
    ],
)
def test_nothing_beyond_the_prefix_and_nothing_of_the_server_is_allowed(delivered, command):
    client, prefix = delivered
    with pytest.raises(redis.ResponseError, match=r"no permissions|can't access|not allowed|[Uu]nknown"):
        client.execute_command(*command.format(prefix=prefix).split())


def test_the_server_keeps_a_hash_of_the_password_and_writes_it_to_its_file(back_end, call, delivered):
    name = delivered[1].removesuffix(":")
    hashed = hashlib.sha256(call.secrets["password"].encode()).hexdigest()
    kept = Path(back_end.admin.config_get("aclfile")["aclfile"]).read_text()
    line = next(line for line in kept.splitlines() if line.split()[1] == name)
    assert f"#{hashed}" in line
    assert call.secrets["password"] not in kept + " ".join(back_end.admin.acl_list())


def test_undoing_ends_the_connections(back, call, delivered):
    client, _ = delivered
    client.ping()
    back.undo(again(call, "undo"))
    with pytest.raises(redis.AuthenticationError):
        client.ping()


def test_many_keys_are_deleted_batch_by_batch(back, back_end, call, delivered, monkeypatch):
    client, prefix = delivered
    client.mset({f"{prefix}{number}": "x" for number in range(3000)})
    back_end.admin.set("other:key", "stays")
    monkeypatch.setattr(redis_acl, "PURGE_SECONDS", 0.0)
    answer, calls = back.undo(again(call, "undo")), 1
    assert isinstance(answer, Working)
    while isinstance(answer, Working):
        answer = back.last_operation(again(call, "undo", external_ref=answer.external_ref))
        calls += 1
    assert calls > 3
    assert back_end.things(call) == []
    assert back_end.admin.get("other:key") == "stays"
    back_end.admin.delete("other:key")


def test_a_server_that_cannot_be_reached_is_tried_again_later(back, settings):
    settings.REDIS_BACKEND_URL = "redis://admin:hush@127.0.0.1:1/0"
    with pytest.raises(Retry, match="cannot be reached") as refused:
        back.start(a_call())
    assert "hush" not in str(refused.value)


@pytest.fixture
def redis_without_a_file_for_users(back_end, tmp_path):
    """A Redis of this test alone, as it starts with no configuration; give its address."""
    program = back_end.admin.info("server")["executable"]
    port = free_port()
    argv = [program, "--port", str(port), "--bind", "127.0.0.1", "--save", ""]
    with subprocess.Popen(argv, cwd=tmp_path, stdout=subprocess.DEVNULL) as server:
        with redis.Redis(port=port) as client:
            wait_until(lambda: answers(client), 10)
        yield f"redis://127.0.0.1:{port}/0"
        server.terminate()


def answers(client):
    try:
        return client.ping()
    except redis.ConnectionError:
        return False


def test_a_server_without_a_file_for_its_users_still_delivers(back, settings, redis_without_a_file_for_users):
    settings.REDIS_BACKEND_URL = redis_without_a_file_for_users
    call = a_call()
    assert back.start(call).outputs["username"]
    assert any("no file for its users" in line for line in call.lines)
