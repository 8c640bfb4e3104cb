"""The real settings, and a connector that does nothing: what is left is the engine itself."""

from config.settings import *  # noqa: F403 (all of them)
from config.settings import CONNECTORS as REAL

CONNECTORS = REAL | {
    "nothing": {
        "class": "benchmarks.nothing.Nothing",
        "inputs": [],
        "outputs": [],
        "secrets": [],
        "idempotency": "key",
    }
}
