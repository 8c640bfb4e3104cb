"""The one way out: which addresses are called."""

import ipaddress
import re
import socket
import time

import pytest

from core import egress
from core.egress.targets import is_public
from tests.far_side.network import Resolver, listener
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
