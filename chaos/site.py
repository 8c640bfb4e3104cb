"""Greenlane as it runs in production, small: two workers, a web process, the servers, and who restarts the dead."""

import contextlib
import os
import random
import shutil
import signal
import time
from dataclasses import dataclass, field
from pathlib import Path

from redis import Redis, RedisError

from config import embedded
from config.embedded.place import choose
from config.embedded.process import Server, free_port, wait_until
from tests.processes import Process, Processes, Web

WORKERS, PLACES = 2, 2
# How long a supervisor takes to notice a death and to start anew.
RESTART_SECONDS = (0.3, 1.5)
# Longer than the soft shutdown of a worker: what still runs then hangs.
END_SECONDS = 35.0
START_SECONDS = 60.0


@dataclass
class Slot:
    """A place where one process shall always run."""

    role: str
    process: Process | None = None
    restart_at: float = 0.0
    kill_at: float = 0.0
    # Exit codes of processes that were asked to end, not killed.
    codes: list[int] = field(default_factory=list)


class Site:
    """All processes of one campaign. Servers start from the main thread: they die with the thread that started them."""

    def __init__(self, root: Path, folder: Path, chance: random.Random) -> None:
        self.root, self.folder, self.chance = root, folder, chance
        self.processes = Processes(folder, settings="config.settings")
        self.port = free_port()
        self.slots = [Slot("worker") for _ in range(WORKERS)] + [Slot("web")]
        self.hanging: list[str] = []
        self.frozen: set[str] = set()
        self.is_redis_frozen = False
        self.postgres = embedded.start_postgres(root, throw_away=True)
        self.redis: Server | None = embedded.start_redis(root, throw_away=True)

    @property
    def workers(self) -> list[Slot]:
        """Where workers run."""
        return [slot for slot in self.slots if slot.role == "worker"]

    @property
    def web(self) -> Slot:
        """Where the web process runs."""
        return self.slots[-1]

    def client(self) -> Web:
        """A client of whichever web process runs now."""
        return Web(self.port, self.web.process)  # type: ignore[arg-type]

    def start(self) -> None:
        """Start all and wait until all work."""
        self.supervise()
        assert self.wait_until_up(START_SECONDS), self._tails()  # noqa: S101 (nothing can be measured without)

    def supervise(self) -> None:
        """Start what does not run and is due; kill what was asked to end and does not."""
        now = time.monotonic()
        for slot in self.slots:
            process = slot.process
            if process and process.alive() and slot.kill_at and now > slot.kill_at:
                self.hanging.append(f"{process.name} did not end within {END_SECONDS:.0f} s of SIGTERM")
                process.kill()
            if process and not process.alive():
                self._take_note_of_end(slot, process)
            if slot.process is None and now >= slot.restart_at:
                slot.process = self._begin(slot.role)

    def _take_note_of_end(self, slot: Slot, process: Process) -> None:
        if slot.kill_at and process.process.returncode is not None:
            slot.codes.append(process.process.returncode)
        self.processes.bury(process)
        slot.process, slot.kill_at = None, 0.0
        slot.restart_at = time.monotonic() + self.chance.uniform(*RESTART_SECONDS)

    def _begin(self, role: str) -> Process:
        if role == "web":
            return self.processes.web(port=self.port, ready=False).process
        return self.processes.worker(places=PLACES, ready=False)

    def is_up(self) -> bool:
        """Tell whether every process runs, works and is not frozen."""
        self.supervise()
        if self.redis is None or not all(slot.process and slot.process.alive() for slot in self.slots):
            return False
        ready = (" ready." in slot.process.log.read_text(errors="replace") for slot in self.workers if slot.process)
        return all(ready) and self.client().answers()

    def wait_until_up(self, seconds: float) -> bool:
        """Wait until all of it works again."""
        return wait_until(self.is_up, seconds)

    def kill(self, slot: Slot) -> None:
        """Kill a process and its children, as a power cut would."""
        if slot.process:
            slot.process.kill()

    def ask_to_end(self, slot: Slot) -> None:
        """End a process as a rolling deployment does."""
        if slot.process and slot.process.alive():
            slot.process.process.terminate()
            slot.kill_at = time.monotonic() + END_SECONDS

    def pool_of(self, slot: Slot) -> list[int]:
        """List the process ids of a worker's places."""
        return slot.process.pool() if slot.process else []

    def freeze(self, slot: Slot) -> None:
        """Stop a process and its children where they are."""
        if slot.process:
            slot.process.freeze()
            self.frozen.add(slot.process.name)

    def wake(self, slot: Slot) -> None:
        """Let them go on."""
        if slot.process:
            slot.process.wake()
            self.frozen.discard(slot.process.name)

    def can_work(self) -> bool:
        """Tell whether Redis and at least one worker run and are not frozen."""
        awake = [slot for slot in self.workers if slot.process and slot.process.name not in self.frozen]
        is_one_up = any(slot.process.alive() for slot in awake if slot.process)
        return self.redis is not None and not self.is_redis_frozen and is_one_up

    def kill_place(self, pid: int) -> None:
        """Kill one pool process of a worker."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)

    def restart_postgres(self) -> None:
        """Break off every session at once and start again, as `pg_ctl restart -m immediate` does."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.postgres.pid, signal.SIGQUIT)
        wait_until(lambda: not self.postgres.alive(), 30)
        self.postgres = embedded.start_postgres(self.root, throw_away=True)

    def flush_redis(self) -> None:
        """Have Redis forget all that it holds, if it can hear."""
        if self.redis:
            with contextlib.suppress(RedisError), Redis.from_url(self.redis.url, socket_timeout=1) as client:
                client.flushall()

    def kill_redis(self) -> None:
        """End Redis with all that it holds."""
        if self.redis:
            self.redis.kill()
            self.redis, self.is_redis_frozen = None, False

    def start_redis(self) -> None:
        """Start an empty Redis on the same port, where none runs."""
        if self.redis is None:
            self.redis = embedded.start_redis(self.root, throw_away=True)

    def signal_redis(self, number: signal.Signals) -> None:
        """Freeze or wake Redis."""
        self.is_redis_frozen = number == signal.SIGSTOP and self.redis is not None
        if self.redis:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.redis.pid, number)

    def logs(self) -> list[Path]:
        """List the logs of all processes that ran."""
        return sorted(self.folder.glob("*.log"))

    def server_logs(self) -> list[Path]:
        """List the logs of the servers, Greenlane's own and those of the back ends."""
        place = choose(self.root)
        return [log for log in (place.log(name) for name in embedded.ASKED_BY) if log.exists()]

    def keep_logs(self, folder: str) -> None:
        """Copy all logs to `folder`, if one is named: what a bad round left."""
        if folder:
            Path(folder).mkdir(parents=True, exist_ok=True)
            for log in [*self.logs(), *self.server_logs()]:
                shutil.copy(log, Path(folder) / log.name)

    def forget_old_logs(self) -> None:
        """Remove the logs of processes that have ended."""
        current = {slot.process.log for slot in self.slots if slot.process}
        for log in set(self.logs()) - current:
            log.unlink()

    def end(self) -> None:
        """Kill what runs."""
        for slot in self.slots:
            self.wake(slot)
        self.processes.end()

    def _tails(self) -> str:
        return "\n".join(slot.process.tail() for slot in self.slots if slot.process)
