"""A mail server in a thread: a real one that keeps what it takes, and a scripted one that misbehaves."""

import contextlib
import socket
import threading
from collections.abc import Iterator
from email import message_from_bytes
from typing import TYPE_CHECKING, Any

from aiosmtpd.controller import Controller

if TYPE_CHECKING:
    from email.message import Message


class Mailbox:
    """Keeps messages as they came."""

    def __init__(self) -> None:
        self.messages: list[Message] = []
        self.recipients: list[list[str]] = []

    async def handle_DATA(self, server: Any, session: Any, envelope: Any) -> str:  # noqa: N802 (aiosmtpd's name)
        """Take one."""
        self.messages.append(message_from_bytes(envelope.content))
        self.recipients.append(envelope.rcpt_tos)
        return "250 taken"


@contextlib.contextmanager
def mail_server() -> Iterator[tuple[Mailbox, int]]:
    """Serve SMTP on a free port; give what came and the port."""
    box = Mailbox()
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    controller = Controller(box, hostname="127.0.0.1", port=port)
    controller.start()
    try:
        yield box, port
    finally:
        controller.stop()


class Script:
    """Answers each command by the first words of its lines; what it has no answer for gets 250.

    An answer of None hangs up; of a number, waits so many seconds and hangs up; `drip` sends one byte after another.
    """

    def __init__(self, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.heard: list[str] = []
        self.texts: list[str] = []
        self.stop = threading.Event()

    def serve(self, connection: socket.socket) -> None:
        """Speak with one client to the end."""
        with connection, connection.makefile("rb") as lines, contextlib.suppress(OSError):
            if not self._say(connection, "greeting", "220 here"):
                return
            for line in lines:
                command = line.decode().strip()
                self.heard.append(command)
                word = command.split(" ")[0].split(":")[0].upper()
                if not self._say(connection, word, "354 go on" if word == "DATA" else "250 fine"):
                    return
                if word == "DATA" and str(self.answers.get("DATA", "354")).startswith("354"):
                    self._take(lines)
                    if not self._say(connection, "text", "250 taken"):
                        return

    def _take(self, lines: Any) -> None:
        text = []
        for line in lines:
            if line == b".\r\n":
                break
            text.append(line.decode())
        self.texts.append("".join(text))

    def _say(self, connection: socket.socket, word: str, usual: str) -> bool:
        answer = self.answers.get(word, usual)
        if answer == "drip":
            return self._drip(connection)
        if answer is None or isinstance(answer, int | float):
            self.stop.wait(answer or 0)
            return False
        connection.sendall(f"{answer}\r\n".encode())
        return True

    def _drip(self, connection: socket.socket) -> bool:
        while not self.stop.wait(0.05):
            connection.sendall(b"2")
        return False


@contextlib.contextmanager
def scripted_mail_server(**answers: Any) -> Iterator[tuple[Script, int]]:
    """Serve a script on a free port, one client after another; give the script and the port."""
    script = Script(answers)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(0.1)

        def accept() -> None:
            while not script.stop.is_set():
                with contextlib.suppress(TimeoutError):
                    script.serve(server.accept()[0])

        thread = threading.Thread(target=accept, daemon=True)
        thread.start()
        try:
            yield script, server.getsockname()[1]
        finally:
            script.stop.set()
            thread.join(timeout=5)
