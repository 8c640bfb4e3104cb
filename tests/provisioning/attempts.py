"""One attempt of a step in a worker of its own, so that a test can kill or freeze it: `python -m` this with JSON."""

import contextlib
import json
import os
import signal
import subprocess
import sys
from uuid import UUID

from django.conf import settings

PASSED_ON = ("ANSIBLE_PROJECTS", "TERRAFORM_MODULES", "WORK_ROOT")


class Attempt:
    """A process in a group of its own that makes one call and prints what came of it."""

    def __init__(self, connector, call, **changes):
        facts = {
            "connector": connector,
            "operation": call.operation,
            "instance_id": str(call.instance_id),
            "inputs": call.inputs,
            "fencing_token": call.fencing_token,
        }
        environment = os.environ | {name: str(getattr(settings, name)) for name in PASSED_ON}
        environment |= {"CHILD_ENVIRONMENT": ",".join(settings.CHILD_ENVIRONMENT)}
        environment |= {"DJANGO_SETTINGS_MODULE": "config.settings"}
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.provisioning.attempts", json.dumps(facts | changes)],
            cwd=settings.BASE_DIR,
            env=environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            start_new_session=True,
        )

    def kill(self):
        """Kill the worker and its group, as a power cut would."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.communicate(timeout=10)

    def freeze(self):
        """Stop the worker in its tracks."""
        os.killpg(self.process.pid, signal.SIGSTOP)

    def thaw(self):
        """Let it go on."""
        os.killpg(self.process.pid, signal.SIGCONT)

    def answer(self):
        """Wait for its end and give what it printed."""
        return self.process.communicate(timeout=30)[0].decode()


@contextlib.contextmanager
def attempt(connector, call, **changes):
    """Make an attempt that is over with the block."""
    made = Attempt(connector, call, **changes)
    try:
        yield made
    finally:
        made.kill()


def main(facts):
    """Make the call."""
    import django  # noqa: PLC0415 (this process alone has no settings yet)

    django.setup()
    from provisioning.connectors import connector  # noqa: PLC0415
    from provisioning.connectors.base import Lease  # noqa: PLC0415
    from tests.provisioning.calls import a_call  # noqa: PLC0415

    lease = Lease(facts.pop("lease_seconds", 30.0))
    name, operation = facts.pop("connector"), facts.pop("operation")
    instance = UUID(facts.pop("instance_id"))
    call = a_call(operation, instance_id=instance, lease=lease, work_seconds=60.0, **facts)
    try:
        print(repr(getattr(connector(name), operation)(call)))  # noqa: T201
    except Exception as error:  # noqa: BLE001
        print(repr(error))  # noqa: T201


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
