"""The verbs of provisioning."""

from provisioning.services.callbacks import NotSigned, check_signature, take_news
from provisioning.services.catalog_import import Imported, import_catalog
from provisioning.services.imports import request_import, work_off_imports
from provisioning.services.instances import reveal, rotate
from provisioning.services.lifecycle import (
    CHANGEABLE,
    REMOVABLE,
    begin_again,
    begin_change,
    begin_removal,
    hold,
    steps_in_force,
)
from provisioning.services.manual import claim_task, complete, hand_back, hand_to
from provisioning.services.measures import measure_delivery_times
from provisioning.services.operations import (
    MOST_RETRIED,
    Finding,
    Retried,
    abandon_run,
    resolve_unknown,
    retry_many,
    retry_run,
    skip_step,
    try_now,
    undo_run,
)
from provisioning.services.runs import begin, cancel_run

__all__ = [
    "CHANGEABLE",
    "MOST_RETRIED",
    "REMOVABLE",
    "Finding",
    "Imported",
    "NotSigned",
    "Retried",
    "abandon_run",
    "begin",
    "begin_again",
    "begin_change",
    "begin_removal",
    "cancel_run",
    "check_signature",
    "claim_task",
    "complete",
    "hand_back",
    "hand_to",
    "hold",
    "import_catalog",
    "measure_delivery_times",
    "request_import",
    "resolve_unknown",
    "retry_many",
    "retry_run",
    "reveal",
    "rotate",
    "skip_step",
    "steps_in_force",
    "take_news",
    "try_now",
    "undo_run",
    "work_off_imports",
]
