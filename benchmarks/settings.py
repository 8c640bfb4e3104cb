"""The real settings, and connectors that do nothing: what is left is the engine itself."""

from config.settings import *  # noqa: F403 (all of them)
from config.settings import CONNECTORS as REAL

CONNECTORS = REAL | {
    name: {
        "class": f"benchmarks.nothing.{name.title()}",
        "inputs": [],
        "outputs": [],
        "secrets": [],
        "idempotency": "key",
    }
    for name in ("nothing", "noted")
}
