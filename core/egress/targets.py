"""Where a call may go: its address taken apart, its name resolved once, every answer checked.

Beyond public addresses by https, settings.EGRESS_ALLOW says what may be reached:

| entry | allows |
|---|---|
| `broker.example` | this name, at private addresses and by plain http too |
| `*.apps.example` | every name below it |
| `10.1.0.0/16`, `127.0.0.1`, `fd00::/8` | these addresses, whatever name leads there |
| any of them with `:8443` (`[fd00::/8]:8443`) | this port only |
"""

import ipaddress
import re
import socket
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import dns.exception
import dns.resolver
from django.conf import settings

from core.egress.answers import Refused, Unreachable

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network

PORTS = {"http": 80, "https": 443}
# What anybody on the way could read and change.
PLAIN = {"http", "tcp"}
LAST_PORT = 65535
# Visible ASCII only: what one parser would strip or fold, another would not.
LEGIBLE = re.compile(r"[\x21-\x7e]+")
URL = re.compile(
    r"(?P<scheme>https?)://(?P<host>\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::(?P<port>[0-9]{1,5}))?(?P<path>[/?].*)?",
    re.IGNORECASE,
)
NAME = re.compile(r"(?=.{1,253}\Z)[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?(\.[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?)*")
# A name whose last part is a number in any notation is what some libraries take for an IPv4 address.
NUMBER = re.compile(r"([0-9]+|0x[0-9a-f]*)")
ENTRY = re.compile(r"(\[(?P<inner>[^\]]+)\]|(?P<host>[^:\[\]]+))(:(?P<port>[0-9]{1,5}))?")

GLOBAL_UNICAST = ipaddress.IPv6Network("2000::/3")
NAT64 = ipaddress.IPv6Network("64:ff9b::/96")
# Public by the registry, yet they lead somewhere else than they say, or nowhere (RFC 7526, 9637).
NEVER_PUBLIC = [ipaddress.ip_network(text) for text in ("192.88.99.0/24", "2002::/16", "2001::/23", "3fff::/20")]


@dataclass(frozen=True)
class Target:
    """A URL taken apart: `host` in lower case without brackets or final dot, `path` with its query."""

    scheme: str
    host: str
    port: int
    path: str

    @property
    def origin(self) -> tuple[str, str, int]:
        """Scheme, host and port: who gets credentials."""
        return self.scheme, self.host, self.port

    def __str__(self) -> str:
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{self.scheme}://{host}" + ("" if self.port == PORTS.get(self.scheme) else f":{self.port}")


def parse(url: str) -> Target:
    """Take `url` apart. Raises Refused for whatever is not plainly an http or https address."""
    if not LEGIBLE.fullmatch(url) or "\\" in url:
        raise Refused(
            "The address has spaces, control characters or letters beyond ASCII; "
            "write host names in their ASCII form (xn--…) and percent-encode paths."
        )
    if "#" in url:
        raise Refused("The address has a fragment (#…), which no server ever sees.")
    found = URL.fullmatch(url)
    if found is None:
        raise Refused("The address is not of the form https://host[:port]/path, without user name or password.")
    scheme = found["scheme"].lower()
    port = int(found["port"] or PORTS[scheme])
    if not 1 <= port <= LAST_PORT:
        raise Refused(f"There is no port {port}.")
    path = found["path"] or "/"
    return Target(scheme, _host(found["host"].lower()), port, path if path.startswith("/") else f"/{path}")


def _host(text: str) -> str:
    if text.startswith("["):
        try:
            return str(ipaddress.IPv6Address(text[1:-1]))
        except ValueError as error:
            raise Refused(f"{text} is no IPv6 address.") from error
    host = text.removesuffix(".")
    if not NAME.fullmatch(host):
        raise Refused(f"“{text[:80]}” is no host name.")
    if NUMBER.fullmatch(host.rpartition(".")[2]):
        try:
            return str(ipaddress.IPv4Address(host))
        except ValueError as error:
            raise Refused(f"“{text[:80]}” is no IPv4 address in its usual form.") from error
    return host


def check(host: str, port: int, *, seconds: float = 5.0, is_safe: bool = True) -> list[str]:
    """Give the addresses of `host`, all of which may be reached at `port`: for what speaks another language than HTTP.

    Connect to one of them, and to nothing else. `is_safe`: what goes there is encrypted or signed; without, only what
    EGRESS_ALLOW lists may be reached. Raises Refused where any address is not allowed, Unreachable where the name does
    not resolve within `seconds`.
    """
    if not 1 <= port <= LAST_PORT:
        raise Refused(f"There is no port {port}.")
    target = Target("tls" if is_safe else "tcp", _host(host.lower()), port, "/")
    return addresses_of(target, ends_at=time.monotonic() + seconds, stopped=threading.Event())


def addresses_of(target: Target, *, ends_at: float, stopped: threading.Event) -> list[str]:
    """Resolve the target's name once and give its addresses, all of which may be reached.

    `ends_at` is a time.monotonic(); `stopped` ends the waiting. Raises Refused where any address is not
    allowed, Unreachable where the name does not resolve in time.
    """
    rules = _rules(tuple(settings.EGRESS_ALLOW))
    named = any(rule.names(target) for rule in rules)
    literal = _literal(target.host)
    found = [literal] if literal else _resolved(target, ends_at=ends_at, stopped=stopped)
    for address in found:
        in_network = any(rule.holds(address, target.port) for rule in rules)
        if in_network or (named and _may_be_named(address)):
            continue
        if not is_public(address):
            raise Refused(f"{target} is at {address}, which is not public; EGRESS_ALLOW does not list it.")
        if target.scheme in PLAIN:
            raise Refused(f"{target}: plain {target.scheme} is allowed only to what EGRESS_ALLOW lists.")
    return [str(address) for address in found]


def is_public(address: Address) -> bool:
    """Tell whether `address` is a public unicast address, also when it wraps an IPv4 address."""
    address = _unwrapped(address)
    if any(address in network for network in NEVER_PUBLIC if network.version == address.version):
        return False
    if isinstance(address, ipaddress.IPv6Address) and address not in GLOBAL_UNICAST:
        return False
    return address.is_global and not address.is_multicast and not address.is_reserved


def _unwrapped(address: Address) -> Address:
    """Give the IPv4 address that an IPv4-mapped (RFC 4291) or NAT64 (RFC 6052) address leads to."""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped:
            return address.ipv4_mapped
        if address in NAT64:
            return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _may_be_named(address: Address) -> bool:
    """A listed name may lead inside, but not to the machine's own network service (cloud metadata) or to nowhere."""
    address = _unwrapped(address)
    return not (address.is_link_local or address.is_multicast or address.is_unspecified or address.is_reserved)


@dataclass(frozen=True)
class _Rule:
    """One entry of EGRESS_ALLOW: a network, a name, or (with a dot in front) all names below one."""

    network: Network | None
    name: str
    port: int | None

    def names(self, target: Target) -> bool:
        if not self.name or self.port not in (None, target.port):
            return False
        return target.host.endswith(self.name) if self.name.startswith(".") else target.host == self.name

    def holds(self, address: Address, port: int) -> bool:
        if self.network is None or self.port not in (None, port):
            return False
        return any(
            form in self.network for form in (address, _unwrapped(address)) if form.version == self.network.version
        )


@lru_cache(maxsize=16)
def _rules(entries: tuple[str, ...]) -> tuple[_Rule, ...]:
    return tuple(_rule(entry.strip().lower()) for entry in entries if entry.strip())


def _rule(entry: str) -> _Rule:
    """Read one entry. Raises Refused, so that a mistake there lets nothing out."""
    network = _network(entry)
    if network:
        return _Rule(network, "", None)
    found = ENTRY.fullmatch(entry)
    if found is None:
        raise Refused(f"EGRESS_ALLOW has “{entry}”, which is no host, network or either with :port.")
    text, port = found["inner"] or found["host"], int(found["port"]) if found["port"] else None
    network = _network(text)
    name = text.removeprefix("*").removesuffix(".")
    is_name = NAME.fullmatch(name.removeprefix(".")) and (text.startswith("*.") or not name.startswith("."))
    is_name = is_name and not NUMBER.fullmatch(name.rpartition(".")[2])
    if (network is None and not is_name) or not 1 <= (port or 1) <= LAST_PORT:
        raise Refused(f"EGRESS_ALLOW has “{entry}”, which is no host, network or either with :port.")
    return _Rule(network, "" if network else name, port)


def _network(text: str) -> Network | None:
    try:
        return ipaddress.ip_network(text)
    except ValueError:
        return None


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host)
    except ValueError:
        return None


def _resolved(target: Target, *, ends_at: float, stopped: threading.Event) -> list[Address]:
    if settings.EGRESS_RESOLVER:
        texts = _ask_server(target, settings.EGRESS_RESOLVER, ends_at)
    else:
        texts = _ask_machine(target, ends_at, stopped)
    found = [ipaddress.ip_address(text) for text in dict.fromkeys(texts)]
    if not found:
        raise Unreachable(f"The name {target.host} has no address.")
    return found


def _ask_server(target: Target, server: str, ends_at: float) -> list[str]:
    """Ask the DNS server of EGRESS_RESOLVER for A and AAAA."""
    resolver = dns.resolver.Resolver(configure=False)
    entry = _rule(server) if server else None
    if entry is None or entry.network is None or entry.network.num_addresses != 1:
        raise Refused("EGRESS_RESOLVER must be the address of a DNS server, with :port where it is not 53.")
    resolver.nameservers = [str(entry.network.network_address)]
    resolver.port = entry.port or 53
    found: list[str] = []
    for kind in ("A", "AAAA"):
        seconds = min(5.0, max(ends_at - time.monotonic(), 0.1))
        try:
            rows = resolver.resolve(target.host + ".", kind, lifetime=seconds, raise_on_no_answer=False)
        except dns.exception.DNSException as error:
            raise Unreachable(f"The name {target.host} could not be resolved ({type(error).__name__}).") from error
        found += [row.address for row in rows]
    return found


def _ask_machine(target: Target, ends_at: float, stopped: threading.Event) -> list[str]:
    """Ask the machine's resolver from a thread of its own, since nothing can end its waiting."""
    answer: list[str | OSError] = []
    done = threading.Event()

    def ask() -> None:
        try:
            rows = socket.getaddrinfo(target.host, target.port, type=socket.SOCK_STREAM)
            answer.extend(str(row[4][0]) for row in rows)
        except (OSError, UnicodeError) as error:
            answer.append(error if isinstance(error, OSError) else OSError(str(error)))
        done.set()

    threading.Thread(target=ask, name="resolve", daemon=True).start()
    while not done.wait(min(0.1, max(ends_at - time.monotonic(), 0.0))):
        if stopped.is_set() or time.monotonic() >= ends_at:
            raise Unreachable(f"The name {target.host} did not resolve in time.")
    return _texts(answer, target)


def _texts(answer: Sequence[str | OSError], target: Target) -> list[str]:
    for found in answer:
        if isinstance(found, OSError):
            raise Unreachable(f"The name {target.host} could not be resolved ({found.strerror or found}).") from found
    return [str(found) for found in answer]
