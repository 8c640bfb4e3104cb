"""A real PostgreSQL for one machine: on loopback only; its superuser has no password, so nobody is it."""

import contextlib
import secrets
import shutil
import signal
import subprocess
from pathlib import Path

from config.embedded.errors import EmbeddedError
from config.embedded.place import Place, choose, postgres_programs
from config.embedded.process import (
    Server,
    end_orphans,
    plain_environment,
    running_pid,
    spawn,
    start_on_a_port,
    still_serves,
)
from config.embedded.records import read_record, write_record

# Passwords only, loopback only.
HBA = "# Written by config/embedded.\nhost all all 127.0.0.1/32 scram-sha-256\n"
# By default everybody may connect to these two, so every role that is delivered might.
CLOSED = (
    "REVOKE ALL ON DATABASE postgres FROM PUBLIC",
    "REVOKE ALL ON DATABASE template1 FROM PUBLIC",
)
OWN = (
    "CREATE ROLE greenlane_owner LOGIN CREATEDB PASSWORD '{greenlane_owner}'",
    "CREATE ROLE greenlane_app LOGIN PASSWORD '{greenlane_app}'",
    "CREATE DATABASE greenlane OWNER greenlane_owner",
    "REVOKE ALL ON DATABASE greenlane FROM PUBLIC",
    "GRANT CONNECT ON DATABASE greenlane TO greenlane_app",
    # From here the owner makes and drops other databases, as the tests do.
    "GRANT CONNECT ON DATABASE postgres TO greenlane_owner",
)
BACK_END = (
    "CREATE ROLE provisioner LOGIN CREATEDB CREATEROLE PASSWORD '{provisioner}'",
    "GRANT CONNECT ON DATABASE postgres TO provisioner",
    # It makes a database for a role it has made, which asks for membership in that role.
    "ALTER ROLE provisioner SET createrole_self_grant = 'set, inherit'",
)
# Setting -> (role, database), by server.
USERS = {
    "postgres": {
        "DATABASE_URL": ("greenlane_app", "greenlane"),
        "DATABASE_OWNER_URL": ("greenlane_owner", "greenlane"),
    },
    "backends/postgres": {"POSTGRESQL_BACKEND_URL": ("provisioner", "postgres")},
}
OPTIONS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "io_method": "sync",  # one machine, small data: three processes fewer
}
# Data of tests need not outlive a power cut.
THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}
# The collation is PostgreSQL's own, so that data do not depend on the machine's.
LOCALE = ("--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8")


def start_postgres(
    root: Path, name: str = "postgres", *, throw_away: bool = False, die_with_parent: bool = False
) -> Server:
    """Start a PostgreSQL, or return the one that runs already.

    Raises EmbeddedError with a plain sentence.

    Args:
        root: the checkout; data lie under its `var/` (or where `place.choose` says).
        name: `postgres` (Greenlane's own) or `backends/postgres` (holds what is delivered).
        throw_away: for tests: not safe against power cuts but fast; implies the next.
        die_with_parent: the server ends when the thread that calls this does.

    """
    place = choose(root)
    make_postgres(place, name, throw_away=throw_away)
    data = place.folder(name) / "data"
    running = find_postgres(place, name)
    if running and still_serves(running, _is_ready):
        return running
    end_orphans(data, "postgres")
    # What this file says is stale, since nothing works in the folder. Its process id may be another
    # program's by now, which PostgreSQL cannot tell and would refuse to start for.
    (data / "postmaster.pid").unlink(missing_ok=True)
    options = OPTIONS | (THROW_AWAY if throw_away else {})
    program = str(postgres_programs(place) / "postgres")

    def launch(port: int) -> Server:
        argv = [program, "-D", str(data), *_options(options | {"port": str(port)})]
        pid = spawn(place, name, argv, death_signal="INT" if die_with_parent or throw_away else "")
        return _server(place, name, pid)

    return start_on_a_port(place, name, launch, _is_ready)


def find_postgres(place: Place, name: str) -> Server | None:
    """Return the server of that name if it runs, ready or not."""
    pid = running_pid(place, name, "postgres")
    return _server(place, name, pid) if pid else None


def make_postgres(place: Place, name: str, *, throw_away: bool = False) -> None:
    """Make the cluster with its roles where there is none: aside, and moved into place when complete."""
    target = place.folder(name)
    if target.exists():
        return
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    data = fresh / "data"
    data.mkdir(mode=0o700)
    place.give(data)
    programs = postgres_programs(place)
    initdb = [str(programs / "initdb"), "-D", str(data), "--username=postgres", "--auth=trust", *LOCALE]
    _run(place, initdb + (["--no-sync"] if throw_away else []))
    (data / "pg_hba.conf").write_text(HBA)
    passwords = {role: secrets.token_urlsafe(24) for role, _database in USERS[name].values()}
    statements = [line.format(**passwords) for line in (*CLOSED, *(OWN if name == "postgres" else BACK_END))]
    # In single-user mode no server listens while the superuser is let in without a password.
    settings = {"exit_on_error": "on"} | (THROW_AWAY if throw_away else {})
    single = [str(programs / "postgres"), "--single", *_options(settings), "-D", str(data), "postgres"]
    _run(place, single, text="\n".join(statements) + "\n")
    write_record(fresh, {"port": 0, "pid": 0, "passwords": passwords})
    fresh.rename(target)


def _server(place: Place, name: str, pid: int) -> Server:
    folder = place.folder(name)
    record = read_record(folder)
    port, passwords = record["port"], record["passwords"]
    urls = {
        setting: f"postgresql://{role}:{passwords[role]}@127.0.0.1:{port}/{database}"
        for setting, (role, database) in USERS[name].items()
    }
    return Server("PostgreSQL", name, folder / "data", "postgres", pid, port, urls, signal.SIGINT)


def _is_ready(server: Server) -> bool:
    """Tell whether the server says so itself, in the eighth line of its pid file."""
    with contextlib.suppress(OSError):
        lines = (server.data / "postmaster.pid").read_text().split("\n")
        return lines[0] == str(server.pid) and len(lines) > 7 and lines[7].strip() == "ready"  # noqa: PLR2004 (its place)
    return False


def _options(settings: dict[str, str]) -> list[str]:
    return [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]


def _run(place: Place, argv: list[str], text: str = "") -> None:
    done = subprocess.run(
        place.command(argv),
        cwd="/",
        env=plain_environment(),
        input=text,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode != 0:
        reason = " / ".join((done.stderr or done.stdout).strip().splitlines()[-3:])
        raise EmbeddedError(f"PostgreSQL could not be set up in {place.base}: {reason}")
