"""Who reacts to what: every reaction of one app to another's fact stands here, and nowhere else."""

from datetime import timedelta

import orders.handlers as orders
from core.events import Handler
from core.tasks import every, forget_old_slots
from orders.services import forget_old_keys
from provisioning.services import measure_delivery_times
from provisioning.services.imports import ring as import_catalogs
from provisioning.services.reconcile import ring as look_at_services

HANDLERS: dict[str, list[Handler]] = {
    "run.succeeded": [orders.on_run_succeeded],
    "run.compensated": [orders.on_run_compensated],
    "run.compensation_failed": [orders.on_run_compensation_failed],
    "run.abandoned": [orders.on_run_abandoned],
    "run.running": [orders.on_run_running],
    "run.retry_requested": [orders.on_run_retry_requested],
}

every(timedelta(minutes=10), "measure_delivery_times", measure_delivery_times)
every(timedelta(days=1), "forget_old_keys", forget_old_keys)
every(timedelta(days=1), "forget_old_slots", forget_old_slots)
every(timedelta(hours=1), "look_at_services", look_at_services)
every(timedelta(minutes=1), "import_catalogs", import_catalogs)
