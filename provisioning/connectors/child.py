"""Programs that a connector starts: each in a folder that one attempt at a time may use, watched from start to end.

The lock of the folder lives as long as any process of the program (flock(2) on an inherited descriptor), so a second
one never runs beside the first, whatever became of the worker that started it. keeper.py ends a program whose worker
is gone; what still runs when the next attempt comes is ended by that one.
"""

import contextlib
import os
import subprocess
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings

from provisioning.connectors.base import MAX_LINES, Call, Failed, LeaseLost, Retry
from provisioning.connectors.child_lock import MARK, TURN_SECONDS, WorkspaceLock
from provisioning.connectors.child_output import LAST_LINES, Ended, Lines

KEEPER = Path(__file__).with_name("keeper.py")
# A worker that is silent for a third of its lease, and so may have lost it, is left by its program.
LEAST_SILENCE = 3.0
# How long a program that was asked to end may take.
GRACE_SECONDS = 10.0
PASSED_ON_LEAST = 6
# The codes of programs that a signal ended: they may have left anything.
KILLED = range(129, 193)
# What keeper.py answers where a later attempt has taken the workspace over.
SUPERSEDED = 243


@dataclass
class Workspace:
    """The folder of one instance's step, held by this attempt alone."""

    call: Call
    folder: Path
    grace: float
    lock: WorkspaceLock = field(init=False)
    _held_back: deque[str] = field(default_factory=lambda: deque(maxlen=LAST_LINES))
    _left_out: int = 0

    def run(
        self,
        arguments: Sequence[str],
        *,
        cwd: Path,
        environment: Mapping[str, str],
        on_line: Callable[[str], object] | None = None,
        keeps_output: bool = False,
        watch: Callable[[], object] | None = None,
    ) -> Ended:
        """Run a program to its end, its lines going to the step's log as they come.

        `on_line` gets the lines of standard output instead of the log; `keeps_output` keeps up to 1 MiB of it.
        `watch` is called now and then and may raise to end the program. Raises LeaseLost at once when the lease is
        over, Retry when the call's time is used up or the program cannot be started; the program is ended then.
        """
        call = self.call
        call.check()
        ends_at = self._ends_at
        try:
            process = self._start(arguments, cwd, environment)
        except OSError as error:
            raise Retry(f"{Path(arguments[0]).name} cannot be started: {error.strerror}.", is_fault=False) from error
        lines = Lines(process, on_line or self.log, self.log, keeps_output=keeps_output)
        try:
            while not lines.ended:
                lines.take(TURN_SECONDS)
                _say_alive(process, lines)
                call.check()
                if watch:
                    watch()
                if time.monotonic() > ends_at:
                    raise Retry(f"It took longer than {call.work_seconds:.0f} seconds and was ended.", is_fault=False)
            code = process.wait(timeout=GRACE_SECONDS)
        except subprocess.TimeoutExpired as error:
            raise Retry("The program closed its output and did not end.", is_fault=False) from error
        finally:
            lines.close()
            self._let_go(process)
        if code == SUPERSEDED:
            raise LeaseLost(f"A later attempt works for step {call.step_id}.")
        if code < 0:
            raise Retry("The program's keeper was killed; what it left is ended by the next attempt.", is_fault=False)
        if code not in KILLED:
            self.lock.note(0)
        return Ended(code, bytes(lines.output), list(lines.last))

    def log(self, line: str) -> None:
        """Add a line to the step's log; of very many the first and the last are kept."""
        line = masked(line)
        if len(self.call.lines) < MAX_LINES - LAST_LINES - 1:
            self.call.log(line)
            return
        self._left_out += len(self._held_back) == LAST_LINES
        self._held_back.append(line)

    def close_log(self) -> None:
        """Write the last lines that did not fit before."""
        if self._left_out:
            self.call.log(f"({self._left_out} lines left out)")
        for line in self._held_back:
            self.call.log(line)
        self._held_back.clear()

    @property
    def was_cut_off(self) -> bool:
        """Tell whether an earlier attempt was cut off while a program of its own ran here."""
        return self.lock.was_cut_off

    def __post_init__(self) -> None:
        self._ends_at = time.monotonic() + self.call.work_seconds

    def _start(self, arguments: Sequence[str], cwd: Path, environment: Mapping[str, str]) -> subprocess.Popen[bytes]:
        silence = max(LEAST_SILENCE, self.call.lease.seconds / 3)
        keeper = [sys.executable, "-I", "-S", str(KEEPER)]
        process = subprocess.Popen(  # noqa: S603 (a list of arguments)
            [*keeper, str(silence), str(self.grace), str(self.lock.fd), str(self.lock.path), *arguments],
            cwd=cwd,
            env={**environment, MARK: str(self.folder)},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            start_new_session=True,
            pass_fds=(self.lock.fd,),
        )
        self.lock.note(process.pid)
        return process

    def _let_go(self, process: subprocess.Popen[bytes]) -> None:
        """Close the pipes: a program that still runs is ended by its keeper, and buried by a thread."""
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                with contextlib.suppress(OSError):
                    pipe.close()
        if process.poll() is None:
            threading.Thread(target=process.wait, name=f"burial-{process.pid}", daemon=True).start()


@contextlib.contextmanager
def workspace(call: Call, name: str, *, grace: float = GRACE_SECONDS, is_shared: bool = False) -> Iterator[Workspace]:
    """Hold the folder `name` of the call's instance, or a shared one, below settings.WORK_ROOT while the block runs.

    `grace` is how many seconds its programs may take to end when asked to. Raises LeaseLost, or Retry where
    another program still runs there or the folder cannot be used.
    """
    call.check()
    folder = Path(settings.WORK_ROOT).absolute() / ("shared" if is_shared else call.instance_id.hex) / name
    held = Workspace(call, folder, grace)
    lock = None
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = held.lock = WorkspaceLock(folder, call, grace=grace, is_shared=is_shared, log=held.log)
        lock.acquire()
        yield held
    except OSError as error:
        raise Retry(f"The work folder cannot be used: {error.strerror or error}.", is_fault=False) from error
    finally:
        held.close_log()
        if lock:
            lock.close()


def environment_for(**values: str) -> dict[str, str]:
    """Give a program's environment: the search path, a home below settings.WORK_ROOT, what the settings pass on."""
    home = Path(settings.WORK_ROOT).absolute() / "home"
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    passed_on = {name: os.environ[name] for name in settings.CHILD_ENVIRONMENT if name in os.environ}
    known = {"PATH": os.environ.get("PATH", os.defpath), "HOME": str(home), "LC_ALL": "C.UTF-8"}
    return known | passed_on | values


def masked(text: str) -> str:
    """Take the values that the settings pass on to programs out of a line: many of them are credentials."""
    for name in settings.CHILD_ENVIRONMENT:
        value = os.environ.get(name, "")
        if len(value) >= PASSED_ON_LEAST:
            text = text.replace(value, "***")
    return text


def as_data(value: Any, what: str) -> Any:
    """Give `value` back if a program can take it as data. Raises Failed for NUL characters in its texts."""
    todo = [value]
    while todo:
        one = todo.pop()
        if isinstance(one, str) and "\0" in one:
            raise Failed(f"{what} may not hold NUL characters.", left_nothing=True)
        if isinstance(one, dict):
            todo += [*one.keys(), *one.values()]
        elif isinstance(one, list):
            todo += one
    return value


def write_whole(path: Path, text: str) -> None:
    """Write a file that only we may read, whole or not at all, and on the disk when this returns."""
    fresh = path.with_name(f".{path.name}.new")
    with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:  # noqa: PTH123 (with a mode)
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def _say_alive(process: subprocess.Popen[bytes], lines: Lines) -> None:
    if process.stdin and time.monotonic() - lines.said_alive_at >= TURN_SECONDS:
        lines.said_alive_at = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            os.write(process.stdin.fileno(), b".")
