"""How the web process serves: `gunicorn config.wsgi` reads this file. Options on its command line win."""

import os
from pathlib import Path

from config.embedded.records import read_env

ROOT = Path(__file__).resolve().parent

bind = f"127.0.0.1:{os.environ.get('PORT') or read_env(ROOT).get('PORT') or '8000'}"
worker_class = "gthread"
workers = 2
threads = 4
# A thread that hangs must not hold its worker for ever; no request waits for the network by design.
timeout = 60
graceful_timeout = 20
# The workers' signs of life go to memory: on a slow disk a busy worker would look dead.
worker_tmp_dir = "/dev/shm" if Path("/dev/shm").is_dir() else None  # noqa: S108 (the system's own place for it)
# Nobody steers this process through a socket.
control_socket_disable = True
if os.environ.get("PID_DIR"):
    Path(os.environ["PID_DIR"]).mkdir(parents=True, exist_ok=True)
    pidfile = str(Path(os.environ["PID_DIR"], "web.pid"))
