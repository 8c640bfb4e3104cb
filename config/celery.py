"""The doorbell: Celery carries a step's id to a worker and nothing else.

Work to do is a row in the database (see provisioning/tasks.py). Losing every message costs seconds,
because each worker looks for due rows by itself.
"""

import os
import socket
import sys
from pathlib import Path
from typing import Any

import celery
from celery import signals
from kombu import Queue

from config.doorbell import FILES

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "config.settings")


class Task(celery.Task):
    """A task whose messages are not acknowledged."""

    Request = "config.doorbell:Ring"


app = celery.Celery("greenlane", task_cls=Task)


def configure() -> None:
    """Read the broker's address and set the values that RELIABILITY demands."""
    from django.conf import settings  # noqa: PLC0415 (settings first)

    broker = settings.REDIS_URL or "memory://"
    transport: dict[str, Any] = {
        "socket_timeout": 5,
        "socket_connect_timeout": 2,
        "visibility_timeout": 7200,
        # A broker whose machine is gone says nothing: half a minute of silence ends the connection.
        "socket_keepalive": True,
        "socket_keepalive_options": {socket.TCP_KEEPIDLE: 15, socket.TCP_KEEPINTVL: 5, socket.TCP_KEEPCNT: 3},
    }
    if broker.startswith("filesystem:"):
        folder = Path(broker.split("://", 1)[1])
        folder.mkdir(parents=True, exist_ok=True)
        transport = {name: str(folder) for name in ("data_folder_in", "data_folder_out", "control_folder")}
        broker = f"{FILES}://"
    app.conf.update(
        broker_url=broker,
        broker_transport_options=transport,
        broker_connection_timeout=2,
        broker_connection_retry_on_startup=True,
        broker_connection_max_retries=None,
        task_acks_late=True,
        task_reject_on_worker_lost=False,
        worker_prefetch_multiplier=1,
        worker_disable_prefetch=True,
        task_ignore_result=True,
        accept_content=["json"],
        task_serializer="json",
        task_time_limit=90,
        task_soft_time_limit=60,
        worker_soft_shutdown_timeout=25,
        # Steps wait for back ends more than they compute.
        worker_concurrency=max(4, 2 * (os.cpu_count() or 1)),
        worker_enable_soft_shutdown_on_idle=True,
        worker_hijack_root_logger=False,
        worker_send_task_events=False,
        task_default_queue="default",
        # Read once and forgotten: see config/doorbell.py.
        task_queues=[Queue("default", no_ack=True), Queue("long", no_ack=True)],
        task_create_missing_queues=False,
        beat_schedule={"housekeeping": {"task": "core.tasks.housekeeping", "schedule": 3600.0}},
        timezone="UTC",
    )
    # Celery would close the database connection around each task: 30 ms of a hop of 10. We close what is old or broken.
    app.conf["CELERY_DB_REUSE_MAX"] = sys.maxsize


configure()
app.autodiscover_tasks()


@signals.task_prerun.connect
@signals.task_postrun.connect
def _check_connections(**_: Any) -> None:
    """Close database connections that are broken or old; the next query looks whether the others still work."""
    from django.db import close_old_connections  # noqa: PLC0415 (settings first)

    close_old_connections()


def _write_pid(role: str) -> None:
    folder = os.environ.get("PID_DIR")
    if folder:
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / f"{role}.pid").write_text(f"{os.getpid()}\n")


@signals.worker_init.connect
def _worker_starts(**_: Any) -> None:
    _write_pid("worker")


@signals.beat_init.connect
def _beat_starts(**_: Any) -> None:
    _write_pid("beat")


@signals.worker_ready.connect
def _start_sweeper(sender: Any, **_: Any) -> None:
    """Every worker looks for due work by itself, so progress hangs on no scheduler."""
    from provisioning.sweeper import start  # noqa: PLC0415 (apps first)

    start(slots=sender.pool.num_processes, name=sender.hostname)


@signals.celeryd_after_setup.connect
def _count_places(instance: Any, **_: Any) -> None:
    """What is known before the pool is forked, all its processes know."""
    from provisioning.services.places import set_places  # noqa: PLC0415 (apps first)

    set_places(instance.concurrency)


@signals.worker_shutting_down.connect
def _hand_over(**_: Any) -> None:
    """What is under way ends; what is due after it is another worker's."""
    from provisioning.services.execution import leave  # noqa: PLC0415 (apps first)

    leave()


@signals.worker_shutdown.connect
def _say_goodbye(sender: Any, **_: Any) -> None:
    """A worker that was asked to end is not missed."""
    from provisioning.sweeper import sign_off  # noqa: PLC0415 (apps first)

    sign_off(sender.hostname)
