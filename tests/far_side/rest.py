"""A REST back end that makes things, counts what was asked of it, and misbehaves when told to.

| call | does |
|---|---|
| `POST /things` `{name, ...}` | 201 with the thing; the same Idempotency-Key gives the same thing again |
| `POST /slow` | 202 with Location `/operations/<id>`; done after `polls` questions |
| `PUT /things/<id>` | makes it under that id, or changes it |
| `GET`, `DELETE /things/<id>` | shows it, takes it away (404 where it is not) |
| `POST /things/<id>/password` `{password}` | sets its password |
| `GET /_state`, `POST /_faults` | for tests in other processes: what there is, and what goes wrong next |

A fault is `{"do": ..., "times": 1, "method": "", "path": ""}`, used up by calls that fit; FAULTS lists them.
By itself: `python -m tests.far_side.rest --port N --state DIR` (things live on in DIR/things.json).
"""

import argparse
import gzip
import json
import threading
import time
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from pathlib import Path

# What a fault does to the call it meets. `after`: the call is carried out first.
FAULTS = {
    "status": "answers `status` with `headers` and `body`, and does nothing",
    "status_after": "does it, and answers so all the same",
    "drop": "closes without an answer, having done nothing",
    "drop_after": "does it, and closes without an answer",
    "hold_after": "does it, and answers nothing until `release` is called",
    "drip": "sends its answer byte by byte",
    "drip_headers": "sends its headers byte by byte",
    "huge": "answers with a body without end",
    "bomb": "answers with a packed body that grows a thousandfold",
    "headers": "answers with headers without end",
    "html": "answers 200 with a page",
}


class RestBackEnd:
    """The server, with what it knows: `things` by id, `calls` in order."""

    def __init__(self, *, port=0, state=None, polls=2, knows_keys=True):
        self.things, self.operations, self.by_key = {}, {}, {}
        self.calls, self.faults = [], []
        self.polls, self.knows_keys = polls, knows_keys
        self.released = threading.Event()
        self.lock = threading.RLock()
        self.ids = count(1)
        self.file = Path(state) / "things.json" if state else None
        if self.file and self.file.is_file():
            self.things, self.by_key = json.loads(self.file.read_text())
        self.server = ThreadingHTTPServer(("127.0.0.1", port), _Handler)
        self.server.back_end = self
        self.server.daemon_threads = True
        self.server.block_on_close = False
        self.address = f"http://127.0.0.1:{self.server.server_port}"

    def __enter__(self):
        threading.Thread(target=self.server.serve_forever, args=(0.02,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self.released.set()
        self.server.shutdown()
        self.server.server_close()

    def fault(self, do, **fault):
        """Let the next call that fits meet this fault."""
        assert do in FAULTS, do
        self.faults.append({"do": do, "times": 1, "method": "", "path": "", **fault})

    def release(self):
        """Let go of the calls that are held."""
        self.released.set()

    def made(self, method=None):
        """List the calls, or those of one method, as (method, path)."""
        return [(call["method"], call["path"]) for call in self.calls if method in (None, call["method"])]

    def next_fault(self, method, path):
        """Use up one fault that fits."""
        with self.lock:
            for fault in self.faults:
                if fault["times"] > 0 and fault["method"] in ("", method) and path.startswith(fault["path"]):
                    fault["times"] -= 1
                    return fault
        return None

    def carry_out(self, method, path, headers, body):
        """Do what a call asks for; give (status, headers, answer)."""
        with self.lock:
            answer = self._carry_out(method, path.partition("?")[0].strip("/").split("/"), headers, body)
            if self.file:
                fresh = self.file.with_suffix(".new")
                fresh.write_text(json.dumps([self.things, self.by_key]))
                fresh.replace(self.file)
            return answer

    def _carry_out(self, method, parts, headers, body):
        key = headers.get("Idempotency-Key", "")
        match method, parts:
            case "POST", ["things"]:
                return 201, {"Location": f"/things/{self._make(key, body)}"}, self.things[self._make(key, body)]
            case "POST", ["slow"]:
                return self._begin({"thing": self._make(key, body)})
            case "GET", ["operations", name] if name in self.operations:
                return self._operation(name)
            case "PUT", ["things", name]:
                is_new = name not in self.things
                self.things[name] = self.things.get(name, {"id": name, "keys": []}) | (body or {})
                self.things[name].setdefault("keys", []).append(key)
                return 201 if is_new else 200, {}, self.things[name]
            case "GET", ["things", name] if name in self.things:
                return 200, {}, self.things[name]
            case "DELETE", ["slow", name] if name in self.things:
                return self._begin({"gone": name})
            case "DELETE", ["things", name] if name in self.things:
                del self.things[name]
                return 204, {}, None
            case "POST", ["things", name, "password"] if name in self.things:
                self.things[name]["password"] = body["password"]
                return 200, {}, {"id": name}
        return 404, {}, {"title": "Not here"}

    def _make(self, key, body):
        """Make a thing, or give the one that this key has made; the id."""
        if not (self.knows_keys and key in self.by_key):
            name = f"thing-{next(self.ids)}-{len(self.things)}"
            self.things[name] = {"state": "ready", **(body or {}), "id": name, "key": key}
            self.things[name] |= {"host": f"{name}.example", "admin": {"password": f"given-{name}"}}
            self.by_key[key] = name
        return self.by_key[key]

    def _begin(self, operation):
        name = f"operation-{len(self.operations) + 1}"
        self.operations[name] = {"asked": 0, **operation}
        return 202, {"Location": f"/operations/{name}"}, {"id": operation.get("thing", ""), "state": "creating"}

    def _operation(self, name):
        operation = self.operations[name]
        operation["asked"] += 1
        if operation["asked"] < self.polls:
            return 202, {"Retry-After": "1"}, {"state": "working", "said": f"Question {operation['asked']}."}
        if "gone" in operation:
            self.things.pop(operation["gone"], None)
            return 200, {}, {"state": "done"}
        return 200, {}, {**self.things[operation["thing"]], "state": "done"}


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def _serve(self):
        raw = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        if self.path.startswith("/_"):
            self._control(raw)
            return
        body = json.loads(raw) if raw.startswith((b"{", b"[")) else None
        call = {"method": self.command, "path": self.path, "headers": dict(self.headers), "raw": raw, "body": body}
        call["at"] = time.time()
        self.server.back_end.calls.append(call)
        fault = self.server.back_end.next_fault(self.command, self.path)
        with suppress(OSError):  # whoever asked has hung up
            self._answer(fault, body)

    do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _serve  # noqa: N815 (names of the standard library)

    def _control(self, raw):
        if self.path == "/_faults":
            self.server.back_end.fault(**json.loads(raw))
        calls = [{**call, "raw": call["raw"].decode("utf-8", "replace")} for call in self.server.back_end.calls]
        self._send(200, {}, {"things": self.server.back_end.things, "calls": calls})

    def _answer(self, fault, body):
        do = fault["do"] if fault else ""
        answer = None
        if not do or do in {"status_after", "drop_after", "hold_after", "drip"}:
            answer = self.server.back_end.carry_out(self.command, self.path, self.headers, body)
        if do in {"drop", "drop_after"}:
            self.close_connection = True
        elif do in {"status", "status_after"}:
            self._send(fault["status"], fault.get("headers", {}), fault.get("body"))
        elif do == "hold_after":
            self.server.back_end.released.wait(60)
            self._send(*answer)
        elif do in MISCHIEF:
            self.close_connection = True
            MISCHIEF[do](self.connection.sendall, self.server.back_end)
        else:
            self._send(*answer)

    def _send(self, status, headers, body):
        text = b"" if body is None else body.encode() if isinstance(body, str) else json.dumps(body).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)

    def log_message(self, *_):
        """Say nothing."""


def _drip(send, back_end):
    send(b"HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n")
    _slowly(send, back_end)


def _drip_headers(send, back_end):
    send(b"HTTP/1.1 200 OK\r\nX-Long: ")
    _slowly(send, back_end)


def _slowly(send, back_end):
    while not back_end.released.wait(0.05):
        send(b"x")


def _huge(send, back_end):
    send(b"HTTP/1.1 200 OK\r\n\r\n")
    while not back_end.released.is_set():
        send(b"x" * 65536)


def _bomb(send, _):
    packed = gzip.compress(bytes(50_000_000))
    send(b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(packed) + packed)


def _headers(send, back_end):
    send(b"HTTP/1.1 200 OK\r\n")
    while not back_end.released.is_set():
        send(b"X-More: " + b"x" * 1000 + b"\r\n")


def _html(send, _):
    send(b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: 15\r\n\r\n<h1>Hello</h1>\n")


MISCHIEF = {
    "drip": _drip, "drip_headers": _drip_headers, "huge": _huge, "bomb": _bomb, "headers": _headers, "html": _html,
}  # fmt: skip


def main():
    """Serve until the process is ended."""
    reader = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    reader.add_argument("--port", type=int, required=True)
    reader.add_argument("--state", help="a folder in which the things live on")
    options = reader.parse_args()
    RestBackEnd(port=options.port, state=options.state).server.serve_forever()


if __name__ == "__main__":
    main()
