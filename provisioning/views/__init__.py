"""Pages: tasks that people do by hand, and what operators look at."""

from provisioning.views.back_ends import backend_list, backend_list_live, backend_try
from provisioning.views.imports import backend_import, backend_import_live
from provisioning.views.run import (
    run_abandon,
    run_detail,
    run_live,
    run_retry,
    run_undo,
    step_resolve,
    step_skip,
)
from provisioning.views.runs import orphan_list, run_list, run_list_live, run_retry_many
from provisioning.views.tasks import (
    manualtask_claim,
    manualtask_complete,
    manualtask_detail,
    manualtask_hand_back,
    manualtask_list,
    manualtask_take_over,
)

__all__ = [
    "backend_import",
    "backend_import_live",
    "backend_list",
    "backend_list_live",
    "backend_try",
    "manualtask_claim",
    "manualtask_complete",
    "manualtask_detail",
    "manualtask_hand_back",
    "manualtask_list",
    "manualtask_take_over",
    "orphan_list",
    "run_abandon",
    "run_detail",
    "run_list",
    "run_list_live",
    "run_live",
    "run_retry",
    "run_retry_many",
    "run_undo",
    "step_resolve",
    "step_skip",
]
