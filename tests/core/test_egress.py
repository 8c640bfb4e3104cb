"""The one way out: which addresses are called, and that every call has an end."""

import gzip
import ipaddress
import os
import re
import socket
import ssl
import subprocess
import threading
import time
import zlib
from contextlib import contextmanager
from pathlib import Path

import dns.message
import dns.rrset
import pytest

from core import egress
from core.egress.targets import is_public
from tests.far_side.rest import RestBackEnd

NOT_AN_ADDRESS = [
    "", "http", "http:", "http:/", "http://", "https://", "//host/", "/path", "host", "host:443", "https:/host/",
    "https:host", "https:///path", "https://:443/", "https://?x", "https://#x", "ftp://host/", "file:///etc/passwd",
    "gopher://host/", "javascript:alert(1)", "data:text/plain,x", "ws://host/", "unix:///run/x.sock",
    "https://user@host/", "https://user:password@host/", "https://host@127.0.0.1/", "https://127.0.0.1@host/",
    "https://host:80@127.0.0.1:443/", "https://@host/", "https://host\\@127.0.0.1/", "https://host\\.example/",
    "https://host/\\..\\x", " https://host/", "https://host/ ", "https://ho st/", "https://host/a b", "https://host\t/",
    "https://host/\r\nHost: x", "https://host/\n", "https://host/\0", "https://host/#fragment", "https://host#x",
    "https://host:/", "https://host:0/", "https://host:65536/", "https://host:99999/", "https://host:-1/",
    "https://host:443x/", "https://host:\uff14\uff14\uff13/", "https://host:0x50/", "https://host:443:443/",
    "https://bücher.example/", "https://\uff11\uff12\uff17.0.0.1/", "https://127。0。0。1/", "https://ⓔxample.com/",
    "https://loc\u00adalhost/", "https://host/ü", "https://%6c%6f%63%61%6c%68%6f%73%74/", "https://127.0.0.1%2f/",
    "https://host%00.example/", "https://.host/", "https://host../", "https://a..b/", "https://-host/", "https://host-/",
    "https://" + "a" * 64 + ".example/", "https://" + "a." * 127 + "example/", "https://*.example/", "https://a,b/",
    # IPv4 in the forms that only some libraries read: octal, hexadecimal, one number, too few parts, too many.
    "http://0177.0.0.1/", "http://0x7f.0.0.1/", "http://0x7f000001/", "http://2130706433/", "http://127.1/",
    "http://127.0.1/", "http://0/", "http://017700000001/", "http://127.0.0.01/", "http://127.0.0.1.1/",
    "http://256.0.0.1/", "http://127.0.0.0x1/", "http://1.2.3/", "http://4294967296/", "http://0x/", "http://host.1/",
    "http://127.0.0.1../", "http://0.0.0.0x0/",
    # IPv6
    "http://::1/", "http://[::1/", "http://::1]/", "http://[]/", "http://[::1]x/", "http://[::1%25lo]/",
    "http://[::1%lo]/", "http://[fe80::1%eth0]/", "http://[1:2]/", "http://[::g]/", "http://[v1.x]/", "http://[::1].x/",
    "http://[127.0.0.1]/", "http://[[::1]]/", "http://[::ffff:0x7f.0.0.1]/",
]  # fmt: skip

NOT_PUBLIC = [
    "127.0.0.1", "127.255.255.254", "0.0.0.0", "0.1.2.3", "10.0.0.1", "10.255.255.255", "100.64.0.1", "100.127.255.254",  # noqa: S104 (refused)
    "169.254.169.254", "169.254.0.1", "172.16.0.1", "172.31.255.255", "192.168.0.1", "192.0.0.1", "192.0.0.170",
    "192.0.2.1", "192.88.99.1", "198.18.0.1", "198.19.255.255", "198.51.100.1", "203.0.113.1", "224.0.0.1",
    "239.255.255.255", "240.0.0.1", "255.255.255.255",
    "::", "::1", "::127.0.0.1", "::7f00:1", "::169.254.169.254", "::8.8.8.8", "::ffff:127.0.0.1", "::ffff:7f00:1",
    "::ffff:10.0.0.1", "::ffff:169.254.169.254", "::ffff:0:7f00:1", "64:ff9b::127.0.0.1", "64:ff9b::169.254.169.254",
    "64:ff9b::10.0.0.1", "64:ff9b:1::8.8.8.8", "2002:7f00:1::1", "2002:a9fe:a9fe::1", "2002:808:808::1",
    "2001::1", "2001:0:7f00:1::1", "2001:db8::1", "2001:10::1", "2001:2::1", "3fff::1", "100::1", "5f00::1", "fc00::1",
    "fd00::1", "fd00:ec2::254", "fe80::1", "fec0::1", "ff02::1", "ff0e::1", "4000::1",
]  # fmt: skip

PUBLIC = [
    "8.8.8.8",
    "93.184.216.34",
    "192.0.1.1",
    "2606:4700::1",
    "2a00:1450:4001::1",
    "::ffff:8.8.8.8",
    "64:ff9b::8.8.8.8",
]


@pytest.fixture
def rest(settings):
    """A back end on loopback that may be called."""
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with RestBackEnd() as server:
        yield server


@contextmanager
def listener():
    """A socket that notes whether anybody came."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0)

        def came():
            try:
                server.accept()[0].close()
            except BlockingIOError:
                return False
            return True

        yield server.getsockname()[1], came


@pytest.mark.parametrize("url", NOT_AN_ADDRESS)
def test_what_is_not_plainly_an_address_is_refused(url, settings):
    settings.EGRESS_ALLOW = ["0.0.0.0/0", "::/0", "host", "localhost"]
    with pytest.raises(egress.Refused) as refused:
        egress.call("GET", url)
    assert str(refused.value).endswith(".")
    assert refused.value.sent is False


@pytest.mark.parametrize("address", NOT_PUBLIC)
def test_an_address_that_is_not_public_is_refused(address):
    literal = f"[{address}]" if ":" in address else address
    for scheme in ("http", "https"):
        with pytest.raises(egress.Refused, match="not public"):
            egress.call("GET", f"{scheme}://{literal}:9/")


@pytest.mark.parametrize("address", PUBLIC)
def test_a_public_address_is_public(address):
    assert is_public(ipaddress.ip_address(address))


@pytest.mark.parametrize("name", ["localhost", "LOCALHOST", "localhost.", "LocalHost."])
def test_a_name_of_this_machine_is_refused_and_nothing_connects(name):
    with listener() as (port, came):
        with pytest.raises(egress.Refused, match="not public"):
            egress.call("GET", f"http://{name}:{port}/")
        assert not came()


@pytest.mark.parametrize(
    ("allowed", "url", "fits"),
    [
        ("127.0.0.1", "http://127.0.0.1:{port}/", True),
        ("127.0.0.1", "http://127.0.0.1.:{port}/", True),
        ("127.0.0.1", "http://localhost:{port}/", True),
        ("127.0.0.0/8", "http://127.0.0.1:{port}/", True),
        ("127.0.0.1:{port}", "http://127.0.0.1:{port}/", True),
        ("127.0.0.0/8:{port}", "http://localhost:{port}/", True),
        ("127.0.0.1:1", "http://127.0.0.1:{port}/", False),
        ("127.0.0.0/8:1", "http://127.0.0.1:{port}/", False),
        ("10.0.0.0/8", "http://127.0.0.1:{port}/", False),
        ("localhost", "http://localhost:{port}/", True),
        ("LOCALHOST.", "http://localhost:{port}/", True),
        ("localhost:{port}", "http://LOCALHOST.:{port}/", True),
        ("localhost:1", "http://localhost:{port}/", False),
        ("localhost", "http://127.0.0.1:{port}/", False),
        ("host", "http://localhost:{port}/", False),
        ("*.host", "http://localhost:{port}/", False),
        ("[::]/0", "http://127.0.0.1:{port}/", False),
        ("::/0", "http://127.0.0.1:{port}/", False),
        ("", "http://127.0.0.1:{port}/", False),
    ],
)
def test_the_list_says_what_may_be_reached_beyond(rest, settings, allowed, url, fits):
    port = rest.server.server_port
    settings.EGRESS_ALLOW = [allowed.format(port=port)]
    if fits:
        assert egress.call("GET", url.format(port=port)).status == 404
    else:
        with pytest.raises(egress.Refused):
            egress.call("GET", url.format(port=port))
        assert rest.calls == []


@pytest.mark.parametrize(
    "entry",
    ["10.0.0.1/8", "127.1", "0x7f000001", "http://host", "host:port", "host/path", "*", "a*b", "*.", ".host", "1:2:"],
)
def test_a_mistake_in_the_list_lets_nothing_out(rest, settings, entry):
    settings.EGRESS_ALLOW = ["127.0.0.1", entry]
    with pytest.raises(egress.Refused, match="EGRESS_ALLOW"):
        egress.call("GET", rest.address)
    assert rest.calls == []


class Resolver:
    """A DNS server that gives each question the next of its answers."""

    def __init__(self, *answers):
        self.answers, self.asked = list(answers), 0
        self.socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.socket.bind(("127.0.0.1", 0))
        self.at = "{}:{}".format(*self.socket.getsockname())

    def __enter__(self):
        self.thread = threading.Thread(target=self._serve, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.socket.sendto(b"", self.socket.getsockname())
        self.thread.join(5)
        self.socket.close()

    def _serve(self):
        while True:
            data, sender = self.socket.recvfrom(4096)
            if not data:
                return
            query = dns.message.from_wire(data)
            answer = dns.message.make_response(query)
            question = query.question[0]
            if question.rdtype == 1:
                addresses = self.answers[min(self.asked, len(self.answers) - 1)]
                self.asked += 1
                if addresses:
                    answer.answer.append(dns.rrset.from_text(question.name, 0, "IN", "A", *addresses))
            self.socket.sendto(answer.to_wire(), sender)


def test_a_name_is_resolved_once_so_that_a_second_answer_changes_nothing(rest, settings):
    port = rest.server.server_port
    settings.EGRESS_ALLOW = ["127.0.0.1"]
    with Resolver(["127.0.0.1"], ["127.0.0.2"]) as resolver:
        settings.EGRESS_RESOLVER = resolver.at
        assert egress.call("GET", f"http://broker.example:{port}/x").status == 404
        assert resolver.asked == 1
        with pytest.raises(egress.Refused, match=re.escape("127.0.0.2")):
            egress.call("GET", f"http://broker.example:{port}/x")
    assert [call["headers"]["Host"] for call in rest.calls] == [f"broker.example:{port}"]


@pytest.mark.parametrize(
    "addresses", [["127.0.0.1"], ["8.8.8.8", "127.0.0.1"], ["127.0.0.1", "8.8.8.8"], ["169.254.169.254", "8.8.8.8"]]
)
def test_one_forbidden_address_of_many_refuses_the_name(settings, addresses):
    with listener() as (port, came), Resolver(addresses) as resolver:
        settings.EGRESS_RESOLVER = resolver.at
        with pytest.raises(egress.Refused, match="not public"):
            egress.call("GET", f"https://rebinding.example:{port}/")
        assert not came()


@pytest.mark.parametrize("address", ["169.254.169.254", "224.0.0.1", "255.255.255.255"])
def test_a_listed_name_may_lead_inside_but_not_to_the_clouds_own_service(settings, address):
    with Resolver([address]) as resolver:
        settings.EGRESS_RESOLVER = resolver.at
        settings.EGRESS_ALLOW = ["inside.example"]
        with pytest.raises(egress.Refused, match="not public"):
            egress.call("GET", "http://inside.example/")


def test_a_listed_name_and_those_below_a_listed_one_may_lead_inside(rest, settings):
    port = rest.server.server_port
    settings.EGRESS_ALLOW = [f"*.apps.example:{port}", "broker.example"]
    with Resolver(["127.0.0.1"]) as resolver:
        settings.EGRESS_RESOLVER = resolver.at
        for name in ("a.apps.example", "a.b.apps.example", "broker.example"):
            assert egress.call("GET", f"http://{name}:{port}/").status == 404
        for name in ("apps.example", "xapps.example", "a.broker.example", "broker.example.org"):
            with pytest.raises(egress.Refused, match="not public"):
                egress.call("GET", f"http://{name}:{port}/")


def test_plain_http_goes_only_where_the_list_says(settings):
    with pytest.raises(egress.Refused, match="plain http"):
        egress.call("GET", "http://8.8.8.8/")


@pytest.mark.parametrize("resolver", ["dns.example", "10.0.0.0/8", "[::1]:x", "127.0.0.1:99999"])
def test_a_wrong_resolver_lets_nothing_out(settings, resolver):
    settings.EGRESS_RESOLVER = resolver
    with pytest.raises(egress.EgressError):
        egress.call("GET", "https://broker.example/", seconds=1)


def test_a_name_without_addresses_is_unreachable_and_nothing_was_sent(settings):
    with Resolver([]) as resolver:
        settings.EGRESS_RESOLVER = resolver.at
        with pytest.raises(egress.Unreachable, match="has no address") as unreachable:
            egress.call("GET", "https://broker.example/")
    assert unreachable.value.sent is False


def test_a_resolver_that_is_silent_ends_with_the_call(settings):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as silent:
        silent.bind(("127.0.0.1", 0))
        settings.EGRESS_RESOLVER = "{}:{}".format(*silent.getsockname())
        began = time.monotonic()
        with pytest.raises(egress.Unreachable):
            egress.call("GET", "https://broker.example/", seconds=0.5)
        assert time.monotonic() - began < 3


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
        with server, server.accept()[0] as peer:
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
