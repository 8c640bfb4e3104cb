"""A template for a connector: delivers a folder with a password file below the folder FOLDER_ROOT.

Copy it, put your client in the place of the file system, and let the contract test tell you what you forgot.
Name CONNECTORS in the variable EXTRA_CONNECTORS: `EXTRA_CONNECTORS=examples.connector.folder.CONNECTORS`.
"""

import hashlib
import os
import shutil
from pathlib import Path
from typing import Any

from provisioning.connectors.base import Call, Connector, Done, Failed, Missing, Retry
from provisioning.connectors.names import name_for

# What the catalog and the engine need to know without loading the class; config/connectors.py explains each key.
CONNECTORS: dict[str, dict[str, Any]] = {
    "folder": {
        "class": "examples.connector.folder.Folder",
        "inputs": ["readme"],
        "outputs": ["path"],
        "secrets": ["password"],
        "idempotency": "lookup",
    }
}
MARK, PASSWORD, README = ".greenlane-service", "password.sha256", "README.txt"


class Folder(Connector):
    """One folder for each service."""

    # The same as in the declaration: a second `start` looks first, and goes on from what it finds.
    idempotency = "lookup"

    def start(self, call: Call) -> Done:
        """Make the folder, or complete the one that an earlier attempt began."""
        folder = _folder(call)
        call.check()  # before every act: another worker may have taken over
        try:
            if not _is_ours(folder, call):
                folder.mkdir(mode=0o700, exist_ok=_is_empty(folder))
                _write(folder / MARK, str(call.instance_id))  # the mark first: from here on it is ours
            _write(folder / README, str(call.inputs.get("readme", "")))
            _write(folder / PASSWORD, _hashed(call))
        except FileExistsError as error:
            raise Failed(f"There is a folder {folder.name} that Greenlane did not make.") from error
        except OSError as error:  # not this time: the engine waits and tries again
            raise Retry(f"The folder cannot be written: {type(error).__name__}.") from error
        return Done(
            outputs={"path": str(folder)},
            detail=f"Your folder is {folder.name}.",
            external_ref=folder.name,
        )

    def undo(self, call: Call) -> Done:
        """Take away all of it, half of it or nothing; never what is somebody else's."""
        folder = _folder(call)
        call.check()
        if not _is_ours(folder, call) and not _is_empty(folder):
            return Done(detail="There was no folder to remove.")
        try:
            shutil.rmtree(folder, ignore_errors=False)
        except OSError as error:
            raise Retry(f"The folder cannot be removed: {type(error).__name__}.") from error
        return Done(detail=f"Removed the folder {folder.name}.")

    def describe(self, call: Call) -> Done:
        """Look the way the person would: whether it is there, and whether the password fits."""
        folder = _folder(call)
        call.check()
        if not _is_ours(folder, call):
            raise Missing(f"The folder {folder.name} is not there.")
        if (folder / PASSWORD).read_text() != _hashed(call):
            raise Failed("The password does not fit.")
        return Done(detail=f"The folder {folder.name} is there.")

    def update(self, call: Call) -> Done:
        """Bring it in line with the inputs; what was in force is in `call.before`."""
        return self._changed(call, README, str(call.inputs.get("readme", "")), "The folder is changed.")

    def rotate(self, call: Call) -> Done:
        """Set the new password. Every attempt gets the same one in `call.secrets`."""
        return self._changed(call, PASSWORD, _hashed(call), "The new password is set.")

    def _changed(self, call: Call, name: str, text: str, detail: str) -> Done:
        folder = _folder(call)
        call.check()
        if not _is_ours(folder, call):
            raise Missing(f"There is no folder {folder.name} that Greenlane made.")
        _write(folder / name, text)
        return Done(detail=detail, external_ref=folder.name)


def _folder(call: Call) -> Path:
    """Name the place. What a person typed comes into names through `name_for` alone."""
    root = os.environ.get("FOLDER_ROOT", "")
    if not root:
        raise Failed("No folder is set up to deliver on: set FOLDER_ROOT.", left_nothing=True)
    return Path(root, name_for(call.instance_name, call.instance_id, separator="-"))


def _is_ours(folder: Path, call: Call) -> bool:
    mark = folder / MARK
    return mark.is_file() and mark.read_text() == str(call.instance_id)


def _is_empty(folder: Path) -> bool:
    """Tell whether an attempt that was killed between its first two acts left this."""
    return folder.is_dir() and not any(folder.iterdir())


def _hashed(call: Call) -> str:
    """Give the password as it is kept: no secret in clear, neither there nor in any sentence."""
    return hashlib.sha256(call.secrets["password"].encode()).hexdigest()


def _write(path: Path, text: str) -> None:
    """Write whole or not at all, however the worker ends."""
    aside = path.with_name(f".{path.name}.new")
    aside.write_text(text)
    aside.replace(path)
