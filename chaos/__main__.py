"""`python -m chaos --rounds N --seed S`: kill, freeze, flush and misbehave; then count. Exit 1 on any violation."""

import argparse
import os
import random
import secrets
import subprocess
import sys
import tempfile
from pathlib import Path

from config import embedded
from tests import servers

ROOT = Path(__file__).resolve().parent.parent
# Commits survive the sudden end of the server's processes, as those of a real one do; power cuts are not tried.
DURABLE = "ALTER DATABASE greenlane SET synchronous_commit = on"


def main() -> int:
    """Start the servers, play the rounds, print the tables; give 0 where all held."""
    options = _options()
    with servers.own_root() as root, tempfile.TemporaryDirectory() as folder:
        Path(folder).chmod(0o755)
        _, values = embedded.start(root, say=lambda _line: None, environ={}, throw_away=True)
        if "REDIS_BACKEND_URL" not in values:
            sys.stderr.write("Chaos needs a Redis server: install redis-server (6.2 or newer).\n")
            return 2
        os.environ |= values | servers.FIXED | {"DJANGO_SETTINGS_MODULE": "config.settings"}
        os.environ["EGRESS_ALLOW"] = "127.0.0.1"
        _prepare()
        return 0 if _play(root, Path(folder), options) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m chaos", description=__doc__)
    parser.add_argument("--rounds", type=int, default=20, help="how many rounds (default 20)")
    parser.add_argument("--seed", type=int, default=1, help="what is drawn; the same seed draws the same (default 1)")
    parser.add_argument("--orders", type=int, default=50, help="orders a round (default 50)")
    parser.add_argument("--seconds", type=float, default=9.0, help="in which mischief begins, a round (default 9)")
    parser.add_argument("--from", type=int, default=1, dest="first", help="number of the first round (default 1)")
    parser.add_argument("--only", default="", help="only these actions, separated by commas")
    parser.add_argument("--deal", action="store_true", help="every action once, dealt out over the rounds")
    parser.add_argument("--keep", default="", help="where to copy the logs of a bad round")
    return parser.parse_args()


def _prepare() -> None:
    """Make the tables, and commits that are kept."""
    subprocess.run([sys.executable, "manage.py", "migrate", "--no-input", "-v", "0"], cwd=ROOT, check=True)
    import django  # noqa: PLC0415 (only now do the settings find their servers)
    import psycopg2  # noqa: PLC0415 (with it)

    with psycopg2.connect(os.environ["DATABASE_OWNER_URL"]) as owner, owner.cursor() as cursor:
        cursor.execute(DURABLE)
    owner.close()
    django.setup()


def _play(root: Path, folder: Path, options: argparse.Namespace) -> bool:
    from django.conf import settings  # noqa: PLC0415 (after the set-up)

    from chaos import report  # noqa: PLC0415 (after the set-up)
    from chaos.campaign import Campaign  # noqa: PLC0415 (after the set-up)
    from chaos.far_side import Register, serving  # noqa: PLC0415 (with it)
    from chaos.mischief import WEIGHTS, deal  # noqa: PLC0415 (after the set-up)
    from chaos.offerings import open_shop  # noqa: PLC0415 (after the set-up)
    from chaos.site import Site  # noqa: PLC0415 (after the set-up)

    # Nobody signs in with a password here, so none is worth a slow hash.
    settings.PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]
    allowed = options.only.split(",") if options.only else list(WEIGHTS)
    register = Register(token=secrets.token_urlsafe(24), canary=f"canary-{secrets.token_hex(8)}")
    hands = deal(random.Random(options.seed), allowed, options.rounds) if options.deal else []  # noqa: S311 (by seed)
    results = []
    site = Site(root, folder, random.Random(options.seed))  # noqa: S311 (chance by seed is the point)
    with serving(register) as address:
        shop = open_shop(address, register.token)
        try:
            site.start()
            campaign = Campaign(
                site,
                shop,
                register,
                seed=options.seed,
                seconds=options.seconds,
                database_url=settings.DATABASE_URL,
            )
            for number in range(options.first, options.first + options.rounds):
                dealt = hands.pop() if hands else None
                result = campaign.play(number, orders=options.orders, allowed=allowed, dealt=dealt)
                report.tell_round(result)
                results.append(result)
                if result.violations:
                    site.keep_logs(options.keep)
        finally:
            site.end()
    codes = [code for slot in site.slots for code in slot.codes]
    return report.tell_campaign(
        results, lease=settings.LEASE_SECONDS, hanging=site.hanging, codes=codes, far=register.counts
    )


if __name__ == "__main__":
    sys.exit(main())
