"""`python -m benchmarks`: how long an order takes, and how much the engine moves. Figures are printed.

Absolute figures depend on the machine, so each comes with a ratio to what the same machine's database does.
"""

import argparse
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from tests import servers

ROOT = Path(__file__).resolve().parent.parent


def main() -> int:
    """Start the servers, measure, print; give 0."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("--orders", type=int, default=20, help="orders of each offering (default 20)")
    parser.add_argument("--steps", type=int, default=1000, help="steps that do nothing (default 1000)")
    parser.add_argument("--hops", type=int, default=300, help="ways from a commit to a worker (default 300)")
    parser.add_argument("--herd", type=int, default=10_000, help="steps that become due at once (default 10,000)")
    options = parser.parse_args()
    servers.start_for_tests()
    # As in production: a lease of 30 seconds, a sweep every five.
    os.environ |= {"DJANGO_SETTINGS_MODULE": "benchmarks.settings", "LEASE_SECONDS": "30", "SWEEP_SECONDS": "5"}
    try:
        subprocess.run([sys.executable, "manage.py", "migrate", "--no-input", "-v", "0"], cwd=ROOT, check=True)
        import django  # noqa: PLC0415 (only now do the settings find their servers)

        django.setup()
        from benchmarks import measures  # noqa: PLC0415

        with tempfile.TemporaryDirectory() as folder:
            measures.run(Path(folder), orders=options.orders, steps=options.steps, ways=options.hops, due=options.herd)
    finally:
        servers.stop_for_tests()
    return 0


if __name__ == "__main__":
    sys.exit(main())
