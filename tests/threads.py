"""Several threads at once, each with a database connection of its own."""

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from django.db import connection


def together(*deeds: Callable[[], Any], times: int = 1) -> list[Any]:
    """Do all `deeds`, `times` each, from the same moment on; give what each returned or raised."""
    everyone = list(deeds) * times
    barrier = threading.Barrier(len(everyone))

    def one(deed: Callable[[], Any]) -> Any:
        try:
            barrier.wait(timeout=20)
            return deed()
        except Exception as error:  # noqa: BLE001 (what went wrong is what the test asks for)
            return error
        finally:
            connection.close()

    with ThreadPoolExecutor(len(everyone)) as pool:
        return list(pool.map(one, everyone))
