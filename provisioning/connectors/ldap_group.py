"""One membership of a group in an LDAP directory (RFC 4511).

A membership has no place for a mark, so what is ours is noted before it is made: `start` only looks, and says in
the step's reference whether the member was found or is to be added; the adding follows in `last_operation`. Whatever
is lost in between, `undo` removes what we added and leaves what was there before.
"""

import re
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

import ldap3
from ldap3.core.exceptions import LDAPException
from ldap3.utils.conv import escape_filter_chars
from ldap3.utils.dn import parse_dn

from provisioning.connectors.base import Answer, BackEnd, Call, Connector, Done, Failed, Missing, Retry, Working
from provisioning.connectors.watch import addresses, ended_in_time, hang_up, stop_if_lost

PORTS, LAST_PORT = {"ldap": 389, "ldaps": 636}, 65535
CONNECT_SECONDS, ANSWER_SECONDS = 5.0, 10.0
MAX_BYTES = 1024 * 1024
LONGEST = 500
ADDED, FOUND = "added ", "found "
LONGEST_REF = 200
# Members are named by their place in the directory, but where groups follow RFC 2307, by their user names.
BY_PLACE = {"member", "uniquemember"}
_ADDRESS = re.compile(r"(ldaps?)://(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::([0-9]{1,5}))?/?", re.IGNORECASE)
_ATTRIBUTE = re.compile(r"[A-Za-z][A-Za-z0-9-]{0,60}")
# Result codes of RFC 4511, appendix A, that say "not now", and those that we ask for or expect.
NOT_NOW = {"timeLimitExceeded", "adminLimitExceeded", "busy", "unavailable", "other"}
TRUE, FALSE = "compareTrue", {"compareFalse", "noSuchAttribute"}


@dataclass(frozen=True)
class Membership:
    """Who is to be in which group, by their places in the directory."""

    group: str
    member: str
    attribute: str


class LdapGroup(Connector):
    """Puts one member into one group."""

    idempotency = "lookup"

    def start(self, call: Call) -> Answer:
        """Look whether the member is there. What is ours to add is noted with the answer, and added next."""
        with _directory(call) as directory:
            wanted = directory.membership()
            if directory.has(wanted):
                return _done(wanted, FOUND, f"{wanted.member} was in {wanted.group} already.")
        return Working(after=0.0, detail="Adding the member.", external_ref=(ADDED + wanted.member)[:LONGEST_REF])

    def last_operation(self, call: Call) -> Done:
        """Add the member; that he is there by now means that an earlier attempt added him."""
        with _directory(call) as directory:
            wanted = directory.membership()
            directory.change(wanted, ldap3.MODIFY_ADD, fine="attributeOrValueExists")
        return _done(wanted, ADDED, f"{wanted.member} is in {wanted.group} now.")

    def undo(self, call: Call) -> Done:
        """Remove the member, if it was us who added him."""
        if not call.external_ref.startswith(ADDED.strip()):
            call.check()
            return Done(detail="Nothing had been added.")
        with _directory(call) as directory:
            try:
                ours = directory.membership(member=_noted_member(call))
            except Missing as gone:
                return Done(detail=str(gone))
            directory.change(ours, ldap3.MODIFY_DELETE, fine="noSuchAttribute")
        return Done(detail=f"{ours.member} is no longer in {ours.group}.")

    def describe(self, call: Call) -> Done:
        """Ask whether the member is in the group."""
        with _directory(call) as directory:
            wanted = directory.membership()
            if not directory.has(wanted):
                raise Missing(f"{wanted.member} is not in {wanted.group}.")
        return Done(detail=f"{wanted.member} is in {wanted.group}.")

    def update(self, call: Call) -> Done:
        """Keep the membership where the change does not concern it."""
        call.check()
        names = ("group", "member", "attribute")
        before = call.before.get("inputs", {})
        if any(before.get(name) != call.inputs.get(name) for name in names if before):
            raise Failed("A membership cannot be changed: remove the service and order it anew.", left_nothing=True)
        return Done(detail="The membership stays as it is.", external_ref=call.external_ref)


def _done(wanted: Membership, noted: str, detail: str) -> Done:
    return Done(
        outputs={"group": wanted.group, "member": wanted.member},
        detail=detail[:300],
        external_ref=(noted + wanted.member)[:LONGEST_REF],
    )


def _noted_member(call: Call) -> str:
    """Give the place that the member had when he was added; empty where it was too long to be noted."""
    noted = call.external_ref.removeprefix(ADDED)
    return noted if len(call.external_ref) < LONGEST_REF else ""


class _Directory:
    """An open connection, signed in as Greenlane."""

    def __init__(self, call: Call, back_end: BackEnd, connection: ldap3.Connection) -> None:
        self.call, self.connection = call, connection
        self.base = _text(back_end.config.get("base_dn"), "base_dn")
        self.user_attribute = _attribute(back_end.config.get("user_attribute", "uid"), "user_attribute")

    def membership(self, member: str = "") -> Membership:
        """Find group and member as the inputs name them; `member`: his place, where it is known.

        Raises Missing where one is not there, Failed where the inputs cannot be meant.
        """
        attribute = _attribute(self.call.inputs.get("attribute", "member"), "attribute")
        group = self._place(_text(self.call.inputs.get("group"), "group"), "cn", "group")
        named = member or _text(self.call.inputs.get("member"), "member")
        if attribute.lower() in BY_PLACE and not member:
            named = self._place(named, self.user_attribute, "person")
        return Membership(group, named, attribute)

    def has(self, wanted: Membership) -> bool:
        """Compare. Raises Missing where the group is gone."""
        result = self._ask("compare", wanted.group, wanted.attribute, wanted.member)
        if result != TRUE and result not in FALSE:
            raise self._refusal(result)
        return result == TRUE

    def change(self, wanted: Membership, how: str, *, fine: str) -> None:
        """Add or remove the member; the result `fine` says that it had been done. Raises Failed or Retry."""
        result = self._ask("modify", wanted.group, {wanted.attribute: [(how, [wanted.member])]})
        if result not in {"success", fine}:
            raise self._refusal(result)

    def _place(self, named: str, attribute: str, what: str) -> str:
        """Give the distinguished name of a group or person that is named by it or by `attribute`."""
        if "=" in named:
            return _below(named, self.base)
        condition = f"({attribute}={escape_filter_chars(named)})"
        result = self._ask("search", self.base, condition, ldap3.SUBTREE, attributes=["1.1"], size_limit=2)
        if result not in {"success", "sizeLimitExceeded", "noSuchObject"}:
            raise self._refusal(result)
        found = [row["dn"] for row in self.connection.response or () if row.get("type") == "searchResEntry"]
        if not found:
            raise Missing(f"There is no {what} “{named}” below {self.base}.", left_nothing=True)
        if len(found) > 1:
            raise Failed(f"There are several entries named “{named}”; write the whole name.", left_nothing=True)
        return str(found[0])

    def _ask(self, operation: str, *arguments: Any, **named: Any) -> str:
        """Do one thing and give its result's name. Raises LeaseLost, Retry."""
        self.call.remaining()
        try:
            getattr(self.connection, operation)(*arguments, **named)
            return str(self.connection.result["description"])
        except Exception as error:
            stop_if_lost(self.call, error)
            raise _unusable(error) from error

    def _refusal(self, result: str) -> Exception:
        if result in NOT_NOW:
            return Retry(f"The directory says: {result}.")
        if result == "noSuchObject":
            return Missing("The group is not there.", left_nothing=True)
        said = self.connection.result.get("message") or ""
        return Failed(f"The directory says: {result}{': ' + said[:200] if said else ''}.")


def _unusable(error: Exception) -> Retry:
    """Word any error of the client's: a server that speaks nonsense makes it raise whatever it likes."""
    kind = "LDAP" if isinstance(error, LDAPException) else "answer"
    return Retry(f"The directory cannot be used now ({kind}: {type(error).__name__}).")


@contextmanager
def _directory(call: Call) -> Iterator[_Directory]:
    """Connect and sign in for the length of the block. Raises Failed, Retry, LeaseLost."""
    back_end = call.back_end
    if back_end is None or not back_end.address:
        raise Failed("No directory is set up to deliver memberships on.", left_nothing=True)
    connection = _connection(call, back_end)
    with ended_in_time(call, lambda: hang_up(_socket_of(connection))):
        try:
            _sign_in(call, connection, back_end)
            yield _Directory(call, back_end, connection)
        finally:
            with suppress(LDAPException, OSError, AttributeError):
                connection.unbind()
            _close(connection)


def _connection(call: Call, back_end: BackEnd) -> ldap3.Connection:
    """Prepare a connection to the one address that was checked; nothing is sent yet."""
    found = _ADDRESS.fullmatch(back_end.address)
    port = int(found[3] or PORTS[found[1].lower()]) if found else 0
    if found is None or not 1 <= port <= LAST_PORT:
        raise Failed("The directory's address must be ldap://host or ldaps://host, with :port or not.")
    is_ldaps, host = found[1].lower() == "ldaps", found[2].strip("[]")
    is_safe = is_ldaps or _encryption(back_end) == "start_tls"
    address = addresses(call, host, port, is_safe=is_safe)[0]
    tls = _Tls(host, str(back_end.config.get("ca_certificate") or ""))
    seconds = min(CONNECT_SECONDS, call.remaining())
    server = ldap3.Server(
        address,
        port,
        use_ssl=is_ldaps,
        tls=tls,
        get_info=ldap3.NONE,
        connect_timeout=seconds,
        allowed_referral_hosts=[],
    )
    return ldap3.Connection(
        server,
        user=_text(back_end.config.get("bind_dn"), "bind_dn"),
        password=_text(back_end.credentials.get("password"), "password"),
        auto_referrals=False,
        receive_timeout=max(1, int(min(ANSWER_SECONDS, call.remaining()))),  # whole seconds for the system call
    )


def _sign_in(call: Call, connection: ldap3.Connection, back_end: BackEnd) -> None:
    try:
        connection.open(read_server_info=False)
        if not connection.server.ssl and _encryption(back_end) == "start_tls":
            connection.start_tls(read_server_info=False)
        connection.socket = _Bounded(connection.socket)
        call.check()
        connection.bind(read_server_info=False)
        result = str(connection.result["description"])
    except Exception as error:
        stop_if_lost(call, error)
        raise _unusable(error) from error
    if result == "invalidCredentials":
        raise Failed("The directory does not accept our name or password.", left_nothing=True)
    if result != "success":
        raise Retry(f"The directory does not let us sign in: {result}.")


class _Tls(ldap3.Tls):
    """TLS as Python does it by itself: the certificate has to be the host's, though we connect to its address."""

    def __init__(self, host: str, ca_certificate: str) -> None:
        super().__init__(validate=ssl.CERT_REQUIRED)
        self.host, self.ca_certificate = host, ca_certificate

    def wrap_socket(self, connection: ldap3.Connection, do_handshake: bool = False) -> None:  # noqa: FBT001, FBT002 (ldap3's signature)
        """Encrypt the connection, or fail."""
        context = ssl.create_default_context(cadata=self.ca_certificate or None)
        connection.socket = context.wrap_socket(connection.socket, server_hostname=self.host)


class _Bounded:
    """A socket that reads one MiB and no more: a client that trusts lengths cannot be made to fill the memory."""

    def __init__(self, connection: Any) -> None:
        self._connection, self._left = connection, MAX_BYTES

    def recv(self, size: int) -> bytes:
        """Read on. Raises OSError beyond the bound."""
        data: bytes = self._connection.recv(size)
        self._left -= len(data)
        if self._left < 0:
            raise OSError("The directory's answer is too large.")
        return data

    def __getattr__(self, name: str) -> Any:
        return getattr(self._connection, name)


def _socket_of(connection: ldap3.Connection) -> Any:
    return getattr(connection, "socket", None)


def _close(connection: ldap3.Connection) -> None:
    """Close what the client leaves open when it fails halfway."""
    left = _socket_of(connection)
    if left is not None:
        with suppress(OSError):
            left.close()


# --- what a step and its back end ask for ----------------------------------------------------------------


def _encryption(back_end: BackEnd) -> str:
    chosen = back_end.config.get("encryption", "start_tls")
    if chosen not in {"start_tls", "none"}:
        raise Failed("encryption must be start_tls or none; for TLS from the start write ldaps://.", left_nothing=True)
    return str(chosen)


def _text(value: Any, what: str) -> str:
    if not isinstance(value, str) or not value.strip() or len(value) > LONGEST or "\0" in value:
        raise Failed(f"{what} must be a text of at most {LONGEST} characters.", left_nothing=True)
    return value.strip()


def _attribute(value: Any, what: str) -> str:
    if not isinstance(value, str) or not _ATTRIBUTE.fullmatch(value):
        raise Failed(f"{what} must be the name of an attribute, such as member.", left_nothing=True)
    return value


def _below(place: str, base: str) -> str:
    """Check that a distinguished name (RFC 4514) lies below `base`, part by part."""
    try:
        parts, root = _parts(place), _parts(base)
    except LDAPException as error:
        raise Failed(f"“{place[:100]}” is no distinguished name.", left_nothing=True) from error
    if len(parts) <= len(root) or parts[-len(root) :] != root:
        raise Failed(f"“{place[:100]}” does not lie below {base}.", left_nothing=True)
    return place


def _parts(place: str) -> list[tuple[str, str]]:
    return [(name.lower(), value.lower()) for name, value, _ in parse_dn(place)]
