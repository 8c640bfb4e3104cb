"""A server of JSON over real HTTP that misbehaves on request; those of AWX and of Kubernetes are made with it."""

import json
import ssl
import threading
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, unquote, urlsplit


@dataclass(frozen=True)
class Heard:
    """One request as it came in."""

    method: str
    path: str
    query: dict[str, str]
    headers: dict[str, str]
    body: Any


@dataclass(frozen=True)
class Said:
    """One answer: a JSON value, or text as it is."""

    status: int = 200
    body: Any = field(default_factory=dict)
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class Trouble:
    """What the next request of a method and a piece of path gets instead of its answer.

    `acts`: whether what was asked takes place all the same. `drop` breaks the connection off.
    """

    method: str
    piece: str
    said: Said = field(default_factory=Said)
    acts: bool = False
    drop: bool = False
    times: int = 1


class JsonServer(ThreadingHTTPServer):
    """Serves on a free port of loopback until `close`. A kind of server overrides `act`."""

    daemon_threads = True

    def __init__(self, tls: ssl.SSLContext | None = None):
        super().__init__(("127.0.0.1", 0), _Handler)
        if tls:
            self.socket = tls.wrap_socket(self.socket, server_side=True)
        self.address = f"{'https' if tls else 'http'}://127.0.0.1:{self.server_port}"
        self.heard: list[Heard] = []
        self.troubles: list[Trouble] = []
        self.lock = threading.Lock()
        self.thread = threading.Thread(target=self.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True)
        self.thread.start()

    def close(self):
        """Stop serving."""
        self.shutdown()
        self.server_close()
        self.thread.join(timeout=5)

    def handle_error(self, *_arguments):
        """Who breaks off in the middle of an answer is what some tests are about."""

    def trouble(self, method, piece, status=500, body="<html>Oops</html>", *, headers=None, **how):
        """Answer the next request of `method` with `piece` in its path in another way."""
        self.troubles.append(Trouble(method, piece, Said(status, body, headers or {}), **how))

    def asked(self, method, piece=""):
        """List the requests of `method` with `piece` in their path."""
        return [one for one in self.heard if one.method == method and piece in one.path]

    def act(self, heard: Heard) -> Said:
        """Do what was asked."""
        raise NotImplementedError

    def answer_to(self, heard: Heard) -> Said | None:
        """Give the answer, None for a connection that breaks off."""
        with self.lock:
            self.heard.append(heard)
            trouble = next(
                (one for one in self.troubles if one.method == heard.method and one.piece in heard.path), None
            )
            if trouble is None:
                return self.act(heard)
            trouble.times -= 1
            if not trouble.times:
                self.troubles.remove(trouble)
            if trouble.acts:
                self.act(heard)
            return None if trouble.drop else trouble.said


class _Handler(BaseHTTPRequestHandler):
    server: JsonServer
    protocol_version = "HTTP/1.1"

    def log_message(self, *_arguments):
        """Nobody reads it."""

    def _serve(self):
        said = self.server.answer_to(self._heard())
        self.close_connection = True
        if said is None:
            return
        body = said.body.encode() if isinstance(said.body, str) else json.dumps(said.body).encode()
        self.send_response(said.status)
        for name, value in {"Content-Type": "application/json", "Content-Length": len(body), **said.headers}.items():
            self.send_header(name, str(value))
        self.end_headers()
        self.wfile.write(body)

    def _heard(self):
        target = urlsplit(self.path)
        sent = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        headers = {name.lower(): value for name, value in self.headers.items()}
        query = dict(parse_qsl(target.query, keep_blank_values=True))
        return Heard(self.command, unquote(target.path), query, headers, json.loads(sent) if sent else None)

    do_GET = do_POST = do_PATCH = do_PUT = do_DELETE = _serve  # noqa: N815 (names that the library asks for)
