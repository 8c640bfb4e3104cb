"""A REST back end that misbehaves on request and counts by itself what lives there.

A thing lives at /things/<service>/<step>: PUT makes it, GET shows it, DELETE takes it away. As a back end should, it
knows a repeated Idempotency-Key again and refuses a caller whose fencing token is older than one it has seen.
"""

import contextlib
import json
import random
import socket
import struct
import threading
import time
from collections import Counter, defaultdict
from dataclasses import dataclass, field
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

MOODS = ("lost", "slow", "busy", "drip", "reset", "keeps")
# What a call takes in any mood, so that there is something to interrupt.
THINK_SECONDS = (0.05, 0.4)
LOST_SECONDS = (0.0, 1.5)
DRIPS, DRIP_SECONDS = 20, 0.15
# A step on this path is always refused; one on that path is only ever answered with a fault.
REFUSED, BROKEN = "refused", "broken"
# A thing of this name is ready some seconds after it was asked for: until then all answers are 202.
SLOWLY, READY_SECONDS = "slowly", (0.3, 2.5)


@dataclass
class Thing:
    """One live thing: the keys of the calls that made it, a password that nobody else may see, when it is ready."""

    keys: list[str]
    password: str
    ready_at: float = 0.0


@dataclass
class Register:
    """What lives, what was done, and in which mood the back end is."""

    token: str
    canary: str
    things: dict[tuple[str, str], Thing] = field(default_factory=dict)
    fences: dict[tuple[str, str], int] = field(default_factory=lambda: defaultdict(int))
    # Keys under which one and the same place was made more than once: a duplicate, even if it was one after another.
    duplicates: list[str] = field(default_factory=list)
    counts: Counter[str] = field(default_factory=Counter)
    mood: str = ""
    # Of all calls, how many the mood is for.
    share: float = 0.6
    slow_seconds: tuple[float, float] = (0.5, 3.0)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def make(self, place: tuple[str, str], key: str, fence: int) -> tuple[int, dict[str, Any]]:
        """Make the thing, or find it: the same key is the same thing."""
        with self.lock:
            if fence < self.fences[place]:
                self.counts["stale callers refused"] += 1
                return HTTPStatus.PRECONDITION_FAILED, {"error": "another worker has taken this over"}
            self.fences[place] = fence
            known = self.things.get(place)
            if known is None:
                self.counts["things made"] += 1
                wait = random.uniform(*READY_SECONDS) if place[1] == SLOWLY else 0.0  # noqa: S311 (chance, no secret)
                password = f"{self.canary}-{random.randbytes(8).hex()}"  # noqa: S311 (a test's)
                self.things[place] = Thing([key], password, time.monotonic() + wait)
                return HTTPStatus.ACCEPTED if wait else HTTPStatus.CREATED, self._told(place)
            if key not in known.keys:
                known.keys.append(key)
                self.duplicates.append(f"{'/'.join(place)} was made under {len(known.keys)} keys")
            self.counts["repeats recognized"] += 1
            return self._status(known), self._told(place)

    def show(self, place: tuple[str, str]) -> tuple[int, dict[str, Any]]:
        """Tell whether it is there."""
        with self.lock:
            if place not in self.things:
                return HTTPStatus.NOT_FOUND, {}
            return self._status(self.things[place]), self._told(place)

    def take_away(self, place: tuple[str, str], fence: int) -> tuple[int, dict[str, Any]]:
        """Take it away, once; from then on nobody older makes it again."""
        with self.lock:
            if fence < self.fences[place]:
                self.counts["stale callers refused"] += 1
                return HTTPStatus.PRECONDITION_FAILED, {"error": "another worker has taken this over"}
            self.fences[place] = fence
            if self.things.pop(place, None) is None:
                return HTTPStatus.NOT_FOUND, {"error": "not here"}
            self.counts["things taken away"] += 1
            return HTTPStatus.OK, {}

    def live(self) -> dict[str, list[str]]:
        """List what lives, by service."""
        with self.lock:
            found: dict[str, list[str]] = defaultdict(list)
            for service, step in sorted(self.things):
                found[service].append(step)
            return dict(found)

    def _status(self, thing: Thing) -> int:
        return HTTPStatus.OK if time.monotonic() >= thing.ready_at else HTTPStatus.ACCEPTED

    def _told(self, place: tuple[str, str]) -> dict[str, Any]:
        return {"ref": "/".join(place), "url": f"https://{place[1]}.example", "password": self.things[place].password}


class Handler(BaseHTTPRequestHandler):
    """Speaks HTTP for the register, in its mood."""

    protocol_version = "HTTP/1.1"
    register: Register

    def do_PUT(self) -> None:
        """Make a thing."""
        self._serve(lambda: self.register.make(self._place(), self.headers["Idempotency-Key"], self._fence()))

    def do_GET(self) -> None:
        """Show a thing."""
        self._serve(lambda: self.register.show(self._place()))

    def do_DELETE(self) -> None:
        """Take a thing away."""
        if self.register.mood == "keeps":
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "not in the mood to let go"})
            return
        self._serve(lambda: self.register.take_away(self._place(), self._fence()))

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002 (the base class's name)
        """Say nothing: the register counts."""

    def _place(self) -> tuple[str, str]:
        service, step = self.path.split("/")[-2:]
        return service, step

    def _fence(self) -> int:
        return int(self.headers["X-Greenlane-Fencing-Token"])

    def _serve(self, act: Any) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        register, mood = self.register, self.register.mood
        register.counts[f"{self.command} calls"] += 1
        if self.headers.get("Authorization") != f"Bearer {register.token}":
            self._answer(HTTPStatus.UNAUTHORIZED, {"error": "who is there?"})
            return
        step = self._place()[1]
        if step.startswith(REFUSED) and self.command == "PUT":
            self._answer(HTTPStatus.UNPROCESSABLE_ENTITY, {"error": "never"})
            return
        if step.startswith(BROKEN) and self.command == "PUT":
            act()  # it says that it failed, and left something behind
            self._answer(HTTPStatus.INTERNAL_SERVER_ERROR, {"error": "broken"})
            return
        time.sleep(random.uniform(*THINK_SECONDS))  # noqa: S311 (chance, no secret)
        if mood in {"", "keeps"} or random.random() > register.share:  # noqa: S311 (chance, no secret)
            self._answer(*act())
            return
        register.counts[f"mood: {mood}"] += 1
        getattr(self, f"_be_{mood}")(act)

    def _be_lost(self, act: Any) -> None:
        """Do it and never say so."""
        act()
        time.sleep(random.uniform(*LOST_SECONDS))  # noqa: S311 (chance, no secret)
        self._hang_up()

    def _be_slow(self, act: Any) -> None:
        """Do it late."""
        time.sleep(random.uniform(*self.register.slow_seconds))  # noqa: S311 (chance, no secret)
        self._answer(*act())

    def _be_busy(self, act: Any) -> None:
        """Do nothing and ask to come back."""
        self._answer(HTTPStatus.SERVICE_UNAVAILABLE, {"error": "busy"}, {"Retry-After": "1"})

    def _be_drip(self, act: Any) -> None:
        """Do it and say so byte by byte."""
        status, told = act()
        body = json.dumps(told).encode()
        with contextlib.suppress(OSError):
            self._begin(status, len(body), {})
            for start in range(0, len(body), max(1, len(body) // DRIPS)):
                self.wfile.write(body[start : start + max(1, len(body) // DRIPS)])
                self.wfile.flush()
                time.sleep(DRIP_SECONDS)

    def _be_reset(self, act: Any) -> None:
        """Break the connection, before or after doing it."""
        if random.random() < 0.5:  # noqa: S311, PLR2004 (a coin)
            act()
        self._hang_up()

    def _hang_up(self) -> None:
        """End the connection with a reset, without an answer."""
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            self.connection.close()

    def _answer(self, status: int, told: dict[str, Any], headers: dict[str, str] | None = None) -> None:
        body = json.dumps(told).encode()
        with contextlib.suppress(OSError):  # the caller may be dead by now
            self._begin(status, len(body), headers or {})
            self.wfile.write(body)

    def _begin(self, status: int, length: int, headers: dict[str, str]) -> None:
        self.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(length), **headers}.items():
            self.send_header(name, value)
        self.end_headers()

    def handle(self) -> None:
        """Serve a connection until either side has enough of it."""
        with contextlib.suppress(OSError, ValueError):
            super().handle()

    def finish(self) -> None:
        """Close the streams; of a connection that was reset there is nothing left to write."""
        with contextlib.suppress(OSError, ValueError):
            super().finish()


class Server(ThreadingHTTPServer):
    """As many connections as come."""

    daemon_threads = True
    request_queue_size = 128


@contextlib.contextmanager
def serving(register: Register) -> Any:
    """Serve `register` on a port of its own while the block runs; gives its address."""
    handler = type("BoundHandler", (Handler,), {"register": register})
    server = Server(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.1}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()
