"""The verbs of provisioning."""

from provisioning.services.instances import reveal, rotate
from provisioning.services.manual import complete, hand_to
from provisioning.services.measures import measure_delivery_times
from provisioning.services.runs import abandon_run, begin, cancel_run, retry_run

__all__ = [
    "abandon_run",
    "begin",
    "cancel_run",
    "complete",
    "hand_to",
    "measure_delivery_times",
    "retry_run",
    "reveal",
    "rotate",
]
