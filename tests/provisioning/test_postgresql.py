"""What a delivered database and its user may and may not do."""

import os
import signal
import threading
import time
from contextlib import closing, contextmanager

import psycopg2
import pytest
from psycopg2 import extensions

from config import embedded
from provisioning.connectors import connector
from provisioning.connectors.base import Failed, Lease, LeaseLost, Retry
from tests import servers
from tests.provisioning.back_ends import PostgreSQLServer
from tests.provisioning.calls import a_call, again, lost_lease


@pytest.fixture
def back():
    return connector("postgresql")


@pytest.fixture
def back_end():
    return PostgreSQLServer()


@pytest.fixture
def call(back):
    made = a_call(inputs={"connection_limit": 3, "statement_timeout_seconds": 7})
    yield made
    back.undo(again(made, "undo"))


@pytest.fixture
def account(back, call):
    """What the person needs to sign in, once it is delivered."""
    outputs = back.start(call).outputs
    return {
        "user": outputs["username"],
        "dbname": outputs["database"],
        "password": call.secrets["password"],
    }


def test_the_credentials_open_the_new_database_and_no_other(back, back_end, account):
    other = a_call(instance_name="Other DB")
    try:
        delivered = back.start(other).outputs["database"]
        for database in ("postgres", "template1", "template0", delivered):
            with pytest.raises(psycopg2.OperationalError):
                back_end.ask("SELECT 1", **account | {"dbname": database})
        assert back_end.ask("SELECT current_database()", **account) == [(account["dbname"],)]
    finally:
        back.undo(again(other, "undo"))


def test_the_user_has_the_limits_of_the_plan_and_no_rights_over_the_server(back_end, account):
    row = back_end.ask(
        "SELECT rolsuper, rolcreatedb, rolcreaterole, rolreplication, rolbypassrls, rolconnlimit"
        " FROM pg_roles WHERE rolname = %s",
        account["user"],
    )
    assert row == [(False, False, False, False, False, 3)]
    assert back_end.ask("SHOW statement_timeout", **account) == [("7s",)]


def test_the_database_is_the_users_own_and_closed_to_everybody_else(back_end, account):
    row = back_end.ask(
        "SELECT pg_get_userbyid(datdba), has_database_privilege('public', oid, 'CONNECT'),"
        " has_database_privilege('public', oid, 'TEMP'), datallowconn FROM pg_database WHERE datname = %s",
        account["dbname"],
    )
    assert row == [(account["user"], False, False, True)]


def test_the_server_holds_a_verifier_and_never_saw_the_password(back, call, monkeypatch):
    statements = []
    original = psycopg2.extensions.cursor.execute

    class Listening(psycopg2.extensions.cursor):
        def execute(self, statement, values=None):
            text = statement if isinstance(statement, str) else statement.as_string(self)
            statements.append((text, values))
            return original(self, statement, values)

    connect = psycopg2.connect
    monkeypatch.setattr(psycopg2, "connect", lambda *a, **k: connect(*a, **k | {"cursor_factory": Listening}))
    back.start(call)
    assert any("SCRAM-SHA-256$" in text for text, _ in statements)
    assert not [pair for pair in statements if call.secrets["password"] in repr(pair)]


@pytest.fixture(scope="module")
def own_server():
    """A back end of these tests alone, which they may spoil and stop."""
    with servers.own_root() as root:
        yield embedded.start_postgres(root, "backends/postgres", throw_away=True)


def test_a_server_whose_databases_everybody_may_open_is_refused(back, own_server, settings):
    settings.POSTGRESQL_BACKEND_URL = own_server.url
    spoiled = PostgreSQLServer()
    spoiled.ask('CREATE DATABASE "left Open"')
    try:
        call = a_call()
        with pytest.raises(Failed, match=r'may connect to "left Open".*REVOKE CONNECT'):
            back.start(call)
        assert spoiled.things(call) == []
    finally:
        spoiled.ask('DROP DATABASE "left Open"')


def test_a_delivered_database_that_its_owner_opened_to_all_hinders_nobody(back, back_end, call, account):
    back_end.ask(f"GRANT CONNECT ON DATABASE {account['dbname']} TO PUBLIC", **account)
    other = a_call(instance_name="Other DB")
    assert back.start(other).outputs
    back.undo(again(other, "undo"))


def test_undoing_ends_the_sessions_that_are_open(back, back_end, call, account):
    with closing(psycopg2.connect(extensions.make_dsn(back_end.url, **account))) as open_session:
        back.undo(again(call, "undo"))
        with pytest.raises(psycopg2.OperationalError), open_session.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert back_end.things(call) == []


def test_a_new_password_ends_no_session(back, back_end, call, account):
    with closing(psycopg2.connect(extensions.make_dsn(back_end.url, **account))) as open_session:
        back.rotate(again(call, "rotate", secrets={"password": "another-password"}))
        with open_session.cursor() as cursor:
            cursor.execute("SELECT 1")
            assert cursor.fetchall() == [(1,)]


def test_a_database_whose_owner_changed_its_comment_is_still_ours(back, back_end, call, account):
    back_end.ask(f"COMMENT ON DATABASE {account['dbname']} IS 'mine'", **account)
    assert back.start(again(call)).outputs["database"] == account["dbname"]
    back.undo(again(call, "undo"))
    assert back_end.things(call) == []


@pytest.mark.parametrize(
    "inputs",
    [{"connection_limit": limit} for limit in (0, -1, "20", True, 1.5, "1; DROP ROLE x", 10**9)]
    + [{"statement_timeout_seconds": seconds} for seconds in (-1, "7s", [])],
)
def test_a_limit_that_is_no_sensible_number_is_refused_before_anything_is_made(back, back_end, inputs):
    call = a_call(inputs=inputs)
    with pytest.raises(Failed, match="must be a whole number"):
        back.start(call)
    assert back_end.things(call) == []


@contextmanager
def a_statement_of_an_earlier_attempt(back_end, call):
    """Leave a transaction open that a killed worker's session would hold: the role, not yet committed."""
    name = f"campaign_db_{call.instance_id.hex[:8]}"
    label = f"greenlane {call.instance_id.hex} {call.fencing_token}"
    with closing(psycopg2.connect(back_end.url, application_name=label)) as session:
        with session.cursor() as cursor:
            cursor.execute(f"CREATE ROLE {name}")
        yield session


def test_what_an_earlier_attempt_left_running_is_ended_by_the_next(back, back_end, call):
    with a_statement_of_an_earlier_attempt(back_end, call) as ghost:
        started = time.monotonic()
        outputs = back.start(again(call)).outputs
        assert time.monotonic() - started < 3
        with pytest.raises(psycopg2.Error), ghost.cursor() as cursor:
            cursor.execute("SELECT 1")
    assert back_end.use(outputs, call.secrets["password"]) == [(0,)]


def test_an_attempt_stops_waiting_for_the_server_as_soon_as_its_lease_is_lost(back, back_end, call):
    lease = Lease(30.0)
    # The ghost carries a larger token here: it is a later attempt that this one may not end.
    with a_statement_of_an_earlier_attempt(back_end, again(call)):
        threading.Timer(0.5, lease.lose).start()
        started = time.monotonic()
        with pytest.raises(LeaseLost):
            back.start(again(call, lease=lease, fencing_token=1))
        assert time.monotonic() - started < 2


def test_an_attempt_that_waits_too_long_is_tried_again_later(back, back_end, call):
    slow = again(call, fencing_token=1)
    slow._ends_at = time.monotonic() + 1
    with a_statement_of_an_earlier_attempt(back_end, again(call)), pytest.raises(Retry):
        back.start(slow)


def test_a_server_that_cannot_be_reached_is_tried_again_later(back, settings):
    settings.POSTGRESQL_BACKEND_URL = "postgresql://provisioner:hush@127.0.0.1:1/postgres"
    with pytest.raises(Retry, match="cannot be reached") as refused:
        back.start(a_call())
    assert "hush" not in str(refused.value)


def test_a_wrong_password_of_the_provisioner_is_said_without_it(back, settings):
    settings.POSTGRESQL_BACKEND_URL = extensions.make_dsn(settings.POSTGRESQL_BACKEND_URL, password="hush-hush")
    with pytest.raises(Failed, match="refuses the password") as refused:
        back.start(a_call())
    assert "hush-hush" not in str(refused.value)


def test_a_server_that_hangs_holds_nobody_longer_than_his_time(back, own_server, settings):
    settings.POSTGRESQL_BACKEND_URL = own_server.url
    os.kill(own_server.pid, signal.SIGSTOP)  # the kernel still takes connections; nobody answers them
    try:
        call = a_call()
        call._ends_at = time.monotonic() + 1
        started = time.monotonic()
        with pytest.raises(Retry, match="did not answer in time"):
            back.start(call)
        assert time.monotonic() - started < 2
    finally:
        os.kill(own_server.pid, signal.SIGCONT)


def test_undo_does_nothing_once_the_lease_is_lost(back, back_end, call, account):
    with pytest.raises(LeaseLost):
        back.undo(again(call, "undo", lease=lost_lease()))
    assert len(back_end.things(call)) == 2
