"""Starting, finding and ending one server process. A server is known by its program and its working folder.

A process id alone proves nothing: after a crash another program may have it. Both PostgreSQL and Redis work
inside their data folder, so /proc tells which processes really belong to that folder.
"""

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from random import SystemRandom
from typing import IO

from config.embedded.errors import EmbeddedError
from config.embedded.place import Place
from config.embedded.records import read_record, write_record

START_SECONDS = 60
LARGEST_LOG = 10 * 1024 * 1024  # bytes; an older log is put aside once
# Below the ports of outgoing connections, so that a port is still free at the next start.
PORTS = range(20000, 32000)
# The servers started by this process: it must take note of their end, or they stay zombies.
_children: dict[int, subprocess.Popen[bytes]] = {}


@dataclass
class Server:
    """One running server: `urls` maps settings' names to addresses, the first of them is `url`."""

    title: str
    name: str
    data: Path
    program: str
    pid: int
    port: int
    urls: dict[str, str] = field(repr=False)  # with passwords
    stop_signal: signal.Signals

    def __str__(self) -> str:
        return f"{self.title} ({self.name}) on port {self.port}, process {self.pid}"

    @property
    def url(self) -> str:
        """The address by which its first user reaches the server."""
        return next(iter(self.urls.values()))

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        _has_ended(self.pid)
        return works_in(self.pid, self.data, self.program)

    def stop(self, seconds: float = 30) -> None:
        """End the server cleanly; after `seconds` kill it."""
        self._signal(self.stop_signal)
        if not wait_until(lambda: not self.alive(), seconds):
            self.kill()

    def kill(self) -> None:
        """End the server at once, as a crash would (SIGKILL)."""
        self._signal(signal.SIGKILL)
        wait_until(lambda: not self.alive(), 10)

    def _signal(self, number: signal.Signals) -> None:
        if self.alive():
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)


def works_in(pid: int, folder: Path, program: str) -> bool:
    """Tell whether process `pid` runs `program` inside `folder` (a zombie does not)."""
    try:
        executable = Path(f"/proc/{pid}/exe").readlink()
        return program in executable.name and Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


def _has_ended(pid: int) -> bool:
    """Tell whether a server started by this process has ended."""
    if pid in _children and _children[pid].poll() is not None:
        del _children[pid]
    return pid not in _children


def pids_in(folder: Path, program: str) -> list[int]:
    """Return the ids of all processes that run `program` inside `folder`."""
    if not folder.exists():
        return []
    pids = (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return [pid for pid in pids if works_in(pid, folder, program)]


def running_pid(place: Place, name: str, program: str) -> int:
    """Return the process id under which a server was started, if it still runs; else 0."""
    folder = place.folder(name)
    pid = int(read_record(folder)["pid"]) if folder.exists() else 0
    return pid if pid and works_in(pid, folder / "data", program) else 0


def start_on_a_port(
    place: Place,
    name: str,
    launch: Callable[[int], Server],
    ready: Callable[[Server], bool],
) -> Server:
    """Start a server on its old port, or another where that is taken, and wait until it is ready.

    Args:
        place: where its data lie.
        name: which server.
        launch: starts the process for a port and does not wait.
        ready: tells whether it serves.

    """
    folder = place.folder(name)
    place.check_owner(folder / "data")
    for _attempt in range(5):
        record = read_record(folder)
        port = free_port(record["port"])
        write_record(folder, record | {"port": port})  # the server's address is read from here
        server = launch(port)
        write_record(folder, record | {"port": port, "pid": server.pid})
        if _becomes_ready(server, ready):
            return server
        if is_free(port):  # it ended for a reason of its own, not for the port
            raise EmbeddedError(f"{server.title} did not start: {last_lines(place.log(name))}")
    raise EmbeddedError(f"{server.title} found no port to listen on; see {place.log(name)}.")


def _becomes_ready(server: Server, ready: Callable[[Server], bool]) -> bool:
    """Wait for a fresh server; False if it ends, an error (and its end) if it takes too long."""
    settled = wait_until(lambda: _has_ended(server.pid) or ready(server), START_SECONDS)
    if not settled:
        server.kill()
        raise EmbeddedError(f"{server.title} did not become ready within {START_SECONDS} seconds.")
    return not _has_ended(server.pid)


def still_serves(server: Server, ready: Callable[[Server], bool]) -> bool:
    """Wait until a server that was found is ready; False if it ends instead, as one that is just stopping does."""
    if not wait_until(lambda: not server.alive() or ready(server), START_SECONDS):
        raise EmbeddedError(f"{server} does not become ready.")
    return server.alive()


def spawn(place: Place, name: str, argv: list[str], *, text: str = "", death_signal: str = "") -> int:
    """Start a server with `text` on its input; return its process id.

    It gets a session of its own: Ctrl-C in the terminal is not meant for it.
    """
    with open_log(place.log(name)) as output:
        process = subprocess.Popen(
            place.command(argv, death_signal=death_signal),
            cwd="/",
            env=plain_environment(),
            stdin=subprocess.PIPE if text else subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            start_new_session=True,
        )
    if process.stdin:
        with contextlib.suppress(BrokenPipeError):  # a server that ended already says why in its log
            process.stdin.write(text.encode())
            process.stdin.close()
    _children[process.pid] = process
    return process.pid


def open_log(log: Path) -> IO[bytes]:
    """Open a log to write at its end; one that has grown large is put aside first."""
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_name(f"{log.name}.1"))
    return log.open("ab")


def plain_environment() -> dict[str, str]:
    """Return an environment without the caller's PG* variables, language and time zone."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C.UTF-8", "TZ": "UTC"}


def end_orphans(folder: Path, program: str) -> None:
    """End what a killed server left behind in its folder, so that two never write the same data."""
    if wait_until(lambda: not pids_in(folder, program), 5):
        return
    for pid in pids_in(folder, program):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    if not wait_until(lambda: not pids_in(folder, program), 5):
        raise EmbeddedError(f"Processes of an earlier run still use {folder} and cannot be ended.")


def free_port(wanted: int = 0) -> int:
    """Return `wanted` if nothing listens there, else a port that is free now."""
    if wanted and is_free(wanted):
        return wanted
    for port in SystemRandom().sample(PORTS, 500):
        if is_free(port):
            return port
    raise EmbeddedError("No free port was found on 127.0.0.1.")


def is_free(port: int) -> bool:
    """Tell whether a server could listen on this port of the loopback address."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
        return True


def wait_until(condition: Callable[[], bool], seconds: float) -> bool:
    """Wait until the condition holds; return False if it does not within `seconds`."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def last_lines(log: Path, count: int = 5) -> str:
    """Return the end of a log in one line, for an error message."""
    return " / ".join(log.read_text(errors="replace").splitlines()[-count:])
