"""A bare Git repository in a folder that people reach over the file system or through a server in front of it.

It is made aside and moved into place whole, and carries the instance's id in a file.
"""

import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Self

from django.conf import settings

from provisioning.connectors.base import Call, Connector, Done, Failed, Missing, Retry
from provisioning.connectors.names import name_for

MARK = "greenlane-service"
DEFAULT_BRANCH = "main"
BRANCH_FORMAT = re.compile(r"(?!.*(\.\.|//|\.lock(/|$)|/\.|[./]$))[A-Za-z0-9][A-Za-z0-9._/-]{0,99}")
BRANCH_RULE = "The default branch must be a branch name of letters, digits, dots, hyphens, underscores and slashes."


class GitRepository(Connector):
    """Delivers an empty bare repository."""

    idempotency = "lookup"

    def start(self, call: Call) -> Done:
        """Make the repository, or find the one that an earlier attempt made."""
        branch = _branch(call)
        with _Repository(call) as repository:
            if repository.is_ours() is False:
                raise Failed(f"There is a repository {repository.path.name} that Greenlane did not make.")
            if repository.is_ours() is None:
                repository.remove_leftovers()
                repository.make(branch)
            else:
                repository.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        return Done(
            outputs={"clone_url": repository.path.as_uri(), "default_branch": branch},
            detail=f"Repository {repository.path.name}, with the default branch {branch}.",
            external_ref=repository.path.name,
        )

    def update(self, call: Call) -> Done:
        """Set the default branch; what is in the repository stays as it is."""
        branch = _branch(call)
        with _Repository(call) as repository:
            if not repository.is_ours():
                raise Missing(f"There is no repository {repository.path.name}.", left_nothing=True)
            repository.git("symbolic-ref", "HEAD", f"refs/heads/{branch}")
        return Done(
            outputs={"default_branch": branch},
            detail=f"Repository {repository.path.name}, with the default branch {branch}.",
            external_ref=repository.path.name,
        )

    def undo(self, call: Call) -> Done:
        """Move the repository away at once, then delete it."""
        with _Repository(call) as repository:
            removed = bool(repository.is_ours())
            if removed:
                repository.put_aside()
            repository.remove_leftovers()
        return Done(
            detail=f"Removed the repository {repository.path.name}."
            if removed
            else "There was no repository to remove."
        )

    def describe(self, call: Call) -> Done:
        """Have Git read the repository."""
        with _Repository(call) as repository:
            if not repository.is_ours():
                raise Missing(f"There is no repository {repository.path.name}.")
            repository.git("rev-parse", "--is-bare-repository")
        return Done(detail="Git can read the repository.")


class _Repository:
    """The one place of an instance's repository, and the places where it is made and deleted."""

    def __init__(self, call: Call) -> None:
        if not settings.GIT_BACKEND_ROOT:
            raise Failed("No folder is set up to deliver repositories in: set GIT_BACKEND_ROOT.")
        self.call = call
        self.root = Path(settings.GIT_BACKEND_ROOT).absolute()
        self.name = name_for(call.instance_name, call.instance_id, longest=100, separator="-")
        self.path = self.root / f"{self.name}.git"

    def __enter__(self) -> Self:
        self.call.check()
        return self

    def __exit__(self, _kind: object, error: object, _trace: object) -> None:
        if isinstance(error, OSError):
            raise Retry(f"The folder of repositories cannot be used: {error.strerror or error}.") from error

    def is_ours(self) -> bool | None:
        """Tell whether the repository is there and ours (True), somebody else's (False), or not there (None)."""
        if not os.path.lexists(self.path):
            return None
        mark = self.path / MARK
        return mark.is_file() and mark.read_bytes() == str(self.call.instance_id).encode()

    def make(self, branch: str) -> None:
        """Make it aside, then move it into place: it is there whole or not at all."""
        fresh = self._aside("new")
        self.call.check()
        self.git("init", "--quiet", "--bare", "--template=", f"--initial-branch={branch}", str(fresh), within=None)
        (fresh / MARK).write_text(str(self.call.instance_id))
        self.call.check()
        fresh.rename(self.path)
        self.call.log(f"Made the repository {self.path.name}.")

    def put_aside(self) -> None:
        """Take it out of reach."""
        self.call.check()
        self.path.rename(self._aside("gone"))

    def remove_leftovers(self) -> None:
        """Delete what this and earlier attempts put aside."""
        self.call.check()
        for folder in self.root.glob(f".{self.name}.*"):
            shutil.rmtree(folder)

    def git(self, *arguments: str, within: str | None = "--git-dir") -> None:
        """Run Git in the repository, with nothing of the machine's or the caller's configuration."""
        place = [f"{within}={self.path}"] if within else []
        seconds = self.call.remaining()
        try:
            done = subprocess.run(  # noqa: S603 (a list of arguments, none of them begins as an option may)
                [_program(), *place, *arguments],
                cwd=self.root,
                env=_environment(),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                errors="replace",
                timeout=seconds,
                check=False,
            )
        except subprocess.TimeoutExpired as error:
            raise Retry(f"Git took longer than {seconds:.0f} seconds.") from error
        if done.returncode != 0:
            reason = (done.stderr.strip().splitlines() or ["no reason given"])[-1]
            raise Retry(f"Git could not {arguments[0]} the repository {self.path.name}: {reason}")

    def _aside(self, purpose: str) -> Path:
        return self.root / f".{self.name}.{purpose}-{self.call.fencing_token}"


def _branch(call: Call) -> str:
    """Give the branch that the workflow sets or the person chose in the order form."""
    chosen = call.context.get("parameters", {}).get("default_branch", DEFAULT_BRANCH)
    branch = call.inputs.get("default_branch", chosen)
    if not isinstance(branch, str) or not BRANCH_FORMAT.fullmatch(branch):
        raise Failed(BRANCH_RULE)
    return branch


def _program() -> str:
    program = shutil.which("git")
    if not program:
        raise Failed("The program git is not installed here.")
    return program


def _environment() -> dict[str, str]:
    return {
        "PATH": os.environ.get("PATH", os.defpath),
        "LC_ALL": "C.UTF-8",
        "GIT_CONFIG_NOSYSTEM": "1",
        "GIT_CONFIG_GLOBAL": os.devnull,
        "GIT_TERMINAL_PROMPT": "0",
    }
