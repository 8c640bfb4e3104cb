"""Connectors whose far side is a folder, for tests of the engine: they fail, hang, poll and kill as they are told.

What they do stands in files, so it counts across processes too. FAR_SIDE names the folder.
"""

import json
import os
import signal
import time
from pathlib import Path

from django.apps import apps

from provisioning.connectors.base import Answer, Call, Connector, Done, Failed, Missing, Retry, Unknown, Working

HOLD_SECONDS = 30.0


class FarSide:
    """The folder: a log of every call, a file for every live thing, gates that tests open."""

    def __init__(self, folder: Path | None = None):
        self.folder = folder or Path(os.environ["FAR_SIDE"])

    def note(self, operation: str, call: Call) -> None:
        """Write one line for a call; appended whole, whichever process does it."""
        line = f"{operation} {call.instance_id} {call.step_name.split(': ')[-1]} {call.idempotency_key}\n"
        with (self.folder / "calls").open("a") as file:
            file.write(line)
        with (self.folder / "headers").open("a") as file:
            file.write(json.dumps(call.headers()) + "\n")

    def headers(self) -> list[dict[str, str]]:
        """List what each call so far would have said of itself in its headers."""
        return [json.loads(line) for line in (self.folder / "headers").read_text().splitlines()]

    def calls(self, operation: str = "", instance: object = "") -> list[list[str]]:
        """List the calls so far as [operation, instance, step, key]."""
        path = self.folder / "calls"
        lines = path.read_text().splitlines() if path.exists() else []
        calls = [line.split(" ", 2)[:2] + line.split(" ", 2)[2].rsplit(" ", 1) for line in lines]
        return [call for call in calls if operation in ("", call[0]) and str(instance) in ("", call[1])]

    def thing(self, call: Call) -> Path:
        """The file of one live thing: one an instance and step."""
        return self.folder / f"thing-{call.instance_id}-{call.step_name.split(': ')[-1].replace(' ', '_')}"

    def live(self, instance: object = "") -> list[str]:
        """List what is live there, of all instances or of one."""
        return sorted(path.name for path in self.folder.glob(f"thing-{instance}*"))

    def password(self, instance: object) -> str:
        """The password in force there."""
        return (self.folder / f"password-{instance}").read_text()

    def set_mood(self, mood: str) -> None:
        """Have the next call that asks for it refused (`refuse`) or left without an answer (`fail`)."""
        (self.folder / "mood").write_text(mood)

    def take_mood(self) -> str:
        """Give the mood, which is over with that."""
        path = self.folder / "mood"
        mood = path.read_text() if path.exists() else ""
        path.unlink(missing_ok=True)
        return mood

    def open(self, gate: str) -> None:
        """Let through who waits at `gate`."""
        (self.folder / f"gate-{gate}").touch()

    def wait_at(self, gate: str, call: Call) -> None:
        """Wait for `gate` as a connector may: as long as the lease is kept."""
        ends_at = time.monotonic() + HOLD_SECONDS
        while not (self.folder / f"gate-{gate}").exists():
            call.check()
            if time.monotonic() > ends_at:
                raise Retry("Nobody opened the gate.")
            time.sleep(0.02)


class Fake(Connector):
    """Does what its inputs say: see INPUTS."""

    idempotency = "lookup"

    def start(self, call: Call) -> Answer:
        """Make one thing, with the trouble that the inputs ask for."""
        far = FarSide()
        far.note("start", call)
        tries = len([one for one in far.calls("start", call.instance_id) if one[3] == str(call.idempotency_key)])
        if call.inputs.get("poison"):
            os.kill(os.getpid(), signal.SIGKILL)
        if call.inputs.get("refuses"):
            raise Failed("The far side refuses it.", left_nothing=call.inputs["refuses"] == "at once")
        if call.inputs.get("unsure"):
            far.thing(call).touch()
            raise Unknown("The far side hung up in the middle.")
        if call.inputs.get("breaks"):
            raise RuntimeError(f"The far side broke over {call.secrets['password']}.")
        if tries <= call.inputs.get("fails", 0):
            raise Retry(f"The far side does not want it yet ({tries}).", after=call.inputs.get("after"))
        if call.inputs.get("seconds"):
            self._work_for(call.inputs["seconds"], call)
        for number in range(call.inputs.get("chats", 0)):
            call.log(f"Line {number}")
            time.sleep(0.1)
        if call.inputs.get("hold"):
            far.wait_at(call.inputs["hold"], call)
        if call.inputs.get("polls"):
            return Working(after=0.0, detail="Half done.", external_ref="poll-1")
        return self._made(far, call)

    def last_operation(self, call: Call) -> Answer:
        """Be done after as many questions as the inputs say."""
        far = FarSide()
        far.note("poll", call)
        asked = int(call.external_ref.removeprefix("poll-"))
        if asked == call.inputs.get("poll_fails", 0):
            (far.folder / "poll-failed").touch()
            raise Retry("No answer this time.", after=0.0)
        if asked < call.inputs["polls"]:
            return Working(after=0.0, external_ref=f"poll-{asked + 1}")
        return self._made(far, call)

    def undo(self, call: Call) -> Answer:
        """Take the thing away."""
        far = FarSide()
        far.note("undo", call)
        tries = len([one for one in far.calls("undo", call.instance_id) if one[3] == str(call.idempotency_key)])
        if call.inputs.get("undo_refuses") and not (far.folder / "gate-undo").exists():
            raise Failed("The far side does not let it go.")
        if tries <= call.inputs.get("undo_fails", 0):
            raise Retry("The far side is slow to let go.", after=0.0)
        call.check()
        far.thing(call).unlink(missing_ok=True)
        return Done()

    def describe(self, call: Call) -> Answer:
        """Look whether what the step made is there; for a step that only looks, whether anything is."""
        far = FarSide()
        far.note("describe", call)
        steps = apps.get_model("provisioning", "Step").objects  # a worker's settings import this file
        only_looks = steps.filter(pk=call.step_id, operation="describe").exists()
        if not (far.live(call.instance_id) if only_looks else far.thing(call).exists()):
            raise Missing("It is not there.")
        return Done(outputs={"found": "yes"})

    def update(self, call: Call) -> Answer:
        """Write down what it is now."""
        far = FarSide()
        far.note("update", call)
        if call.inputs.get("value") == "too much":
            raise Failed("The far side does not go that far.")
        if "value" not in call.inputs:
            return Done()
        (far.folder / f"value-{call.instance_id}").write_text(str(call.inputs["value"]))
        return Done(outputs={"value": call.inputs["value"]})

    def rotate(self, call: Call) -> Answer:
        """Take the new password, unless a gate file says to refuse."""
        far = FarSide()
        far.note("rotate", call)
        if (far.folder / "refuse-rotation").exists() and call.step_name == "Setting a new password":
            raise Failed("The far side keeps the old password.")
        self._set_password(far, call)
        return Done()

    def _made(self, far: FarSide, call: Call) -> Done:
        call.check()
        far.thing(call).touch()
        self._set_password(far, call)
        name = call.step_name.replace(" ", "_")
        outputs = {name: f"at-{call.instance_id}"} | call.inputs.get("says", {})
        given = call.inputs.get("gives", {})
        return Done(outputs=outputs, detail="It is there.", external_ref=f"ref-{name}", secrets=given)

    def _set_password(self, far: FarSide, call: Call) -> None:
        (far.folder / f"password-{call.instance_id}").write_text(call.secrets.get("password", ""))

    def _work_for(self, seconds: float, call: Call) -> None:
        ends_at = time.monotonic() + seconds
        while time.monotonic() < ends_at:
            call.check()
            time.sleep(0.05)


class Forgetful(Fake):
    """A back end that cannot tell what an attempt with an unknown end has done."""

    idempotency = "none"


class Fitful(Fake):
    """A back end with moods, whatever it is asked."""

    def start(self, call: Call) -> Answer:
        """Make it, if in the mood."""
        self._ask()
        return super().start(call)

    def last_operation(self, call: Call) -> Answer:
        """Say how far it got, if in the mood."""
        self._ask()
        return super().last_operation(call)

    def undo(self, call: Call) -> Answer:
        """Take it away, if in the mood."""
        self._ask()
        return super().undo(call)

    def rotate(self, call: Call) -> Answer:
        """Take the new password, if in the mood."""
        self._ask()
        return super().rotate(call)

    def _ask(self) -> None:
        mood = FarSide().take_mood()
        if mood == "refuse":
            raise Failed("Not in the mood.")
        if mood == "fail":
            raise Retry("Not in the mood now.")


INPUTS = [
    "fails",
    "after",
    "refuses",
    "breaks",
    "poison",
    "seconds",
    "hold",
    "polls",
    "poll_fails",
    "undo_fails",
    "undo_refuses",
    "unsure",
    "chats",
    "says",
    "gives",
    "value",
]
CONNECTORS = {
    "fake": {
        "class": "tests.provisioning.fakes.Fake",
        "inputs": INPUTS,
        "outputs": ["*"],
        "secrets": ["password"],
        "idempotency": "lookup",
    },
    "bare": {
        "class": "tests.provisioning.fakes.Fake",
        "inputs": INPUTS,
        "outputs": ["*"],
        "secrets": [],
        "idempotency": "lookup",
    },
    "fitful": {
        "class": "tests.provisioning.fakes.Fitful",
        "inputs": INPUTS,
        "outputs": ["*"],
        "secrets": ["password"],
        "idempotency": "lookup",
    },
    "fitful_bare": {
        "class": "tests.provisioning.fakes.Fitful",
        "inputs": INPUTS,
        "outputs": ["*"],
        "secrets": [],
        "idempotency": "lookup",
    },
    "giving": {
        "class": "tests.provisioning.fakes.Fake",
        "inputs": INPUTS,
        "outputs": ["*"],
        "secrets": ["*"],
        "idempotency": "lookup",
    },
    "narrow": {
        "class": "tests.provisioning.fakes.Fake",
        "inputs": INPUTS,
        "outputs": ["*"],
        "secrets": [],
        "idempotency": "lookup",
        "limit": 2,
    },
    "forgetful": {
        "class": "tests.provisioning.fakes.Forgetful",
        "inputs": INPUTS,
        "outputs": ["*"],
        "secrets": [],
        "idempotency": "none",
    },
}
