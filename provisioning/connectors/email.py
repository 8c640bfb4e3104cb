"""One message by mail, through the server of EMAIL_URL.

SMTP (RFC 5321) has no key that makes a repeat harmless. So the acts of a delivery are told apart: until the text is
sent nothing has happened, and trying again is safe; once it is on its way, only the server's answer says whether the
message was taken. Where that answer does not come, a person has to look.
"""

import re
import smtplib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any

from django.core import mail
from django.core.exceptions import ValidationError
from django.core.mail import EmailMessage
from django.core.mail.backends.smtp import EmailBackend
from django.core.validators import validate_email

from provisioning.connectors.base import Answer, Call, Connector, Done, Failed, Retry, Unknown
from provisioning.connectors.watch import ended_in_time, hang_up, stop_if_lost

ANSWER_SECONDS = 10.0
MOST_RECIPIENTS = 20
LONGEST_SUBJECT, LONGEST_TEXT = 200, 20_000
READY, TEMPORARY, PERMANENT, LAST_CODE = 354, 400, 500, 599
ACCEPTED = {250, 251}
# A line that begins with a dot gets another one (RFC 5321, 4.5.2).
_LEADING_DOT = re.compile(rb"^\.", re.MULTILINE)


class Email(Connector):
    """Sends one message."""

    idempotency = "none"

    def start(self, call: Call) -> Done:
        """Send it. Raises Retry while nothing is sent, Unknown where nobody says whether it was taken."""
        message = _message(call)
        seconds = min(ANSWER_SECONDS, call.remaining())
        connection = mail.get_connection(timeout=seconds)
        if isinstance(connection, EmailBackend):
            _send(call, _Connection(timeout=seconds), message)
        else:
            connection.send_messages([message])
        return Done(
            detail=f"Sent to {', '.join(message.to)}.", external_ref=str(message.extra_headers["Message-ID"])[:200]
        )

    def undo(self, call: Call) -> Answer:
        """Leave it: what is sent is sent."""
        call.check()
        return Done(detail="A message that was sent cannot be taken back.")

    def update(self, call: Call) -> Answer:
        """Leave it: a change of the service is no reason to send it again."""
        call.check()
        return Done(detail="The message was sent before.")

    def describe(self, call: Call) -> Answer:
        """Only who received it could tell."""
        raise Failed("Whether a message arrived cannot be looked up; ask the person, or read the mail server's log.")


def _message(call: Call) -> EmailMessage:
    """Write the message. Raises Failed for what is no address, no subject or no text."""
    recipients, subject, text = _recipients(call.inputs.get("to")), call.inputs.get("subject"), call.inputs.get("text")
    if not isinstance(subject, str) or not subject.strip() or len(subject) > LONGEST_SUBJECT:
        raise Failed(f"The subject must be a text of at most {LONGEST_SUBJECT} characters.", left_nothing=True)
    if any(ord(letter) < ord(" ") for letter in subject):
        raise Failed("The subject must be one line.", left_nothing=True)
    if not isinstance(text, str) or not text.strip() or len(text) > LONGEST_TEXT:
        raise Failed(f"The text must have at most {LONGEST_TEXT} characters, and not be empty.", left_nothing=True)
    message = EmailMessage(subject.strip(), text, to=recipients)
    domain = message.from_email.rpartition("@")[2].strip("<> ") or "localhost"
    # The same for every attempt, so that who receives it twice can tell (RFC 5322, 3.6.4; RFC 3834).
    message.extra_headers = {"Message-ID": f"<{call.idempotency_key}@{domain}>", "Auto-Submitted": "auto-generated"}
    return message


def _recipients(value: Any) -> list[str]:
    named = [value] if isinstance(value, str) else value
    if not isinstance(named, list) or not 1 <= len(named) <= MOST_RECIPIENTS:
        raise Failed(f"“to” must be an address, or a list of at most {MOST_RECIPIENTS}.", left_nothing=True)
    for address in named:
        try:
            validate_email(address.encode("ascii").decode())
        except (ValidationError, UnicodeEncodeError, AttributeError) as error:
            raise Failed(f"“{str(address)[:80]}” is no mail address.", left_nothing=True) from error
    return list(dict.fromkeys(named))


def _send(call: Call, connection: "_Connection", message: EmailMessage) -> None:
    """Deliver by SMTP, with everything that is said before the text apart from the text itself."""
    with ended_in_time(call, connection.hang_up), connection.closed_in_the_end():
        try:
            smtp = connection.opened()
            _prepare(call, smtp, message)
        except (OSError, smtplib.SMTPException) as error:
            stop_if_lost(call, error)
            raise _before_the_text(error) from error
        _accept(*_sent(smtp, message), "the message")
        with suppress(OSError, smtplib.SMTPException):  # it is delivered: how one parts does not matter
            smtp.quit()


def _sent(smtp: smtplib.SMTP, message: EmailMessage) -> tuple[int, bytes]:
    """Send the text, and give the reply that says whether it was taken. Raises Unknown without such a reply."""
    try:
        smtp.send(_on_the_wire(message))
        code, said = smtp.getreply()
    except (OSError, smtplib.SMTPException) as error:
        code, said = 0, type(error).__name__.encode()
    if code not in ACCEPTED and not TEMPORARY <= code <= LAST_CODE:
        raise Unknown(
            f"The mail server got the message and did not say whether it delivers it ({said.decode('ascii', 'replace')}"
            f"). Look whether {', '.join(message.to)} received it."
        )
    return code, said


def _prepare(call: Call, smtp: smtplib.SMTP, message: EmailMessage) -> None:
    """Say from whom and to whom, and that the text comes. Nothing is sent before the server says that it is ready."""
    smtp.ehlo_or_helo_if_needed()
    sender = message.from_email
    _accept(*smtp.mail(sender), "the sender")
    for address in message.to:
        _accept(*smtp.rcpt(address), f"the address {address}")
    call.check()
    code, said = smtp.docmd("DATA")
    if code != READY:
        raise _refusal(code, said, "the message")


def _accept(code: int, said: bytes, what: str) -> None:
    if code not in ACCEPTED:
        raise _refusal(code, said, what)


def _refusal(code: int, said: bytes, what: str) -> Exception:
    """Turn a reply into what the engine does: 4xx is not now, 5xx is never (RFC 5321, 4.2.1)."""
    reason = f"The mail server refuses {what}: {code} {said.decode('ascii', 'replace')[:200]}"
    if code >= PERMANENT:
        return Failed(reason, left_nothing=True)
    return Retry(reason, is_fault=code < TEMPORARY)


def _before_the_text(error: Exception) -> Exception:
    if isinstance(error, smtplib.SMTPResponseException):
        return _refusal(int(error.smtp_code), _bytes(error.smtp_error), "us")
    return Retry(f"The mail server cannot be reached: {type(error).__name__}.")


def _bytes(said: bytes | str) -> bytes:
    return said if isinstance(said, bytes) else said.encode()


def _on_the_wire(message: EmailMessage) -> bytes:
    """Give the message as SMTP carries it: lines with CR LF, dots doubled, a dot alone at the end."""
    text = re.sub(rb"\r?\n", b"\r\n", message.message().as_bytes())
    text += b"" if text.endswith(b"\r\n") else b"\r\n"
    return _LEADING_DOT.sub(b"..", text) + b".\r\n"


class _Connection(EmailBackend):
    """Django's connection as EMAIL_URL says; it can be hung up from another thread, even while it is being opened."""

    client: smtplib.SMTP | None = None

    @property
    def connection_class(self) -> Any:
        """Give a client that is known from its first byte on."""
        backend = self

        class Known(super().connection_class):  # type: ignore[misc]
            def _get_socket(self, *where: Any) -> Any:
                backend.client = self
                return super()._get_socket(*where)

        return Known

    def opened(self) -> smtplib.SMTP:
        """Connect, encrypt and sign in; give the client. Raises OSError or SMTPException."""
        self.open()
        if self.connection is None:
            raise smtplib.SMTPServerDisconnected
        return self.connection

    def hang_up(self) -> None:
        """End whatever it waits for."""
        hang_up(getattr(self.client, "sock", None))

    @contextmanager
    def closed_in_the_end(self) -> Iterator[None]:
        """Close it after the block, without another word."""
        try:
            yield
        finally:
            if self.client:
                self.client.close()
