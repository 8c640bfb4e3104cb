"""Name servers: a real BIND 9 of one test, and a scripted one that misbehaves."""

import base64
import contextlib
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdatatype
import dns.tsig
import dns.update
import pytest

ZONE = "apps.example"
KEY_NAME, KEY = "greenlane", base64.b64encode(b"k" * 32).decode()
KEYRING = dns.tsig.Key(KEY_NAME, KEY, "hmac-sha256")
CONFIGURATION = """
options {{
    directory "{root}"; pid-file none; session-keyfile "{root}/session.key"; lock-file none;
    listen-on port {port} {{ 127.0.0.1; }}; listen-on-v6 {{ none; }};
    recursion no; dnssec-validation no; notify no; empty-zones-enable no;
}};
controls {{ }};
logging {{ category default {{ null; }}; category unmatched {{ null; }}; }};
key "{key_name}" {{ algorithm hmac-sha256; secret "{key}"; }};
key "reader" {{ algorithm hmac-sha256; secret "{key}"; }};
zone "{zone}" {{ type primary; file "{root}/zone"; allow-update {{ key "{key_name}"; }}; }};
"""
RECORDS = """$TTL 300
@ IN SOA ns.apps.example. root.apps.example. 1 3600 600 86400 300
@ IN NS ns
ns IN A 127.0.0.1
taken IN A 192.0.2.1
"""


@dataclass
class NameServer:
    """A running BIND, asked past the connector."""

    port: int

    @property
    def address(self) -> str:
        """Where it listens."""
        return f"127.0.0.1:{self.port}"

    def records(self, name: str, kind: str = "A") -> list[str]:
        """Give the records of one name and type, as text."""
        question = dns.message.make_query(f"{name}.", kind)
        answer = dns.query.tcp(question, "127.0.0.1", timeout=5, port=self.port)
        return sorted(data.to_text() for rows in answer.answer for data in rows)

    def change(self, act: Callable[[dns.update.UpdateMessage], Any]) -> None:
        """Change the zone as somebody else who may."""
        update = dns.update.UpdateMessage(ZONE, keyring=KEYRING)
        act(update)
        answer = dns.query.tcp(update, "127.0.0.1", timeout=5, port=self.port)
        if answer.rcode() != dns.rcode.NOERROR:
            raise AssertionError(dns.rcode.to_text(answer.rcode()))


def free_port() -> int:
    """Find a port that is free just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def name_server() -> Iterator[NameServer]:
    """Run BIND with one zone that our key may change; skips the test by name where it is not installed."""
    program = shutil.which("named", path="/usr/sbin:/usr/local/sbin:/usr/bin:/usr/local/bin")
    if program is None:
        pytest.skip("BIND (named) is not installed")
    with tempfile.TemporaryDirectory(prefix="greenlane-named-") as folder:
        root, port = Path(folder), free_port()
        values = {"root": root, "port": port, "key_name": KEY_NAME, "key": KEY, "zone": ZONE}
        (root / "named.conf").write_text(CONFIGURATION.format(**values))
        (root / "zone").write_text(RECORDS)
        command = [program, "-f", "-4", "-n", "1", "-c", str(root / "named.conf")]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) as process:
            try:
                server = NameServer(port)
                _wait_for(server, process)
                yield server
            finally:
                process.kill()


def _wait_for(server: NameServer, process: subprocess.Popen[bytes]) -> None:
    ends_at = time.monotonic() + 15
    while time.monotonic() < ends_at and process.poll() is None:
        with contextlib.suppress(OSError):
            if server.records(f"ns.{ZONE}"):
                return
        time.sleep(0.05)
    process.kill()
    raise RuntimeError(f"named did not start: {process.communicate()[1].decode()[-500:]}")


Reply = Callable[[dns.message.Message], bytes | None]


@contextlib.contextmanager
def scripted_name_server(reply: Reply, *, drip: bool = False) -> Iterator[tuple[list[dns.message.Message], int]]:
    """Answer each question over TCP with what `reply` gives, None for silence; give the questions and the port."""
    asked: list[dns.message.Message] = []
    stop = threading.Event()

    def serve(connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError, EOFError, struct.error):
            connection.settimeout(5)
            (size,) = struct.unpack("!H", connection.recv(2, socket.MSG_WAITALL))
            question = dns.message.from_wire(connection.recv(size, socket.MSG_WAITALL), keyring=KEYRING)
            asked.append(question)
            wire = reply(question)
            if wire is None:
                stop.wait(30)
                return
            frame = struct.pack("!H", len(wire)) + wire
            if drip:
                for byte in frame:
                    connection.sendall(bytes([byte]))
                    if stop.wait(0.2):
                        return
            connection.sendall(frame)

    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def accept() -> None:
            while not stop.is_set():
                with contextlib.suppress(TimeoutError):
                    serve(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield asked, server.getsockname()[1]
        finally:
            stop.set()
            thread.join(timeout=5)


def signed(
    question: dns.message.Message, code: int = dns.rcode.NOERROR, *, error: int = 0, key: Any = KEYRING
) -> bytes:
    """Write an answer with a status, signed with `key` as RFC 8945 says."""
    answer = dns.message.make_response(question)
    answer.set_rcode(dns.rcode.Rcode(code))
    answer.use_tsig(key, tsig_error=error)
    answer.request_mac = question.mac
    return answer.to_wire()


def unsigned(question: dns.message.Message, code: int = dns.rcode.NOERROR) -> bytes:
    """Write an answer that nobody signed."""
    answer = dns.message.make_response(question)
    answer.tsig, answer.want_tsig_sign = None, False
    answer.set_rcode(dns.rcode.Rcode(code))
    return answer.to_wire()
