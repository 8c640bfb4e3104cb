"""`make demo`: all of Greenlane on one machine, in the foreground, until Ctrl-C.

Starts the embedded servers, brings the database up to date, seeds the demo organization and runs one web
process, one worker and one beat, each as in production, and a register of names to deliver to. What dies is
started again.
"""

import argparse
import contextlib
import os
import re
import secrets
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from config import embedded
from config.embedded import records
from config.embedded.errors import EmbeddedError
from config.embedded.lock import demo_lock
from config.embedded.place import Place
from config.embedded.process import Server, free_port, last_lines, open_log, wait_until

ROOT = Path(__file__).resolve().parent.parent
VAR = ROOT / "var"
FIRST_PORT, LAST_PORT = 8000, 8099
READY_SECONDS = 60
STOP_SECONDS = 40  # a worker may take 25 seconds to hand back what it works on
LONGEST_PAUSE = 30.0  # seconds between two starts of a process that keeps dying
CALM_SECONDS = 60  # who has run this long starts again at once
# No letters that are mistaken for one another when typed from a terminal.
LETTERS = "abcdefghkmnpqrstuvwxyz23456789"


def say(line: str) -> None:
    """Print one line at once, also into a pipe."""
    print(line, flush=True)


@dataclass
class Child:
    """One process of Greenlane's that the demo keeps alive."""

    name: str
    arguments: list[str]
    environment: dict[str, str]
    descriptors: tuple[int, ...] = ()
    process: "subprocess.Popen[bytes] | None" = field(default=None, repr=False)
    started: float = 0.0
    pause: float = 1.0
    due: float = 0.0

    @property
    def log(self) -> Path:
        """Where it writes."""
        return VAR / "log" / f"{self.name}.log"

    def start(self) -> None:
        """Start it in a session of its own, to end with the demo whatever happens to that."""
        command = Place(ROOT, VAR, None).command([sys.executable, "-m", *self.arguments], death_signal="TERM")
        with open_log(self.log) as output:
            self.process = subprocess.Popen(
                command,
                cwd=ROOT,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                pass_fds=self.descriptors,
            )
        self.started, self.due = time.monotonic(), 0.0

    def ended(self) -> bool:
        """Tell whether it runs no more."""
        return self.process is None or self.process.poll() is not None

    def watch(self) -> None:
        """Start it again when it has died: the longer later, the more often it does."""
        if not self.ended():
            return
        now = time.monotonic()
        if not self.due:
            self.end_group()
            if now - self.started > CALM_SECONDS:
                self.pause = 1.0
            say(f"The {self.name} process ended (see var/log/{self.log.name}); starting it again.")
            self.due, self.pause = now + self.pause, min(2 * self.pause, LONGEST_PAUSE)
        elif now >= self.due:
            self.start()

    def ask_to_end(self) -> None:
        """Ask for a clean end, which lets running work finish."""
        if self.process and not self.ended():
            self.process.terminate()

    def wait_for_end(self, seconds: float, give_up: Callable[[], bool]) -> None:
        """Give it some seconds, or fewer where `give_up` says so; then kill what is left."""
        wait_until(lambda: self.ended() or give_up(), seconds)
        self.end_group()

    def end_group(self) -> None:
        """Kill what is left of it and of its own children."""
        if self.process:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait()


class Demo:
    """One run of the demo, from the first server to the last."""

    def __init__(self, listener: socket.socket) -> None:
        self.listener = listener
        self.port: int = listener.getsockname()[1]
        self.servers: list[Server] = []
        self.children: list[Child] = []
        self.environment: dict[str, str] = {}
        self.stopping_since = 0.0
        self.hurry = False

    def run(self) -> None:
        """Run until a signal comes; whatever happens, stop all that was started."""
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, self._on_signal)
        if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # nohup asks to outlive the terminal
            signal.signal(signal.SIGHUP, self._on_signal)
        try:
            people = self._prepare()
            self._start_children()
            self._announce(people)
            self._supervise()
        except KeyboardInterrupt:
            say("\nStopping. Running work gets a few seconds to finish; a second Ctrl-C does not wait for it.")
        finally:
            self._stop()

    def _on_signal(self, *_: Any) -> None:
        """Stop at the first signal. One more hurries, unless it is the same key press coming by another way."""
        now = time.monotonic()
        if not self.stopping_since:
            self.stopping_since = now
            raise KeyboardInterrupt
        if now - self.stopping_since > 1:
            self.hurry = True

    def _prepare(self) -> str:
        """Bring up the servers and the data; return the list of demo people that seeding printed."""
        say(f"1/4  Starting PostgreSQL and Redis (data in {VAR}) ...")
        self.servers, values = embedded.start(ROOT, say=lambda line: say(f"     {line}"), die_with_parent=True)
        given = {name: value for name, value in os.environ.items() if value}
        settings = {
            "PORT": str(self.port),
            "PUBLIC_URL": given.get("PUBLIC_URL") or f"http://127.0.0.1:{self.port}",
            "DEMO_PASSWORD": given.get("DEMO_PASSWORD") or values.get("DEMO_PASSWORD") or new_password(),
        }
        settings |= self._names(given, values)
        records.update_env(ROOT, settings)
        places = {"PID_DIR": str(VAR / "run"), "STATIC_ROOT": str(VAR / "static"), "PYTHONUNBUFFERED": "1"}
        self.environment = values | given | settings | places
        say("2/4  Bringing the database up to date ...")
        self._manage("migrate", "--no-input")
        say("3/4  Seeding the demo organization ...")
        return self._manage("seed_demo")

    def _names(self, given: dict[str, str], values: dict[str, str]) -> dict[str, str]:
        """Choose where the register of names listens, and write mails to files where no mail server is given."""
        url = values.get("DEMO_NAMES_URL") or f"http://127.0.0.1:{free_port()}"
        allowed = {*filter(None, given.get("EGRESS_ALLOW", "").split(",")), url.removeprefix("http://")}
        return {
            "DEMO_NAMES_URL": url,
            "DEMO_NAMES_TOKEN": values.get("DEMO_NAMES_TOKEN") or secrets.token_urlsafe(24),
            "EGRESS_ALLOW": ",".join(sorted(allowed)),
            "EMAIL_URL": given.get("EMAIL_URL") or f"filemail:///{VAR / 'mail'}",
        }

    def _manage(self, *arguments: str) -> str:
        """Run a management command and return what it printed; where it fails, say how and stop."""
        process = subprocess.Popen(
            [sys.executable, "manage.py", *arguments],
            cwd=ROOT,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )
        try:
            output = process.communicate()[0]
        finally:
            process.kill()
            process.wait()
        (VAR / "log" / f"{arguments[0]}.log").write_text(output)
        if process.returncode != 0:
            last = output.strip().splitlines()[-1:] or ["no message"]
            raise EmbeddedError(f"`manage.py {arguments[0]}` failed: {last[0]} (all of it: var/log/{arguments[0]}.log)")
        return output

    def _start_children(self) -> None:
        say("4/4  Starting web, worker and beat (logs in var/log) ...")
        self._manage("collectstatic", "--no-input", "--clear")
        self._remove_pid_files()  # of a run that was killed
        # The socket is open already, so that nobody takes the port meanwhile and a restart refuses nobody.
        socket_number = self.listener.fileno()
        web = f"gunicorn config.wsgi --bind fd://{socket_number}"
        worker = "celery -A config worker --concurrency 4 -Q default,long -l INFO"
        beat = "celery -A config beat --schedule var/run/beat-schedule -l INFO"
        names = f"config.demo_names --port {self.environment['DEMO_NAMES_URL'].rpartition(':')[2]} --folder"
        self.children = [
            Child("names", [*names.split(), str(VAR / "backends" / "names")], self.environment),
            Child("web", web.split(), self.environment, (socket_number,)),
            Child("beat", beat.split(), self.environment),
            Child("worker", worker.split(), self.environment),
        ]
        for child in self.children:
            child.start()

    def _announce(self, people: str) -> None:
        wait_until(lambda: self._answers("/readyz") or any(map(Child.ended, self.children)), READY_SECONDS)
        for child in filter(Child.ended, self.children):
            raise EmbeddedError(f"The {child.name} process did not start: {last_lines(child.log, 1)}")
        if not self._answers("/readyz"):
            raise EmbeddedError(f"The web process did not answer within {READY_SECONDS} seconds: see var/log/web.log.")
        # The worker's first look at the database makes the last part ready; without it the demo still serves.
        wait_until(lambda: self._answers("/readyz?strict=1"), READY_SECONDS / 3)
        say(f"\nGreenlane is ready: {self.environment['PUBLIC_URL']}\n")
        say(people.rstrip())
        say("\nCtrl-C stops it. `make demo` goes on with the same data, `make reset` removes them.")

    def _answers(self, path: str) -> bool:
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return bool(answer.status == 200)  # noqa: PLR2004 (HTTP's OK)
        except OSError:
            return False

    def _supervise(self) -> None:
        parent = os.getppid()
        while True:
            time.sleep(0.3)
            # When `make` itself is killed, nobody is left to press Ctrl-C.
            if "MAKELEVEL" in os.environ and os.getppid() != parent:
                return
            for child in self.children:
                child.watch()
            for dead in (server for server in self.servers if not server.alive()):
                say(f"{dead} ended (see var/log); starting it again.")
                self.servers, _ = embedded.start(ROOT, say=lambda _line: None, die_with_parent=True)
                break

    def _stop(self) -> None:
        """End web, then beat, then the worker, then the servers."""
        self.stopping_since = self.stopping_since or time.monotonic()
        for child in self.children:
            child.ask_to_end()
        end = time.monotonic() + STOP_SECONDS
        for child in self.children:
            child.wait_for_end(max(0.0, end - time.monotonic()), lambda: self.hurry)
        self.listener.close()
        self._remove_pid_files()
        embedded.stop(ROOT)
        say("Stopped.")

    def _remove_pid_files(self) -> None:
        for file in (VAR / "run").glob("*.pid"):
            file.unlink(missing_ok=True)


def listen() -> socket.socket:
    """Open the demo's port: PORT, or the first free one from 8000 where that is unset.

    Raises EmbeddedError where PORT is no port or is taken.
    """
    text = os.environ.get("PORT", "")
    if text and not (re.fullmatch("[0-9]{1,5}", text) and 0 < int(text) < 65536):  # noqa: PLR2004 (the number of ports)
        raise EmbeddedError(f"PORT={text} is not a port: give a number from 1 to 65535.")
    ports = [int(text)] if text else range(FIRST_PORT, LAST_PORT + 1)
    for port in ports:
        try:
            return socket.create_server(("127.0.0.1", port), backlog=512)
        except OSError as error:
            reason = os.strerror(error.errno or 0)
    if text:
        raise EmbeddedError(f"Port {text} cannot be used ({reason}): give another one, as in `make demo PORT=8080`.")
    raise EmbeddedError(f"No port from {FIRST_PORT} to {LAST_PORT} is free: give one, as in `make demo PORT=9000`.")


def new_password() -> str:
    """Return a random password that can be typed: three groups of four letters."""
    return "-".join("".join(secrets.choice(LETTERS) for _ in range(4)) for _ in range(3))


def main(arguments: list[str] | None = None) -> int:
    """Run the demo; return 0 after a clean stop, 1 after a plain sentence."""
    argparse.ArgumentParser(prog="python -m config.demo", description=__doc__).parse_args(arguments)
    try:
        with demo_lock(ROOT), listen() as listener:
            Demo(listener).run()
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
