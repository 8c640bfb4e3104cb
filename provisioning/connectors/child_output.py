"""What a program writes, read as lines while it runs, with bounds on all of it."""

import codecs
import os
import re
import selectors
import subprocess
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

MAX_OUTPUT = 1 << 20
MAX_LINE = 1 << 18
LAST_LINES = 40
COLOR = re.compile(r"\x1b\[[0-9;]*[A-Za-z]")


@dataclass(frozen=True)
class Ended:
    """How a program ended: its code, what was kept of its output, and the last lines that it wrote."""

    code: int
    output: bytes
    last_lines: list[str]

    @property
    def reason(self) -> str:
        """The last line that says anything, for a sentence."""
        return next((line.strip() for line in reversed(self.last_lines) if line.strip()), "no reason given")[:300]


class Lines:
    """Both ways of a program's output. With `keeps_output` the first is kept, up to 1 MiB, and not read as lines."""

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        on_line: Callable[[str], object],
        on_error_line: Callable[[str], object],
        *,
        keeps_output: bool,
    ) -> None:
        self.output = bytearray()
        self.last: deque[str] = deque(maxlen=LAST_LINES)
        self.said_alive_at = 0.0
        self._selector = selectors.DefaultSelector()
        takers = (self._keep if keeps_output else _Line(on_line, self.last).take, _Line(on_error_line, self.last).take)
        for pipe, take in zip((process.stdout, process.stderr), takers, strict=True):
            if pipe:
                self._selector.register(pipe, selectors.EVENT_READ, take)

    @property
    def ended(self) -> bool:
        """Tell whether both ways are closed."""
        return not self._selector.get_map()

    def take(self, seconds: float) -> None:
        """Take what comes within so many seconds."""
        for key, _ in self._selector.select(seconds):
            data = os.read(key.fd, 65536)
            key.data(data)
            if not data:
                self._selector.unregister(key.fileobj)

    def close(self) -> None:
        """Read no more."""
        self._selector.close()

    def _keep(self, data: bytes) -> None:
        self.output += data[: MAX_OUTPUT - len(self.output)]


class _Line:
    """The line that is being read."""

    def __init__(self, told: Callable[[str], object], last: deque[str]) -> None:
        self._told, self._last = told, last
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._text = ""

    def take(self, data: bytes) -> None:
        """Add what was read; tell the lines that are whole, all of them at the end."""
        *whole, rest = (self._text + self._decoder.decode(data, final=not data)).split("\n")
        # Of a line without an end its beginning is enough.
        self._text = rest[:MAX_LINE]
        for line in [*whole, *([rest] if not data else [])]:
            text = COLOR.sub("", line[:MAX_LINE].rstrip("\r").replace("\0", "\N{REPLACEMENT CHARACTER}"))
            if text.strip():
                self._last.append(text[:500])
                self._told(text)
