"""Stands between a worker and a program that it started, so that the program never runs unobserved.

A script of its own, of the standard library alone: child.py starts it. It passes the program's output on, and ends
the program (SIGTERM, then SIGKILL for it and all that it started, in whatever session) once the worker is gone, says
nothing for a while, or closes the pipe. A killed or frozen worker can do none of that itself.

    keeper.py SILENCE GRACE LOCK PATH PROGRAM [ARGUMENT ...]

SILENCE and GRACE are seconds: how long the worker may write nothing to our standard input, and how long the program
may take to end. LOCK is the descriptor of the file PATH, whose lock lasts as long as any of these processes. It exits
with the program's code, with 128 and the number of the signal that ended it, as a shell does, or with 243 where
another file stands at PATH: then a later attempt has taken over, and nothing is started.
"""

import contextlib
import ctypes
import os
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

PR_SET_PDEATHSIG, PR_SET_CHILD_SUBREAPER = 1, 36  # Linux's <sys/prctl.h>
CHUNK = 65536
MOST_PENDING = 1 << 20
SUPERSEDED = 243
FLUSH_SECONDS = 5.0
KILL_SECONDS = 10.0


class Stream:
    """One way of the program's output. Nobody who does not listen can hold the program up."""

    def __init__(self, source: int, target: int) -> None:
        self.source, self.target = source, target
        self.pending = bytearray()
        self.is_open, self.is_heard = True, True
        os.set_blocking(target, False)

    def wants_more(self) -> bool:
        """Tell whether the program may write on."""
        return self.is_open and len(self.pending) < MOST_PENDING

    def take(self) -> None:
        """Take what the program has written."""
        data = os.read(self.source, CHUNK)
        self.is_open = bool(data)
        if self.is_heard:
            self.pending += data

    def give(self) -> None:
        """Pass on what fits."""
        try:
            del self.pending[: os.write(self.target, self.pending)]
        except BlockingIOError:
            return
        except OSError:
            self.ignore()

    def ignore(self) -> None:
        """Throw away what is left and what comes: nobody reads it any more."""
        self.is_heard = False
        self.pending.clear()


class Keeper:
    """The program, its output and its end."""

    def __init__(self, silence: float, grace: float, lock: int, command: list[str]) -> None:
        self.silence, self.grace = silence, grace
        self.heard_at = time.monotonic()
        self.kill_at: float | None = None
        self.worker: int | None = 0  # standard input
        self.wakes, wake = os.pipe()
        os.set_blocking(wake, False)
        signal.set_wakeup_fd(wake, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        libc = _libc()
        if libc:
            libc.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
        self.program = subprocess.Popen(  # noqa: S603 (the worker's list of arguments)
            command,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(lock,),
            # Should this process be killed, the program is at least asked to end.
            preexec_fn=(lambda: libc.prctl(PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)) if libc else None,  # noqa: PLW1509 (one thread)
        )
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, lambda *_: self.stop())
        ways = ((self.program.stdout, 1), (self.program.stderr, 2))
        self.streams = [Stream(source.fileno(), target) for source, target in ways if source]

    def run(self) -> int:
        """Go on until the program and all that it started have ended; give its code."""
        while self.program.poll() is None:
            self._turn(0.5 if self.kill_at is None else 0.1)
            if self.kill_at is None and time.monotonic() - self.heard_at > self.silence:
                self._leave_worker()
            if self.kill_at is not None and time.monotonic() > self.kill_at:
                self._kill_all()
        self._kill_all()
        ends_at = time.monotonic() + FLUSH_SECONDS
        while any(stream.is_open or stream.pending for stream in self.streams) and time.monotonic() < ends_at:
            self._turn(0.1)
        code = self.program.returncode
        return code if code >= 0 else 128 - code

    def stop(self) -> None:
        """Ask the program to end, once. Only it: it is for the program to end its helpers in good order."""
        if self.kill_at is None:
            self.kill_at = time.monotonic() + self.grace
            self.program.send_signal(signal.SIGTERM)

    def _leave_worker(self) -> None:
        for stream in self.streams:
            stream.ignore()
        self.stop()

    def _turn(self, seconds: float) -> None:
        readers = [stream.source for stream in self.streams if stream.wants_more()]
        writers = [stream.target for stream in self.streams if stream.pending]
        listens = [self.wakes, *([self.worker] if self.worker is not None else [])]
        can_read, can_write, _ = select.select([*readers, *listens], writers, [], seconds)
        if self.wakes in can_read:
            os.read(self.wakes, CHUNK)
        if self.worker is not None and self.worker in can_read:
            self._hear()
        for stream in self.streams:
            if stream.source in can_read:
                stream.take()
            if stream.target in can_write and stream.pending:
                stream.give()

    def _hear(self) -> None:
        self.heard_at = time.monotonic()
        if not os.read(0, CHUNK):
            self.worker = None
            self._leave_worker()

    def _kill_all(self) -> None:
        """Kill the program and every process that came from it; wait a while until they are gone."""
        ends_at = time.monotonic() + KILL_SECONDS
        while time.monotonic() < ends_at:
            for pid in descendants(os.getpid()) or [self.program.pid] * (self.program.poll() is None):
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.program.pid, signal.SIGKILL)
            self.program.poll()
            if not self._reap():
                return
            time.sleep(0.02)

    def _reap(self) -> bool:
        """Bury the orphans that became ours; tell whether there are more children."""
        try:
            while self.program.returncode is not None:
                if os.waitpid(-1, os.WNOHANG)[0] == 0:
                    return True
        except ChildProcessError:
            return False
        return True


def descendants(ancestor: int) -> list[int]:
    """List the living processes that come from `ancestor`; none where the system has no /proc."""
    children: dict[int, list[int]] = {}
    for path in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError, ValueError):
            state, parent = path.read_bytes().rpartition(b") ")[2].split()[:2]
            if state != b"Z":
                children.setdefault(int(parent), []).append(int(path.parent.name))
    found, todo = [], [ancestor]
    while todo:
        born = children.get(todo.pop(), [])
        found += born
        todo += born
    return found


def _libc() -> ctypes.CDLL | None:
    return ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def main(silence: str, grace: str, lock: str, path: str, *command: str) -> int:
    """Keep one program; see above."""
    if not os.path.samestat(os.fstat(int(lock)), os.stat(path)):  # noqa: PTH116 (beside fstat)
        return SUPERSEDED
    return Keeper(float(silence), float(grace), int(lock), list(command)).run()


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
