"""A real PostgreSQL for one machine: made once, on loopback only, its superuser without a password and unreachable."""

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
    free_port,
    is_free,
    last_lines,
    plain_environment,
    spawn,
    wait_until,
    works_in,
)
from config.embedded.records import read_record, write_record

HBA = (
    "# Written by config/embedded: passwords only, loopback only.\nhost all all 127.0.0.1/32 scram-sha-256\n"
)
# A new database lets everybody connect; these two would be a way in for every role that is delivered.
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
# Setting name -> (role, database), by server.
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


def start_postgres(
    root: Path, name: str = "postgres", *, throw_away: bool = False, die_with_parent: bool = False
) -> Server:
    """Start a PostgreSQL, or return the one that runs already.

    Args:
        root: the checkout; data lie under its `var/` (or where `place.choose` says).
        name: `postgres` (Greenlane's own) or `backends/postgres` (holds what is delivered).
        throw_away: trade safety against power cuts for speed.
        die_with_parent: the server ends when the calling thread's process does.

    Raises EmbeddedError with a plain sentence.
    """
    place = choose(root)
    make_postgres(place, name, throw_away=throw_away)
    data = place.folder(name) / "data"
    running = find_postgres(place, name)
    if running:
        if not wait_until(lambda: _is_ready(data, running.pid), 60):
            raise EmbeddedError(f"PostgreSQL runs but does not become ready; see {_log(place, name)}.")
        return running
    end_orphans(data, "postgres")
    # What is in this file now is stale: nothing works in the folder. Its process id may be another program's
    # by now, which PostgreSQL cannot tell and would refuse to start for.
    (data / "postmaster.pid").unlink(missing_ok=True)
    for _attempt in range(5):
        server = _try_start(place, name, throw_away=throw_away, die_with_parent=die_with_parent)
        if server:
            return server
    raise EmbeddedError(f"PostgreSQL found no port to listen on; see {_log(place, name)}.")


def make_postgres(place: Place, name: str, *, throw_away: bool = False) -> None:
    """Make the cluster with its roles if it is not there: in a folder aside, moved into place when complete."""
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
    locale = ["--locale=C.UTF-8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--encoding=UTF8"]
    no_sync = ["--no-sync"] if throw_away else []
    _run(
        place,
        [str(programs / "initdb"), "-D", str(data), "--username=postgres", "--auth=trust", *locale, *no_sync],
    )
    hba = data / "pg_hba.conf"
    hba.write_text(HBA)
    passwords = {role: secrets.token_urlsafe(24) for role, _database in USERS[name].values()}
    statements = [line.format(**passwords) for line in (*CLOSED, *(OWN if name == "postgres" else BACK_END))]
    settings = {"exit_on_error": "on"} | (THROW_AWAY if throw_away else {})
    single = [str(programs / "postgres"), "--single", *_options(settings), "-D", str(data), "postgres"]
    _run(place, single, text="\n".join(statements) + "\n")
    write_record(fresh, {"port": 0, "passwords": passwords})
    fresh.rename(target)


def _try_start(place: Place, name: str, *, throw_away: bool, die_with_parent: bool) -> Server | None:
    folder = place.folder(name)
    data = folder / "data"
    record = read_record(folder)
    record["port"] = free_port(record["port"])
    write_record(folder, record)
    options = OPTIONS | {"port": str(record["port"])} | (THROW_AWAY if throw_away else {})
    argv = [str(postgres_programs(place) / "postgres"), "-D", str(data), *_options(options)]
    process = spawn(place, argv, log=_log(place, name), death_signal="INT" if die_with_parent else "")
    ready = wait_until(lambda: process.poll() is not None or _is_ready(data, process.pid), 60)
    if ready and process.poll() is None:
        return _server(place, name, process.pid, process)
    if process.poll() is None:
        process.kill()
        raise EmbeddedError(f"PostgreSQL did not become ready within a minute; see {_log(place, name)}.")
    if is_free(record["port"]):
        raise EmbeddedError(f"PostgreSQL did not start: {last_lines(_log(place, name))}")
    return None  # another program was quicker on that port


def find_postgres(place: Place, name: str) -> Server | None:
    """Return the server of that name if it runs, without waiting for it."""
    data = place.folder(name) / "data"
    with contextlib.suppress(OSError, ValueError):
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        if works_in(pid, data, "postgres"):
            return _server(place, name, pid)
    return None


def _server(place: Place, name: str, pid: int, process: "subprocess.Popen[bytes] | None" = None) -> Server:
    folder = place.folder(name)
    record = read_record(folder)
    urls = {
        setting: f"postgresql://{role}:{record['passwords'][role]}@127.0.0.1:{record['port']}/{database}"
        for setting, (role, database) in USERS[name].items()
    }
    return Server(name, folder / "data", "postgres", pid, record["port"], urls, signal.SIGINT, process)


def _is_ready(data: Path, pid: int) -> bool:
    """Tell whether the server says so itself, in the last line of its pid file."""
    try:
        lines = (data / "postmaster.pid").read_text().split("\n")
    except OSError:
        return False
    return lines[0].strip() == str(pid) and lines[7:8] != [] and lines[7].strip() == "ready"


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


def _log(place: Place, name: str) -> Path:
    return place.root / "var" / "log" / f"{name.replace('/', '-')}.log"
