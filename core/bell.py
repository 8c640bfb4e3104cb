"""The bell: tells a worker that a step may be due. Never blocks the caller, never fails him.

One daemon thread a process publishes from a bounded queue that drops when full: a lost ring costs
seconds, since every worker looks for due rows by itself.
"""

import logging
import os
import queue
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

from celery import current_app
from django.db import transaction

logger = logging.getLogger(__name__)

TASK = "provisioning.tasks.advance"
# Steps of the queue `long` take minutes: a task of its own, with limits of its own.
TASK_OF_QUEUE = {"long": "provisioning.tasks.advance_long"}
# What `publish` takes.
Ring = tuple[str, ...]
_waiting: queue.Queue[Ring] = queue.Queue(maxsize=1000)
_lock = threading.Lock()
_thread_of_pid: int | None = None


def ring(step_id: Any, queue_name: str = "default") -> None:
    """Ask for a worker for the step `step_id` once the running transaction has committed."""
    transaction.on_commit(partial(_enqueue, str(step_id), queue_name), robust=True)


def ring_for(task: str) -> None:
    """Ask for a worker for `task`, which finds its work by itself, once the running transaction has committed."""
    transaction.on_commit(partial(_enqueue, "", "default", task), robust=True)


class Rings:
    """Rings that a worker holds back, since it may take the step itself."""

    def __init__(self) -> None:
        self.held: list[Ring] = []

    def release(self, *, besides: Any = None) -> None:
        """Ring for all of them now, besides the step `besides`."""
        for ring in self.held:
            if ring[0] != str(besides):
                _enqueue(*ring)
        self.held = []


_holding = threading.local()


@contextmanager
def held() -> Iterator[Rings]:
    """Within the block, committed rings of this thread are held back; `release` them after it."""
    _holding.rings = rings = Rings()
    try:
        yield rings
    finally:
        _holding.rings = None


def _enqueue(*ring: str) -> None:
    rings = getattr(_holding, "rings", None)
    if rings is not None:
        rings.held.append(ring)
        return
    _ensure_thread()
    try:
        _waiting.put_nowait(ring)
    except queue.Full:
        logger.info("The bell is full; the workers' own sweep finds what is due: %s.", " ".join(ring))


def _ensure_thread() -> None:
    """Start the thread once a process: a forked child inherits the module but not the thread."""
    global _thread_of_pid, _waiting  # noqa: PLW0603 (one bell a process)
    if _thread_of_pid == os.getpid():
        return
    with _lock:
        if _thread_of_pid != os.getpid():
            _waiting = queue.Queue(maxsize=1000)
            threading.Thread(target=_publish_for_ever, args=(_waiting,), name="bell", daemon=True).start()
            _thread_of_pid = os.getpid()


def _publish_for_ever(waiting: queue.Queue[Ring]) -> None:
    while True:
        ring = waiting.get()
        publish(*ring)


def publish(step_id: str, queue_name: str, task: str = "") -> bool:
    """Send one message now; tell whether the broker took it. Takes seconds at most, raises nothing.

    With a `task` no step is meant: that task is called without arguments.
    """
    name, args = (task, []) if task else (TASK_OF_QUEUE.get(queue_name, TASK), [step_id])
    try:
        current_app.send_task(name, args=args, queue=queue_name, retry=False, ignore_result=True)
    except Exception as error:  # noqa: BLE001 (any broker, any of its errors: the sweep makes up for it)
        logger.warning("The broker did not take a ring: %s", error)
        return False
    return True
