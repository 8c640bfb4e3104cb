"""Starts the real servers before anything reads the settings: pytest loads this first (`-p tests.plugin`).

The process that runs the tests' workers starts them once; the workers inherit their addresses.
"""

import atexit
import os
from urllib.parse import urlsplit

from tests import servers

STARTED = "GREENLANE_TEST_SERVERS"
REDIS_DATABASES = 16

if not os.environ.get(STARTED):
    os.environ[STARTED] = str(os.getpid())
    servers.start_for_tests()
    atexit.register(servers.stop_for_tests)

if os.environ.get("PYTEST_XDIST_WORKER"):
    # Each of pytest's processes has messages of its own, as it has a database of its own.
    number = int(os.environ["PYTEST_XDIST_WORKER"].removeprefix("gw")) % (REDIS_DATABASES - 1) + 1
    os.environ["REDIS_URL"] = urlsplit(os.environ["REDIS_URL"])._replace(path=f"/{number}").geturl()
