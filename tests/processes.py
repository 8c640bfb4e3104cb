"""Real worker and web processes for tests, as the application role, on the test's own database.

Use the fixture `processes` (tests/flows/conftest.py): whatever it started is gone before the tables are emptied.
"""

import contextlib
import http.client
import json
import os
import signal
import subprocess
import sys
from email.message import Message
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from django.conf import settings
from django.db import connection

from config.embedded.process import free_port, wait_until

ROOT = Path(__file__).resolve().parent.parent
START_SECONDS = 60


def application_url() -> str:
    """The test database's address, as the application role reaches it."""
    given = urlsplit(settings.DATABASE_URL)
    return urlunsplit(given._replace(path=f"/{connection.settings_dict['NAME']}"))


class Process:
    """One process of Greenlane's in a group of its own, with its log."""

    def __init__(self, name: str, arguments: list[str], environment: dict[str, str], log: Path) -> None:
        self.name, self.log = name, log
        with log.open("ab") as output:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    @property
    def pid(self) -> int:
        """The process that was started; the processes of its pool are its children."""
        return self.process.pid

    def alive(self) -> bool:
        """Tell whether it runs."""
        return self.process.poll() is None

    def pool(self) -> list[int]:
        """List the process ids of its children: the places of a worker."""
        with contextlib.suppress(OSError):  # it has just ended
            return [int(pid) for pid in Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split()]
        return []

    def freeze(self) -> None:
        """Stop it and its children where they are, as a machine that swaps or migrates does."""
        self._signal(signal.SIGSTOP)

    def wake(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, number)

    def wait_for_line(self, text: str, seconds: float = START_SECONDS) -> None:
        """Wait until its log has `text`."""
        found = wait_until(lambda: not self.alive() or text in self.log.read_text(errors="replace"), seconds)
        assert found, f"The {self.name} did not write “{text}” within {seconds} s:\n{self.tail()}"
        assert self.alive(), f"The {self.name} ended:\n{self.tail()}"

    def tail(self) -> str:
        """The end of its log."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-30:])

    def terminate(self, seconds: float = 40) -> int:
        """Ask it to end, as a rolling deployment does; give its exit code."""
        self.process.terminate()
        return self.process.wait(timeout=seconds)

    def kill(self) -> None:
        """End it and its pool at once, as a power cut would."""
        self._signal(signal.SIGKILL)
        self.process.wait(timeout=10)


class Processes:
    """Starts workers and webs that share one far side and one broker; ends them all."""

    def __init__(self, folder: Path, *, settings: str = "tests.provisioning.worker_settings") -> None:
        self.folder = folder
        self.started: list[Process] = []
        self._count = 0
        self.environment = os.environ | {
            "DATABASE_URL": application_url(),
            "DATABASE_OWNER_URL": application_url(),
            "DJANGO_SETTINGS_MODULE": settings,
            "FAR_SIDE": str(folder),
            "PYTHONUNBUFFERED": "1",
        }

    def worker(self, *, places: int = 1, ready: bool = True, **environment: str) -> Process:
        """Start a worker with so many pool processes; `ready` waits until it takes messages."""
        name = self._name("worker")
        arguments = [
            "celery",
            "-A",
            "config",
            "worker",
            "-Q",
            "default,long",
            "-l",
            "INFO",
            "-n",
            f"{name}-{os.getpid()}@%h",
        ]
        arguments += ["--concurrency", str(places), "--without-gossip", "--without-mingle"]
        started = self._start(name, arguments, environment)
        if ready:
            started.wait_for_line(" ready.")
        return started

    def web(self, *, port: int = 0, ready: bool = True, **environment: str) -> "Web":
        """Start a web process, on `port` if given; `ready` waits until it answers."""
        port = port or free_port()
        arguments = ["gunicorn", "config.wsgi", "--bind", f"127.0.0.1:{port}", "--workers", "1"]
        web = Web(port, self._start(self._name("web"), arguments, environment))
        if ready:
            assert wait_until(web.answers, START_SECONDS), web.process.tail()
        return web

    def beat(self, **environment: str) -> Process:
        """Start a beat, which keeps what it remembers to itself."""
        name = self._name("beat")
        arguments = ["celery", "-A", "config", "beat", "-l", "INFO", "-s", str(self.folder / name), "--pidfile="]
        return self._start(name, arguments, environment)

    def _name(self, role: str) -> str:
        self._count += 1
        return f"{role}-{self._count}"

    def _start(self, name: str, arguments: list[str], environment: dict[str, str]) -> Process:
        process = Process(name, arguments, self.environment | environment, self.folder / f"{name}.log")
        self.started.append(process)
        return process

    def bury(self, process: Process) -> None:
        """Kill what is left of one process and forget it."""
        process.kill()
        self.started.remove(process)

    def end(self) -> None:
        """Kill what still runs."""
        for process in self.started:
            process.kill()


class Web:
    """A web process and a client of its API."""

    def __init__(self, port: int, process: Process) -> None:
        self.port, self.process = port, process

    def answers(self) -> bool:
        """Tell whether it serves."""
        try:
            return self.request("GET", "/healthz")[0] == http.HTTPStatus.OK
        except OSError:
            return False

    def request(
        self, method: str, path: str, body: Any = None, *, token: str = "", key: str = ""
    ) -> tuple[int, dict[str, Any]]:
        """Send one request; give status and JSON body."""
        status, _, text = self.answer(method, path, body, token=token, key=key)
        return status, json.loads(text or b"{}")

    def answer(
        self, method: str, path: str, body: Any = None, *, token: str = "", key: str = ""
    ) -> tuple[int, Message, bytes]:
        """Send one request; give status, headers and body."""
        headers = {"Content-Type": "application/json"}
        headers |= {"Authorization": f"Bearer {token}"} if token else {}
        headers |= {"Idempotency-Key": key} if key else {}
        client = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            client.request(method, path, json.dumps(body) if body is not None else None, headers)
            answer = client.getresponse()
            return answer.status, answer.headers, answer.read()
        finally:
            client.close()
