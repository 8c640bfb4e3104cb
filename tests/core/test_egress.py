"""The one way out: every call has an end, and every answer is bounded."""

import gzip
import os
import socket
import ssl
import subprocess
import threading
import time
import zlib
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from core import egress
from tests.far_side.network import Resolver, listener
from tests.far_side.rest import RestBackEnd


@pytest.fixture
def rest(settings):
    """A back end on loopback that may be called."""
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with RestBackEnd() as server:
        yield server


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@pytest.mark.parametrize("headers", [{"Location": "http://169.254.169.254/"}, {"Location": "/elsewhere"}, {}])
def test_a_redirect_is_an_answer_and_nobody_follows_it(rest, status, headers):
    rest.fault("status", status=status, headers=headers)
    answer = egress.call("POST", f"{rest.address}/things", headers={"Authorization": "Bearer x"}, body=b"{}")
    assert (answer.status, answer.headers.get("location")) == (status, headers.get("Location"))
    assert len(rest.calls) == 1


def test_the_environments_proxies_are_not_asked(rest, monkeypatch):
    with listener() as (port, came):
        for name in ("http_proxy", "HTTP_PROXY", "https_proxy", "all_proxy", "ALL_PROXY"):
            monkeypatch.setenv(name, f"http://127.0.0.1:{port}")
        assert egress.call("GET", rest.address).status == 404
        assert not came()


def test_an_answer_has_status_headers_in_any_case_and_body(rest):
    answer = egress.call("POST", f"{rest.address}/things?x=%20", headers={"X-Of": "us"}, body=b'{"name": "a"}')
    assert (answer.status, answer.headers["content-TYPE"]) == (201, "application/json")
    assert answer.json()["name"] == "a"
    assert rest.calls[0]["path"] == "/things?x=%20"
    assert rest.calls[0]["headers"]["X-Of"] == "us"
    assert "python" not in str(rest.calls[0]["headers"]).lower()


@pytest.mark.parametrize(
    "body", ["", "<p>", "NaN", '{"a": Infinity}', '"\\ud800"', '{"\\u0000": 1}', "[" * 5000, "1e400", "\ufffe{"]
)
def test_what_is_no_json_that_can_be_stored_is_a_bad_answer(body):
    with pytest.raises(egress.BadAnswer):
        egress.Answer(200, {}, body.encode()).json()


def test_text_is_given_with_what_cannot_be_stored_replaced():
    assert egress.Answer(200, {}, b"a\0b\xff").text() == "a\N{REPLACEMENT CHARACTER}b\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("Host", "elsewhere"),
        ("content-length", "0"),
        ("Transfer-Encoding", "chunked"),
        ("Connection", "keep-alive"),
        ("X-A\r\nX-B", "c"),
        ("X A", "b"),
        ("", "b"),
        ("X-A", "b\r\nX-C: d"),
        ("X-A", "b\nc"),
        ("X-A", "b\0"),
        ("X-A", "日本"),
    ],
)
def test_a_header_that_would_reframe_the_call_is_refused(rest, name, value):
    with pytest.raises(egress.Refused, match="header"):
        egress.call("GET", rest.address, headers={name: value})
    assert rest.calls == []


@pytest.mark.parametrize("method", ["get", "TRACE", "CONNECT", "GET /x HTTP/1.1\r\n", ""])
def test_an_unknown_method_is_refused(rest, method):
    with pytest.raises(egress.Refused, match="methods"):
        egress.call(method, rest.address)


@pytest.mark.parametrize("fault", ["drip", "drip_headers", "hold_after"])
def test_who_answers_byte_by_byte_or_not_at_all_is_too_slow(rest, fault):
    rest.fault(fault)
    began = time.monotonic()
    with pytest.raises(egress.TooSlow) as slow:
        egress.call("POST", f"{rest.address}/things", body=b"{}", seconds=0.5)
    assert time.monotonic() - began < 2
    assert slow.value.sent


def test_a_body_without_length_that_is_cut_off_by_time_is_no_answer(rest):
    rest.fault("huge")
    with pytest.raises((egress.TooSlow, egress.TooLarge)):
        egress.call("GET", rest.address, seconds=0.3, max_bytes=10**12)


@pytest.mark.parametrize("fault", ["huge", "bomb", "headers"])
def test_an_answer_without_end_is_too_large_and_fills_no_memory(rest, fault):
    egress.call("GET", rest.address)
    rest.fault(fault)
    before = memory()
    with pytest.raises(egress.TooLarge):
        egress.call("GET", rest.address, seconds=10)
    # The far side lives in this process too: its bomb is 50 megabytes while it is packed.
    assert memory() - before < (60 if fault == "bomb" else 30) * 1024 * 1024


def memory():
    """Bytes of memory that this process has resident."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def raw_answer(*parts):
    """Give the address of a server that answers one call with exactly these bytes, and then hangs up."""
    server = socket.create_server(("127.0.0.1", 0))

    def serve():
        with server, server.accept()[0] as peer, suppress(OSError):  # who has read enough hangs up
            peer.recv(65536)
            for part in parts:
                peer.sendall(part)

    threading.Thread(target=serve, daemon=True).start()
    return f"http://127.0.0.1:{server.getsockname()[1]}/"


def packed(body, encoding="gzip", length=None):
    return [
        b"HTTP/1.1 200 OK\r\nContent-Encoding: %b\r\nContent-Length: %d\r\n\r\n"
        % (encoding.encode(), length or len(body)),
        body,
    ]


@pytest.mark.parametrize(
    ("parts", "kind"),
    [
        (packed(gzip.compress(os.urandom(20) * 9)[:-9]), egress.BadAnswer),
        (packed(b"no gzip at all"), egress.BadAnswer),
        (packed(b"x", "br"), egress.BadAnswer),
        (packed(gzip.compress(gzip.compress(b"x")), "gzip, gzip"), egress.BadAnswer),
        (packed(gzip.compress(bytes(100_000))), egress.TooLarge),
        (packed(zlib.compress(bytes(100_000)), "deflate"), egress.TooLarge),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nabc"], egress.Unreachable),
        ([b"HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\nabc"], egress.TooLarge),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nabc"], egress.EgressError),
        ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nab"], egress.Unreachable),
        ([b"HTTP/1.1 200 OK\r\nX: " + b"y" * 70_000 + b"\r\n\r\n"], egress.TooLarge),
        ([b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 200 + b"\r\n"], egress.TooLarge),
        ([b"HTTP/1.1 two hundred\r\n\r\n"], egress.BadAnswer),
        ([b"SSH-2.0-OpenSSH_9.2\r\n"], egress.EgressError),
        ([b"\xff\xfe\x00"], egress.EgressError),
        ([b""], egress.Unreachable),
    ],
)
def test_what_is_no_whole_answer_is_an_error_with_a_sentence(settings, parts, kind):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with pytest.raises(kind) as error:
        egress.call("GET", raw_answer(*parts), seconds=5)
    assert str(error.value).endswith(".")
    assert error.value.sent


@pytest.mark.parametrize("encoding", ["gzip", "x-gzip", "deflate", "identity", ""])
def test_an_answer_that_was_packed_all_the_same_is_unpacked(settings, encoding):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    body = os.urandom(500)
    pack = {"gzip": gzip.compress, "x-gzip": gzip.compress, "deflate": zlib.compress}.get(encoding, bytes)
    assert egress.call("GET", raw_answer(*packed(pack(body), encoding))).body == body


def test_a_body_in_chunks_is_put_together(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    address = raw_answer(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
    assert egress.call("GET", address).body == b"abcde"


@pytest.mark.parametrize("fault", ["drop", "drop_after"])
def test_who_hangs_up_without_an_answer_may_have_acted(rest, fault):
    rest.fault(fault)
    with pytest.raises(egress.Unreachable) as unreachable:
        egress.call("POST", f"{rest.address}/things", body=b"{}")
    assert unreachable.value.sent
    assert len(rest.things) == (fault == "drop_after")


def test_who_is_not_there_has_certainly_not_acted(settings):
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with listener() as (port, _):
        pass
    with pytest.raises(egress.Unreachable, match="refused") as unreachable:
        egress.call("POST", f"http://127.0.0.1:{port}/")
    assert unreachable.value.sent is False


def test_a_call_can_be_stopped_from_another_thread(rest):
    rest.fault("hold_after")

    @contextmanager
    def cancel(stop):
        timer = threading.Timer(0.2, stop)
        timer.start()
        yield
        timer.join()

    began = time.monotonic()
    with pytest.raises(egress.Canceled):
        egress.call("POST", f"{rest.address}/things", body=b"{}", cancel=cancel)
    assert time.monotonic() - began < 2


def test_who_is_stopped_before_connecting_sends_nothing(rest):
    @contextmanager
    def cancel(stop):
        stop()
        yield

    with pytest.raises(egress.Canceled) as canceled:
        egress.call("POST", f"{rest.address}/things", body=b"{}", cancel=cancel)
    assert canceled.value.sent is False
    assert rest.calls == []


@pytest.fixture(scope="module")
def certificates(tmp_path_factory):
    """A certificate for `broker.example`, made by itself: (PEM file of key and certificate, PEM text)."""
    folder = tmp_path_factory.mktemp("tls")
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", folder / "key", "-out", folder / "cert", "-days", "2", "-subj", "/CN=broker.example",
         "-addext", "subjectAltName=DNS:broker.example"],
        check=True, capture_output=True, timeout=60,
    )  # fmt: skip
    return folder, (folder / "cert").read_text()


@pytest.fixture
def tls(certificates, settings):
    """The back end behind TLS, under any name that is asked for."""
    folder, _ = certificates
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "cert", folder / "key")
    names = []
    context.sni_callback = lambda _socket, name, _context: names.append(name)
    with RestBackEnd() as server, Resolver(["127.0.0.1"]) as resolver:
        server.server.socket = context.wrap_socket(server.server.socket, server_side=True)
        server.names = names
        settings.EGRESS_RESOLVER = resolver.at
        yield server


def test_the_certificate_is_checked_against_the_name_that_was_asked_for(tls, certificates):
    _, certificate = certificates
    port = tls.server.server_port
    answer = egress.call("GET", f"https://broker.example:{port}/", ca_certificate=certificate)
    assert (answer.status, tls.names) == (404, ["broker.example"])
    assert tls.calls[0]["headers"]["Host"] == f"broker.example:{port}"
    with pytest.raises(egress.Unreachable, match="certificate is not valid") as wrong:
        egress.call("GET", f"https://other.example:{port}/", ca_certificate=certificate)
    assert wrong.value.sent is False


def test_a_certificate_of_nobody_known_is_not_trusted(tls):
    with pytest.raises(egress.Unreachable, match="certificate is not valid"):
        egress.call("GET", f"https://broker.example:{tls.server.server_port}/")
    assert tls.calls == []


def test_an_authority_that_is_no_certificate_is_refused(tls):
    for wrong in ("no PEM", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----", "ü"):
        with pytest.raises(egress.Refused, match="PEM"):
            egress.call("GET", f"https://broker.example:{tls.server.server_port}/", ca_certificate=wrong)


def test_a_server_that_speaks_no_tls_has_certainly_not_acted(rest, settings):
    with pytest.raises(egress.Unreachable) as unreachable:
        egress.call("GET", f"https://127.0.0.1:{rest.server.server_port}/", seconds=3)
    assert unreachable.value.sent is False
    assert rest.made() == []
