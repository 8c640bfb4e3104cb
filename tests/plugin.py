"""Starts the real servers before anything reads the settings: pytest loads this first (`-p tests.plugin`).

The process that runs the tests' workers starts them once; the workers inherit their addresses.
"""

import atexit
import os

from tests import servers

STARTED = "GREENLANE_TEST_SERVERS"

if not os.environ.get(STARTED):
    os.environ[STARTED] = str(os.getpid())
    servers.start_for_tests()
    atexit.register(servers.stop_for_tests)
