"""A register of names, for the demo: what a DNS or address book's REST interface looks like from Greenlane.

`python -m config.demo_names --port 8101 --folder var/backends/names`, with its token in DEMO_NAMES_TOKEN. It is a back
end and no part of Greenlane: PUT /names/{name} registers a name once (201, 200 for the same owner again, 409 for
another) and frees the one that its owner had before, GET reads it, DELETE frees it. Names are kept in one file.
"""

import argparse
import hmac
import json
import os
import re
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

NAME = re.compile(r"/names/([a-z0-9][a-z0-9-]{0,40})")
LONGEST_BODY = 10_000
# What other departments registered long ago.
TAKEN = {name: {"owner": "it", "target": f"{name}.company.example"} for name in ("intranet", "mail", "www")}


class Register:
    """The names, by name; each change is in the file before it is answered."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self.path, self.lock = folder / "names.json", threading.Lock()
        self.names: dict[str, Any] = json.loads(self.path.read_text()) if self.path.exists() else dict(TAKEN)

    def put(self, name: str, entry: dict[str, Any]) -> HTTPStatus:
        """Register `name`, or find it registered."""
        with self.lock:
            there = self.names.get(name)
            if there and there["owner"] != entry["owner"]:
                return HTTPStatus.CONFLICT
            others = {key: known for key, known in self.names.items() if known["owner"] != entry["owner"]}
            self._write({**others, name: entry})
            return HTTPStatus.OK if there else HTTPStatus.CREATED

    def delete(self, name: str) -> HTTPStatus:
        """Free `name`; those of other departments stay."""
        with self.lock:
            if name not in self.names:
                return HTTPStatus.NOT_FOUND
            if name in TAKEN:
                return HTTPStatus.CONFLICT
            self._write({key: value for key, value in self.names.items() if key != name})
            return HTTPStatus.NO_CONTENT

    def _write(self, names: dict[str, Any]) -> None:
        fresh = self.path.with_suffix(".new")
        fresh.write_text(json.dumps(names, indent=1, sort_keys=True))
        fresh.replace(self.path)
        self.names = names


class Handler(BaseHTTPRequestHandler):
    """One request to the register."""

    register: Register
    token: str

    def do_GET(self) -> None:
        """Read a name."""
        name = self._name()
        if name:
            entry = self.register.names.get(name)
            self._answer(HTTPStatus.OK if entry else HTTPStatus.NOT_FOUND, entry or {"detail": "not registered"})

    def do_PUT(self) -> None:
        """Register a name."""
        name = self._name()
        if not name:
            return
        try:
            sent = json.loads(self.rfile.read(min(int(self.headers.get("Content-Length", 0)), LONGEST_BODY)))
            entry = {"owner": str(sent["owner"]), "target": str(sent["target"])}
        except (ValueError, KeyError, TypeError):
            self._answer(HTTPStatus.BAD_REQUEST, {"detail": "owner and target are needed"})
            return
        status = self.register.put(name, entry)
        taken = {"detail": f"{name} belongs to another owner"}
        self._answer(status, taken if status == HTTPStatus.CONFLICT else {"name": f"{name}.company.example"})

    def do_DELETE(self) -> None:
        """Free a name."""
        name = self._name()
        if name:
            self._answer(self.register.delete(name), None)

    def _name(self) -> str:
        """Give the name that is asked for; answer at once where nobody may ask, or where it is none."""
        given = self.headers.get("Authorization", "")
        found = NAME.fullmatch(self.path)
        if not hmac.compare_digest(given.encode(), f"Bearer {self.token}".encode()):
            self._answer(HTTPStatus.UNAUTHORIZED, {"detail": "who are you?"})
        elif not found:
            self._answer(HTTPStatus.NOT_FOUND, {"detail": "no such place"})
        else:
            return found[1]
        return ""

    def _answer(self, status: HTTPStatus, body: Any) -> None:
        text = json.dumps(body).encode() if body is not None else b""
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(text)))
        self.end_headers()
        self.wfile.write(text)


def main() -> None:
    """Serve on loopback until a signal comes."""
    parser = argparse.ArgumentParser(prog="python -m config.demo_names", description=__doc__)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True)
    options = parser.parse_args()
    Handler.register, Handler.token = Register(options.folder), os.environ["DEMO_NAMES_TOKEN"]
    ThreadingHTTPServer(("127.0.0.1", options.port), Handler).serve_forever()


if __name__ == "__main__":
    main()
