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

from config.embedded.errors import EmbeddedError
from config.embedded.place import Place

LARGEST_LOG = 10 * 1024 * 1024  # bytes; an older log is put aside once
# Below the ports that the system gives to outgoing connections, so that a port is still free at the next start.
PORTS = range(20000, 32000)


@dataclass
class Server:
    """One running server: `urls` maps settings' names to addresses, the first of them is `url`."""

    name: str
    data: Path
    program: str
    pid: int
    port: int
    urls: dict[str, str]
    stop_signal: signal.Signals
    process: subprocess.Popen[bytes] | None = field(default=None, repr=False)

    @property
    def url(self) -> str:
        """The address by which its first user reaches the server."""
        return next(iter(self.urls.values()))

    def alive(self) -> bool:
        """Tell whether this very process still runs."""
        if self.process:
            self.process.poll()  # else a dead child stays a zombie
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
        executable = os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")
        return program in Path(executable).name and Path(f"/proc/{pid}/cwd").samefile(folder)
    except OSError:
        return False


def pids_in(folder: Path, program: str) -> list[int]:
    """Return the ids of all processes that run `program` inside `folder`."""
    pids = (int(entry) for entry in os.listdir("/proc") if entry.isdigit())
    return [pid for pid in pids if works_in(pid, folder, program)] if folder.exists() else []


def spawn(
    place: Place, argv: list[str], *, log: Path, text: str = "", death_signal: str = ""
) -> subprocess.Popen[bytes]:
    """Start a server in a session of its own (Ctrl-C in the terminal is not meant for it), `text` on its input."""
    if log.exists() and log.stat().st_size > LARGEST_LOG:
        log.replace(log.with_name(f"{log.name}.1"))
    with log.open("ab") as output:
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
    return process


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
    """Return the end of a log, for an error message."""
    return " / ".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""
