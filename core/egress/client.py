"""One HTTP call: to a checked address, within a time, up to a size, and stopped from outside where that is needed."""

import http.client
import re
import socket
import ssl
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext, suppress
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any

import urllib3.connection
import urllib3.exceptions
import urllib3.response

from core.egress.answers import Answer, BadAnswer, Canceled, EgressError, Refused, TooLarge, TooSlow, Unreachable
from core.egress.targets import Target, addresses_of, parse

SECONDS = 25.0
MAX_BYTES = 1024 * 1024
# What is packed may grow so far, so that a small answer cannot fill the memory.
MAX_GROWTH = 10
CONNECT_SECONDS = 5.0
CHUNK = 64 * 1024

METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}
HEADER_NAME = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
HEADER_VALUE = re.compile(r"[\x20-\x7e\x80-\xff\t]*")
# Where a call goes and how it is framed is decided here alone.
OURS = {
    "host", "content-length", "transfer-encoding", "connection", "expect", "te", "trailer", "upgrade",
    "accept-encoding", "proxy-authorization", "proxy-connection",
}  # fmt: skip

Cancel = Callable[[Callable[[], object]], AbstractContextManager[Any]]


def call(
    method: str,
    url: str,
    *,
    headers: Mapping[str, str] | None = None,
    body: bytes | None = None,
    seconds: float = SECONDS,
    max_bytes: int = MAX_BYTES,
    cancel: Cancel | None = None,
    ca_certificate: str = "",
) -> Answer:
    """Make one call and give its answer, whatever its status; redirects are answers too.

    `seconds` is the end of all of it by a monotonic clock. `cancel` is given a function that stops the call
    from another thread, and returns a context manager in which the call is made (Lease.cancel_by).
    `ca_certificate` (PEM) is trusted instead of the machine's authorities. Raises an EgressError.
    """
    target = parse(url)
    request = _Request(method, target, dict(headers or {}), body)
    _check(request)
    watch = _Watch(seconds)
    with watch.running(), (cancel or _never)(watch.cancel):
        try:
            return _called(request, watch, max_bytes, ca_certificate)
        except EgressError as error:
            watch.complain(target, sent=error.sent)
            raise


def _never(_stop: Callable[[], object]) -> AbstractContextManager[None]:
    return nullcontext()


@dataclass(frozen=True)
class _Request:
    method: str
    target: Target
    headers: dict[str, str] = field(repr=False)
    body: bytes | None = field(repr=False)


def _check(request: _Request) -> None:
    if request.method not in METHODS:
        raise Refused(f"“{request.method[:20]}” is none of the methods {', '.join(sorted(METHODS))}.")
    for name, value in request.headers.items():
        if not HEADER_NAME.fullmatch(name) or name.lower() in OURS:
            raise Refused(f"The header “{name[:60]}” cannot be set.")
        if not HEADER_VALUE.fullmatch(value):
            raise Refused(f"The header “{name[:60]}” has characters that no header may have.")


def _called(request: _Request, watch: "_Watch", max_bytes: int, ca_certificate: str) -> Answer:
    target = request.target
    said = {"User-Agent": "Greenlane", "Accept-Encoding": "identity", "Connection": "close", **request.headers}
    connection = _connection(target, ca_certificate, watch)
    try:
        with _told(target, sent=False):
            connection.connect()
        watch.complain(target, sent=False)
        with _told(target, sent=True):
            connection.request(
                request.method, target.path, request.body, said, preload_content=False, decode_content=False
            )
            response = connection.getresponse()
            with closing(response):
                packed = _read(response, target, max_bytes)
        watch.complain(target, sent=True)
    finally:
        connection.close()
    encoding = response.headers.get("content-encoding", "").strip().lower()
    return Answer(response.status, response.headers, _unpacked(packed, encoding, target, max_bytes))


@contextmanager
def _told(target: Target, *, sent: bool) -> Iterator[None]:
    """Turn what the client below raises into our errors; `sent`: whether the far side may have heard of it."""
    try:
        yield
    except EgressError:
        raise
    except http.client.LineTooLong as error:
        raise TooLarge(f"{target} answered with a line of headers that is too long.") from error
    except ssl.SSLCertVerificationError as error:
        raise Unreachable(f"{target}: its certificate is not valid: {error.verify_message}.", sent=sent) from error
    except (http.client.RemoteDisconnected, http.client.IncompleteRead, OSError) as error:
        raise Unreachable(f"{target} {_broken_off(error, sent=sent)}.", sent=sent) from error
    except http.client.HTTPException as error:
        if type(error) is http.client.HTTPException:  # its own class for nothing but more than a hundred headers
            raise TooLarge(f"{target} answered with too many headers.") from error
        raise BadAnswer(f"{target} answered with something that is no HTTP.") from error
    except urllib3.exceptions.HTTPError as error:
        raise Unreachable(f"{target} {_broken_off(error, sent=sent)}.", sent=sent) from error
    except ValueError as error:  # lengths and chunks that are no numbers
        raise BadAnswer(f"{target} answered with something that is no HTTP.") from error


def _broken_off(error: Exception, *, sent: bool) -> str:
    why = getattr(error, "strerror", None) or type(error).__name__
    return f"broke off ({why})" if sent else f"could not be reached ({why})"


def _connection(target: Target, ca_certificate: str, watch: "_Watch") -> urllib3.connection.HTTPConnection:
    """Give a connection that says the target's name and goes to one of its checked addresses."""
    addresses = addresses_of(target, ends_at=watch.ends_at, stopped=watch.stopped)

    def connect() -> socket.socket:
        return _connected(addresses, target, watch)

    connection: urllib3.connection.HTTPConnection
    if target.scheme == "https":
        connection = urllib3.connection.HTTPSConnection(
            target.host, target.port, timeout=watch.left(), ssl_context=_trusting(ca_certificate)
        )
    else:
        connection = urllib3.connection.HTTPConnection(target.host, target.port, timeout=watch.left())
    connection._new_conn = connect  # type: ignore[method-assign]
    return connection


def _connected(addresses: list[str], target: Target, watch: "_Watch") -> socket.socket:
    """Connect to the first address that answers. Raises OSError where none does, Canceled or Unreachable."""
    failure: OSError = OSError("no address")
    for address in addresses:
        watch.complain(target, sent=False)
        try:
            made = socket.create_connection((address, target.port), timeout=min(CONNECT_SECONDS, watch.left()))
        except OSError as error:
            failure = error
            continue
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        made.settimeout(watch.left())
        watch.hold(made)
        return made
    raise failure


@lru_cache(maxsize=64)
def _trusting(ca_certificate: str) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cadata=ca_certificate or None)
    except (ssl.SSLError, ValueError, TypeError) as error:
        raise Refused("The certificate of the authority to trust is no PEM text.") from error
    context.set_alpn_protocols(["http/1.1"])
    return context


def _read(response: urllib3.response.HTTPResponse, target: Target, max_bytes: int) -> bytes:
    """Read the body as it comes, up to `max_bytes`."""
    if (response.length_remaining or 0) > max_bytes:
        raise TooLarge(f"{target} answered with more than {max_bytes} bytes.")
    found = bytearray()
    while chunk := response.read(CHUNK, decode_content=False):
        found += chunk
        if len(found) > max_bytes:
            raise TooLarge(f"{target} answered with more than {max_bytes} bytes.")
    return bytes(found)


def _unpacked(packed: bytes, encoding: str, target: Target, max_bytes: int) -> bytes:
    """Undo the content coding (RFC 9110, 8.4.1): ten times the size at most, and never more than `max_bytes`."""
    if not packed or encoding in {"", "identity"}:
        return packed
    if encoding not in {"gzip", "x-gzip", "deflate"}:
        raise BadAnswer(f"{target} packed its answer in a way that was not asked for.")
    limit = min(max_bytes, MAX_GROWTH * len(packed))
    unpacker = zlib.decompressobj(zlib.MAX_WBITS | 32)  # a gzip or a zlib header
    try:
        body = unpacker.decompress(packed, limit + 1)
    except zlib.error as error:
        raise BadAnswer(f"{target} answered with a packed body that cannot be unpacked.") from error
    if len(body) > limit:
        raise TooLarge(f"{target} answered with a packed body that grows too large.")
    if not unpacker.eof:
        raise BadAnswer(f"{target} answered with a packed body that has no end.")
    return body


class _Watch:
    """Ends a call from outside: when its time is up, or when its maker may not go on.

    A server that sends a byte a second satisfies every time-out of a socket, so the socket is shut instead.
    """

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.ends_at = time.monotonic() + seconds
        self.stopped = threading.Event()
        self._canceled = False
        self._lock = threading.Lock()
        self._socket: socket.socket | None = None

    @contextmanager
    def running(self) -> Iterator[None]:
        """Watch while the block runs."""
        timer = threading.Timer(max(self.seconds, 0.0), self._stop)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()
            with self._lock:
                if self._socket is not None:
                    self._socket.close()
                    self._socket = None

    def left(self) -> float:
        """Seconds until the end, never none: what a socket takes for "do not wait" is not meant."""
        return max(self.ends_at - time.monotonic(), 0.001)

    def hold(self, made: socket.socket) -> None:
        """Keep a second handle of the socket: TLS takes the first one over."""
        with self._lock:
            self._socket = made.dup()
            if self.stopped.is_set():
                self._shut()

    def cancel(self) -> None:
        """Stop the call because its maker may not go on."""
        self._canceled = True
        self._stop()

    def complain(self, target: Target, *, sent: bool) -> None:
        """Raise what stopped the call, if anything did: Canceled, TooSlow, or Unreachable before it was sent."""
        if self._canceled:
            raise Canceled(f"The call to {target} was stopped.", sent=sent)
        if self.stopped.is_set() or time.monotonic() >= self.ends_at:
            if sent:
                raise TooSlow(f"{target} took longer than {self.seconds:.0f} seconds.")
            raise Unreachable(f"{target} could not be reached within {self.seconds:.0f} seconds.")

    def _stop(self) -> None:
        with self._lock:
            self.stopped.set()
            self._shut()

    def _shut(self) -> None:
        if self._socket is not None:
            with suppress(OSError):  # it is shut already
                self._socket.shutdown(socket.SHUT_RDWR)
