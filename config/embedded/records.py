"""What must outlive a restart: a server's port and passwords, and the generated values in var/env."""

import base64
import json
import os
import secrets
from pathlib import Path
from typing import Any

# The addresses of what runs now.
SERVERS = {
    "DATABASE_URL",
    "DATABASE_OWNER_URL",
    "REDIS_URL",
    "POSTGRESQL_BACKEND_URL",
    "REDIS_BACKEND_URL",
    "GIT_BACKEND_ROOT",
}
WEB = {"PORT", "PUBLIC_URL"}


def write_private(path: Path, text: str) -> None:
    """Write a file that only its owner reads, whole or not at all."""
    fresh = path.with_name(f"{path.name}.new")
    fresh.unlink(missing_ok=True)
    with os.fdopen(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    fresh.replace(path)


def read_record(folder: Path) -> dict[str, Any]:
    """Return the port and passwords of the server in `folder`."""
    record: dict[str, Any] = json.loads((folder / "server.json").read_text())
    return record


def write_record(folder: Path, record: dict[str, Any]) -> None:
    """Keep the port and passwords of the server in `folder`."""
    write_private(folder / "server.json", json.dumps(record, indent=1) + "\n")


def read_env(root: Path) -> dict[str, str]:
    """Return the values in var/env (empty where there is none)."""
    path = root / "var" / "env"
    lines = path.read_text().splitlines() if path.is_file() else []
    return dict(line.split("=", 1) for line in lines if "=" in line and not line.startswith("#"))


def update_env(root: Path, values: dict[str, str]) -> dict[str, str]:
    """Write `values` into var/env beside what is there, and return all of it."""
    return _write_env(root, read_env(root) | values)


def write_addresses(root: Path, addresses: dict[str, str]) -> dict[str, str]:
    """Write the servers' addresses in place of older ones, and the keys that lack; return all of var/env.

    Keys that are there stay: without them sessions and stored secrets would be lost.
    """
    keys = {
        "SECRET_KEY": secrets.token_urlsafe(50),
        "ENCRYPTION_KEYS": base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),  # a Fernet key
        "ALLOWED_HOSTS": "127.0.0.1,localhost",
    }
    return _write_env(root, keys | _without(SERVERS, read_env(root)) | addresses)


def forget_addresses(root: Path) -> None:
    """Remove the addresses of what has stopped, so that no command goes astray to them."""
    if (root / "var" / "env").is_file():
        _write_env(root, _without(SERVERS | WEB, read_env(root)))


def _without(names: set[str], values: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in values.items() if name not in names}


def _write_env(root: Path, values: dict[str, str]) -> dict[str, str]:
    lines = ["# Written by `make demo`; read where a variable is unset in the environment."]
    lines += [f"{name}={value}" for name, value in values.items()]
    write_private(root / "var" / "env", "\n".join(lines) + "\n")
    return values
