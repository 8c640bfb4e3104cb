"""What the engine's hop is compared with: Celery alone, acknowledging late, on the same Redis, doing nothing."""

import os
import time
from pathlib import Path
from urllib.parse import urlsplit

import celery

# A database of its own on the same server, so that nobody's messages mix.
BROKER = urlsplit(os.environ.get("REDIS_URL", "redis://127.0.0.1/0"))._replace(path="/7").geturl()
app = celery.Celery("raw", broker=BROKER)
app.conf.update(
    task_acks_late=True,
    worker_prefetch_multiplier=1,
    task_ignore_result=True,
    task_default_queue="raw",
    worker_send_task_events=False,
)


@app.task(name="raw.note")
def note(name: str) -> None:
    """Write down when this was begun."""
    write_start("raw", name)


def write_start(folder: str, name: str) -> None:
    """Leave a file that says when `name` was begun; whole or not at all."""
    place = Path(os.environ["FAR_SIDE"], folder)
    place.mkdir(exist_ok=True)
    fresh = place / f".{name}"
    fresh.write_text(repr(time.time()))
    fresh.rename(place / name)
