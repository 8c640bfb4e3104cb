"""A stand-in for `terraform`: one thing for each name in the variable `things`, a file in FAR_TERRAFORM/live.

It speaks `init`, `plan`, `apply`, `destroy`, `output`, `state list` and `force-unlock` with Terraform's own flags,
codes and JSON lines, keeps a state beside the module, and locks it with a file that a killed run leaves behind, as a
remote backend does. What it does stands in FAR_TERRAFORM/calls: `start apply PID`, `stop apply PID`.

Variables that make trouble: `hold` (waits for the file FAR_TERRAFORM/gate), `fails` (ends with that error), `noise`
(writes so many lines), `dies` (is killed after the first thing, so many times).
"""

import json
import os
import signal
import sys
import time
from pathlib import Path
from uuid import uuid4

FAR_SIDE = Path(os.environ["FAR_TERRAFORM"])
STATE = Path("terraform.tfstate")
LOCK = Path("lock.json")


class Interrupted(Exception):  # noqa: N818 (what happened)
    """Asked to end."""


def note(*words):
    """Write one line of what is done."""
    with (FAR_SIDE / "calls").open("a") as file:
        file.write(" ".join(str(word) for word in words) + "\n")


def say(text):
    """Write a line to standard output, at once."""
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def tell(kind, message, **facts):
    """Write one line of the machine-readable log."""
    level = "error" if kind == "diagnostic" else "info"
    say(json.dumps({"@level": level, "@message": message, "type": kind, **facts}))


def fail(summary, detail=""):
    """Say what is wrong and end."""
    diagnostic = {"severity": "error", "summary": summary, "detail": detail}
    tell("diagnostic", f"Error: {summary}", diagnostic=diagnostic)
    sys.exit(1)


def state():
    """Read the addresses of the state."""
    return json.loads(STATE.read_text())["things"] if STATE.exists() else []


def keep(things):
    """Write the state."""
    STATE.write_text(json.dumps({"things": things}))


def variables(arguments):
    """Read the file of variables."""
    named = next(one for one in arguments if one.startswith("-var-file="))
    return json.loads(Path(named.partition("=")[2]).read_text())


def address(name):
    """The address of a thing."""
    return f"far_thing.{name}"


def live(one):
    """The file of a thing, by its address."""
    return FAR_SIDE / "live" / f"{Path.cwd().parent.parent.name}-{one.partition('.')[2]}"


def lock(operation):
    """Take the state's lock, or say who has it."""
    if LOCK.exists():
        fail("Error acquiring the state lock", f"Lock Info:\n  ID:        {json.loads(LOCK.read_text())['ID']}")
    LOCK.write_text(json.dumps({"ID": str(uuid4()), "Operation": operation}))


def change(command, arguments):
    """Apply or destroy."""
    given = variables(arguments)
    lock(command)
    note("start", command, os.getpid())
    signal.signal(signal.SIGTERM, interrupt)
    done = state()
    try:
        work(command, given, done)
    except Interrupted:
        note("interrupted", command, os.getpid())
        LOCK.unlink()
        fail("execution halted")
    note("stop", command, os.getpid())
    LOCK.unlink()
    tell("change_summary", f"{command.capitalize()} complete!")


def work(command, given, done):
    """Make what lacks and remove what is too much, with the state written at each."""
    for number in range(given.get("noise", 0)):
        tell("apply_progress", f"still at it, {number} " + "x" * 900)
    wanted = [address(name) for name in given["things"]] if command == "apply" else []
    for one in [known for known in done if known not in wanted]:
        live(one).unlink(missing_ok=True)
        done.remove(one)
        keep(done)
    for one in wanted:
        if one not in done:
            done.append(one)
            keep(done)
        live(one).touch()
        tell("apply_complete", f"{one}: Creation complete")
        trouble(command, given)


def trouble(command, given):
    """Make the trouble that was asked for."""
    if given.get("fails"):
        LOCK.unlink()
        note("failed", command, os.getpid())
        fail(given["fails"], "Because the test says so.")
    deaths = FAR_SIDE / "deaths"
    if given.get("dies", 0) > (len(deaths.read_text()) if deaths.exists() else 0):
        with deaths.open("a") as file:
            file.write("x")
        os.kill(os.getpid(), signal.SIGKILL)
    while given.get("hold") and not (FAR_SIDE / "gate").exists():
        time.sleep(0.02)


def interrupt(_number, _frame):
    """End in good order: the state is written at every thing."""
    raise Interrupted


def plan(arguments):
    """Say what an apply would do."""
    given = variables(arguments)
    if given.get("fails"):
        fail(given["fails"], "Because the test says so.")
    wanted = [address(name) for name in given["things"]]
    new = [one for one in wanted if one not in state() or not live(one).exists()]
    gone = [one for one in state() if one not in wanted]
    for action, addresses in (("create", new), ("delete", gone)):
        for one in addresses:
            facts = {"resource": {"addr": one}, "action": action}
            tell("planned_change", f"{one}: Plan to {action}", change=facts)
    tell("change_summary", f"Plan: {len(new)} to add, 0 to change, {len(gone)} to destroy.")
    sys.exit(2 if new or gone else 0)


def main(command, *arguments):
    """Do one command."""
    if command == "init":
        say("Initialized.")
    elif command == "plan":
        plan(arguments)
    elif command in {"apply", "destroy"}:
        change(command, arguments)
    elif command == "output":
        shown = {"endpoint": (f"{len(state())} things", False), "token": ("hush-hush-token", True)}
        say(json.dumps({name: {"value": value, "sensitive": hidden} for name, (value, hidden) in shown.items()}))
    elif command == "state":
        say("\n".join([*state(), "data.far_region.here"] if state() else []))
    elif command == "force-unlock" and json.loads(LOCK.read_text())["ID"] == arguments[-1]:
        note("force-unlock", arguments[-1])
        LOCK.unlink()
    else:
        sys.exit(f"no such command: {command}")


if __name__ == "__main__":
    main(*sys.argv[1:])
