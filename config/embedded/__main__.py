"""The servers' command line: `python -m config.embedded start|stop|status|reset`."""

import argparse
import sys
from pathlib import Path

from config import embedded
from config.embedded.errors import EmbeddedError
from config.embedded.lock import end_demo

ROOT = Path(__file__).resolve().parents[2]


def main(arguments: list[str] | None = None) -> int:
    """Run one command; return 0, or 1 after a plain sentence."""
    parser = argparse.ArgumentParser(prog="python -m config.embedded", description=__doc__)
    parser.add_argument(
        "command",
        choices=["start", "stop", "status", "reset"],
        help="start what is not running, stop all, list what runs, or stop all and remove every trace of it",
    )
    command = parser.parse_args(arguments).command
    try:
        if command == "start":
            embedded.ensure(ROOT)
        elif command == "status":
            found = embedded.find(ROOT)
            print("\n".join(map(str, found)) if found else "No server of this folder runs.")
        else:
            end_demo(ROOT)
            (embedded.reset if command == "reset" else embedded.stop)(ROOT)
    except EmbeddedError as error:
        print(error, file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
