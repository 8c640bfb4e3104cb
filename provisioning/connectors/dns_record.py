"""One record in a DNS zone, by an update (RFC 2136) that is signed with a shared key (RFC 8945), over TCP.

The mark is a TXT record `greenlane=<instance id>` at `_greenlane.<name>`, made by the same update as the record itself.
Each update carries the conditions under which it holds, so that the server does all of it or nothing: a name in use by
somebody else is neither changed nor removed, however two of us hurry.
"""

import base64
import binascii
import ipaddress
import re
import socket
import struct
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from typing import Any

import dns.exception
import dns.flags
import dns.message
import dns.name
import dns.query
import dns.rcode
import dns.rdata
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.txtbase
import dns.tsig
import dns.update

from provisioning.connectors.base import BackEnd, Call, Connector, Done, Failed, Missing, Retry
from provisioning.connectors.watch import addresses, ended_in_time, hang_up, stop_if_lost

PORT, LAST_PORT = 53, 65535
TYPES = ("A", "AAAA", "CNAME", "TXT")
LEAST_TTL, MOST_TTL, USUAL_TTL = 30, 7 * 86400, 300
MOST_TEXT, PART = 2000, 255
ALGORITHMS = ("hmac-sha256", "hmac-sha384", "hmac-sha512")
MARK = "_greenlane"
_LABEL = re.compile(r"[a-z0-9_]([a-z0-9_-]{0,61}[a-z0-9_])?", re.IGNORECASE)
_ADDRESS = re.compile(r"(?:\[(?P<six>[0-9a-f:.]+)\]|(?P<host>[^:\[\]/]+))(?::(?P<port>[0-9]{1,5}))?", re.IGNORECASE)
# The server's answer to conditions that do not hold.
UNMET = {dns.rcode.YXDOMAIN, dns.rcode.YXRRSET, dns.rcode.NXDOMAIN, dns.rcode.NXRRSET}
REFUSALS = {
    dns.rcode.REFUSED: "The name server refuses to change the zone {zone}; the key may not be allowed to.",
    dns.rcode.NOTAUTH: "The name server does not serve the zone {zone}, or does not know the key.",
    dns.rcode.NOTZONE: "The name does not lie in the zone {zone}.",
    dns.rcode.NOTIMP: "The name server takes no updates.",
    dns.rcode.FORMERR: "The name server does not understand the update.",
}


@dataclass(frozen=True)
class Record:
    """One record as the inputs of a step ask for it."""

    zone: dns.name.Name
    name: dns.name.Name
    kind: dns.rdatatype.RdataType
    data: dns.rdata.Rdata
    ttl: int

    @property
    def mark(self) -> dns.name.Name:
        """The name that says whose it is."""
        return dns.name.Name((MARK.encode(), *self.name.labels))

    @property
    def fqdn(self) -> str:
        """The whole name, without the final dot."""
        return self.name.to_text(omit_final_dot=True)


class DnsRecord(Connector):
    """Keeps one A, AAAA, CNAME or TXT record."""

    idempotency = "lookup"

    def start(self, call: Call) -> Done:
        """Make the record where the name is free, or complete what an earlier attempt made; then read it back."""
        record = _record(call.inputs)
        server = _Server(call, record.zone)
        server.keep(record)
        return _done(server, record)

    def undo(self, call: Call) -> Done:
        """Take the record away, and the mark with the last of them; nothing else at that name."""
        record = _record(call.inputs)
        if not _Server(call, record.zone).remove(record):
            return Done(detail="There was no record to remove.")
        return Done(detail=f"Removed {record.fqdn}.")

    def update(self, call: Call) -> Done:
        """Change value or time to live in one update; another name or type is made first, then the former removed."""
        wanted, former = _record(call.inputs), _record({**call.inputs, **call.before.get("inputs", {})})
        server = _Server(call, wanted.zone)
        if (wanted.name, wanted.kind, wanted.zone) == (former.name, former.kind, former.zone):
            server.exchange(former, wanted)
            return _done(server, wanted)
        server.keep(wanted)
        done = _done(server, wanted)
        _Server(call, former.zone).remove(former)
        return done

    def describe(self, call: Call) -> Done:
        """Ask the server for the record and the mark."""
        record = _record(call.inputs)
        server = _Server(call, record.zone)
        if not server.is_ours(record) or record.data not in server.records(record.name, record.kind):
            raise Missing(f"The record {record.fqdn} is not there, or not as it was made.")
        return Done(detail=f"{record.fqdn} is there.")


def _done(server: "_Server", record: Record) -> Done:
    if record.data not in server.records(record.name, record.kind):
        raise Retry(f"The name server does not show {record.fqdn} yet.", is_fault=False)
    return Done(
        outputs={"fqdn": record.fqdn},
        detail=f"{record.fqdn} leads to {record.data.to_text()[:200]}",
        external_ref=record.fqdn[:200],
    )


class _Server:
    """The name server of one zone, with a signed connection for each question."""

    def __init__(self, call: Call, zone: dns.name.Name) -> None:
        if call.back_end is None or not call.back_end.address:
            raise Failed("No name server is set up to deliver records on.", left_nothing=True)
        self.call, self.zone = call, zone
        self.key = _key(call.back_end)
        self.host, self.port = _address(call.back_end.address)
        self.is_for = dns.rdata.from_text("IN", "TXT", f'"greenlane={call.instance_id}"')

    def keep(self, record: Record) -> None:
        """Add the record where the name is free or ours. Raises Failed where it is somebody else's."""
        fresh = self._update()
        fresh.absent(record.name)
        fresh.absent(record.mark)
        fresh.add(record.mark, record.ttl, self.is_for)
        fresh.add(record.name, record.ttl, record.data)
        if self._sent(fresh):
            return
        more = self._update_of_ours(record)
        more.add(record.name, record.ttl, record.data)
        if not self._sent(more):
            raise Failed(f"There is a record {record.fqdn} that Greenlane did not make.", left_nothing=True)

    def exchange(self, former: Record, wanted: Record) -> None:
        """Put `wanted` in the place of `former`, both of one name and type. Raises Missing where ours is gone."""
        change = self._update_of_ours(wanted)
        change.delete(former.name, former.data)
        change.add(wanted.name, wanted.ttl, wanted.data)
        if not self._sent(change):
            raise Missing(f"There is no record {wanted.fqdn} that Greenlane made.")

    def remove(self, record: Record) -> bool:
        """Delete the record, and the mark once nothing is left at the name; False where nothing of it is ours."""
        removal = self._update_of_ours(record)
        removal.delete(record.name, record.data)
        if not self._sent(removal):
            return False
        last = self._update_of_ours(record)
        last.absent(record.name)
        last.delete(record.mark, self.is_for)
        if not self._sent(last):
            self.call.log(f"Other records remain at {record.fqdn}.")
        return True

    def is_ours(self, record: Record) -> bool:
        """Tell whether the mark says so."""
        return self.is_for in self.records(record.mark, dns.rdatatype.TXT)

    def records(self, name: dns.name.Name, kind: dns.rdatatype.RdataType) -> list[dns.rdata.Rdata]:
        """Ask for the records of one name and type."""
        question = dns.message.make_query(name, kind)
        question.flags &= ~dns.flags.RD
        question.use_tsig(self.key)
        answer = self._ask(question)
        if answer.rcode() not in (dns.rcode.NOERROR, dns.rcode.NXDOMAIN):
            raise self._refusal(answer)
        return [data for rows in answer.answer if (rows.name, rows.rdtype) == (name, kind) for data in rows]

    def _update(self) -> dns.update.UpdateMessage:
        return dns.update.UpdateMessage(
            self.zone, keyring=self.key, keyname=self.key.name, keyalgorithm=self.key.algorithm
        )

    def _update_of_ours(self, record: Record) -> dns.update.UpdateMessage:
        update = self._update()
        update.present(record.mark, self.is_for)
        return update

    def _sent(self, update: dns.update.UpdateMessage) -> bool:
        """Tell whether the server did it; False where its conditions did not hold. Raises Failed or Retry."""
        answer = self._ask(update)
        if answer.rcode() in UNMET:
            return False
        if answer.rcode() != dns.rcode.NOERROR:
            raise self._refusal(answer)
        return True

    def _refusal(self, answer: dns.message.Message) -> Exception:
        code = answer.rcode()
        if code in REFUSALS:
            return Failed(REFUSALS[code].format(zone=self.zone.to_text(omit_final_dot=True)))
        return Retry(f"The name server answers {dns.rcode.to_text(code)}.")

    def _ask(self, question: dns.message.Message) -> dns.message.Message:
        """Send one signed question and give the answer; one that is not signed is none. Raises Retry or Failed."""
        try:
            with closing(self._connected()) as connection:
                connection.settimeout(0)
                with ended_in_time(self.call, partial(hang_up, connection)):
                    answer = dns.query.tcp(question, self.host, timeout=self.call.remaining(), sock=connection)
        except (dns.tsig.PeerBadKey, dns.tsig.PeerBadSignature, dns.tsig.PeerBadTruncation) as error:
            raise Failed("The name server does not accept the key: name, algorithm or secret differ.") from error
        except dns.tsig.PeerBadTime as error:
            raise Failed("The name server's clock and ours differ by more than five minutes.") from error
        except (OSError, EOFError, struct.error, ValueError, dns.exception.DNSException) as error:
            stop_if_lost(self.call, error)
            raise Retry(f"The name server gives no usable answer ({type(error).__name__}).") from error
        return answer

    def _connected(self) -> socket.socket:
        address = addresses(self.call, self.host, self.port)[0]
        return socket.create_connection((address, self.port), timeout=min(5.0, self.call.remaining()))


# --- what a step and its back end ask for ----------------------------------------------------------------


def _record(inputs: dict[str, Any]) -> Record:
    """Read the inputs. Raises Failed for whatever is no record that we would make."""
    zone = _name(inputs.get("zone"), "zone")
    given = _name(inputs.get("name"), "name")
    if given == zone:
        raise _wrong("The name must lie below the zone.")
    labels = given.labels if given.is_subdomain(zone) else given.labels[:-1] + zone.labels
    if sum(len(label) + 1 for label in (MARK, *labels)) > PART:
        raise _wrong("The name is too long.")
    name = dns.name.Name(labels)
    ttl = inputs.get("ttl", USUAL_TTL)
    if isinstance(ttl, bool) or not isinstance(ttl, int) or not LEAST_TTL <= ttl <= MOST_TTL:
        raise _wrong(f"ttl must be a whole number of seconds from {LEAST_TTL} to {MOST_TTL}.")
    kind = inputs.get("type", "A")
    if kind not in TYPES:
        raise _wrong(f"type must be one of: {', '.join(TYPES)}.")
    return Record(zone, name, dns.rdatatype.from_text(kind), _data(kind, inputs.get("value"), zone), ttl)


def _wrong(reason: str) -> Failed:
    return Failed(reason, left_nothing=True)


def _name(text: Any, what: str) -> dns.name.Name:
    labels = text.removesuffix(".").split(".") if isinstance(text, str) else []
    if not labels or not all(_LABEL.fullmatch(label) for label in labels):
        raise _wrong(f"{what} must be a name of letters, digits, hyphens, underscores and dots.")
    try:
        return dns.name.from_text(".".join(labels).lower() + ".")
    except dns.exception.DNSException as error:
        raise _wrong(f"{what} is too long.") from error


def _data(kind: str, value: Any, zone: dns.name.Name) -> dns.rdata.Rdata:
    if not isinstance(value, str) or not value:
        raise _wrong("value must be a text.")
    if kind == "TXT":
        return _text_data(value)
    if kind == "CNAME":
        return dns.rdata.from_text("IN", "CNAME", _name(value, "value").to_text())
    address = ipaddress.IPv4Address if kind == "A" else ipaddress.IPv6Address
    try:
        return dns.rdata.from_text("IN", kind, str(address(value)))
    except ValueError as error:
        raise _wrong(f"value must be an {address.__name__} such as the type {kind} holds.") from error


def _text_data(value: str) -> dns.rdata.Rdata:
    """Give a TXT record's content: parts of 255 bytes at most, whatever characters they have."""
    content = value.encode("utf-8", "replace")
    if len(content) > MOST_TEXT:
        raise _wrong(f"A TXT value may have at most {MOST_TEXT} bytes.")
    parts = [content[start : start + PART] for start in range(0, len(content), PART)]
    wire = b"".join(bytes([len(part)]) + part for part in parts)
    return dns.rdata.from_wire(dns.rdataclass.IN, dns.rdatatype.TXT, wire, 0, len(wire))


def _address(address: str) -> tuple[str, int]:
    found = _ADDRESS.fullmatch(address.removeprefix("dns://").removesuffix("/"))
    port = int(found["port"] or PORT) if found else 0
    if found is None or not 1 <= port <= LAST_PORT:
        raise _wrong("The name server's address must be host or host:port.")
    return found["six"] or found["host"], port


def _key(back_end: BackEnd) -> dns.tsig.Key:
    """Give the key that signs. Raises Failed where it cannot be one."""
    algorithm = back_end.config.get("algorithm", ALGORITHMS[0])
    if algorithm not in ALGORITHMS:
        raise _wrong(f"algorithm must be one of: {', '.join(ALGORITHMS)}.")
    try:
        secret = base64.b64decode(back_end.credentials.get("key", ""), validate=True)
        if not secret:
            raise _wrong("The back end has no key to sign with.")
        return dns.tsig.Key(_name(back_end.config.get("key_name"), "key_name"), secret, algorithm)
    except binascii.Error as error:
        raise _wrong("The key of the back end is no Base64.") from error
