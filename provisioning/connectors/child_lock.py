"""The lock of a workspace: one attempt's programs at a time, whatever became of the attempts before.

It is flock(2) on the file `lock`, whose descriptor every program inherits. What stands in the file says whose it is:
the host, the claim's fencing token, and the process that keeps a program there, if one runs.
"""

import contextlib
import fcntl
import json
import os
import signal
import socket
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from provisioning.connectors.base import Call, Retry

# A variable in the environment of every process of a program: says for which folder it works.
MARK = "GREENLANE_WORK"
TURN_SECONDS = 0.2
# How long to wait for what an earlier attempt left running, beyond its grace.
PATIENCE_SECONDS = 10.0
LOOK_SECONDS = 1.0
SHARED_SECONDS = 300.0
# After so long the lock of a worker whose programs are gone is taken from it: it is hung, or stopped.
TAKE_OVER_SECONDS = 2.0


class WorkspaceLock:
    """The lock of one folder. `is_shared`: others than this instance's steps use it, and are left alone."""

    def __init__(
        self, folder: Path, call: Call, *, grace: float, is_shared: bool, log: Callable[[str], object]
    ) -> None:
        self.folder, self.call, self.log = folder, call, log
        self.path = folder / "lock"
        # Who only looks, without a claim, and who shares the folder, ends nobody's work.
        self.is_modest = call.fencing_token == 0 or is_shared
        self.patience = SHARED_SECONDS if is_shared else LOOK_SECONDS if self.is_modest else grace + PATIENCE_SECONDS
        # Whether an earlier attempt was cut off while a program of its own ran here.
        self.was_cut_off = False
        self.fd = self._open(self.path)

    def acquire(self) -> None:
        """Take the lock, and end what an earlier attempt left running. Raises Retry where it stays taken, LeaseLost."""
        began, was_asked, was_killed = time.monotonic(), False, False
        while not self._try():
            self.call.check()
            waited = time.monotonic() - began
            if not self.is_modest and self._is_older():
                if not was_asked:
                    was_asked = True
                    self.log("An earlier attempt is still at work; it is asked to end.")
                    self._ask_to_end()
                if waited > self.patience - PATIENCE_SECONDS / 2 and not was_killed:
                    was_killed = True
                    self._kill_left()
                if waited > TAKE_OVER_SECONDS and programs(self.folder) == [] and self._take_over():
                    return
            if waited > self.patience:
                raise Retry("Another program still works for this service.", after=10.0, is_fault=False)
            time.sleep(TURN_SECONDS)

    def note(self, pid: int) -> None:
        """Write down who keeps a program here, for the next attempt; 0 is nobody."""
        facts = {
            "host": socket.gethostname(),
            "pid": pid,
            "started": started_at(pid) if pid else "",
            "fencing_token": self.call.fencing_token,
            "step": str(self.call.step_id),
        }
        os.ftruncate(self.fd, 0)
        os.pwrite(self.fd, json.dumps(facts).encode(), 0)

    def close(self) -> None:
        """Let go. Closed and not unlocked: a program of ours that is still ending keeps the lock."""
        os.close(self.fd)

    def _try(self) -> bool:
        try:
            fcntl.flock(self.fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        if not is_current(self.fd, self.path):
            os.close(self.fd)
            self.fd = self._open(self.path)
            return False
        self.was_cut_off = bool(self._holder().get("pid"))
        if self.was_cut_off:
            self._kill_left()
        self.note(0)
        return True

    def _holder(self) -> dict[str, Any]:
        try:
            known = json.loads(os.pread(self.fd, 4096, 0) or b"{}")
        except ValueError:  # being written at this moment
            return {}
        return known if isinstance(known, dict) else {}

    def _is_older(self) -> bool:
        """Tell whether an attempt before ours has the lock, on this machine."""
        holder = self._holder()
        token = holder.get("fencing_token")
        return isinstance(token, int) and token < self.call.fencing_token and holder["host"] == socket.gethostname()

    def _ask_to_end(self) -> None:
        """Ask the keeper of an earlier attempt to end its program, if it is that very process and no other."""
        holder = self._holder()
        pid = holder.get("pid", 0)
        if pid > 1 and holder["started"] and started_at(pid) == holder["started"]:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGTERM)

    def _kill_left(self) -> None:
        """Kill what earlier attempts left where a keeper was killed itself."""
        for pid in programs(self.folder) or []:
            self.log(f"Process {pid} of an earlier attempt has not ended; it is killed.")
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)

    def _take_over(self) -> bool:
        """Put a new lock in the place of the one that a hung worker holds.

        Should that worker go on, its next program finds that its lock is not the folder's any more (keeper.py).
        """
        with (self.folder / "taking-over").open("w") as mutex:
            try:
                fcntl.flock(mutex, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return False
            if not is_current(self.fd, self.path) or not self._is_older():
                return False
            self.log("The lock of an earlier attempt that hangs is taken from it.")
            self.was_cut_off = bool(self._holder().get("pid"))
            fresh = self.folder / "lock.new"
            fresh.unlink(missing_ok=True)
            descriptor = self._open(fresh)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            os.close(self.fd)
            self.fd = descriptor
            self.note(0)
            fresh.replace(self.path)
        return True

    @staticmethod
    def _open(path: Path) -> int:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)


def is_current(lock: int, path: Path) -> bool:
    """Tell whether `lock` is the file that stands at `path` now."""
    try:
        there = path.stat()
    except FileNotFoundError:
        return False
    ours = os.fstat(lock)
    return (there.st_dev, there.st_ino) == (ours.st_dev, ours.st_ino)


def programs(folder: Path) -> list[int] | None:
    """List the processes whose environment says that they work for `folder`; None where that cannot be known."""
    if not Path("/proc/self/environ").exists():
        return None
    mark, found = f"{MARK}={folder}\0".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):  # another person's, or gone
            if mark in (process / "environ").read_bytes():
                found.append(int(process.name))
    return found


def started_at(pid: int) -> str:
    """Say when a process began, in its system's own ticks; with the pid it names one process for good."""
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text(errors="replace").rpartition(") ")[2].split()[19]
    return ""
