"""Imports of brokers' catalogs as background work: a request stores a row, a worker fetches and drafts.

An import may be done twice without harm, so a lost worker's is simply done again by another one.
"""

import logging
from dataclasses import asdict
from datetime import datetime
from typing import Any
from uuid import UUID

from celery.exceptions import SoftTimeLimitExceeded
from django.core.exceptions import PermissionDenied
from django.db import IntegrityError, connection, transaction

from accounts.models import Role
from catalog.models import BackEnd, Category
from core import bell, events
from core.permissions import require
from core.problems import Conflict, Invalid
from core.secrets import scrub
from core.states import move
from core.transactions import constraint, is_unreachable
from core.transactions import run as in_transaction
from provisioning.models import BrokerImport
from provisioning.services.catalog_import import CONNECTOR, import_catalog
from provisioning.services.runs import ClockTimestamp

logger = logging.getLogger(__name__)

TASK = "provisioning.tasks.import_catalogs"
# A task ends after 90 seconds at most: whoever was silent for longer is gone.
LOST_AFTER_SECONDS = 120
MAX_ATTEMPTS = 5
MAX_ERROR = 500
ONE_OPEN = "one_open_import_a_back_end"
State = BrokerImport.State

DUE = """
    state = 'queued' OR (state = 'running' AND claimed_at < clock_timestamp() - make_interval(secs => %(lost_after)s))
"""
TAKE = f"""
    UPDATE provisioning_brokerimport SET claimed_at = clock_timestamp(), attempt = attempt + 1
    WHERE id = (SELECT id FROM provisioning_brokerimport WHERE {DUE}
                ORDER BY requested_at, id LIMIT 1 FOR UPDATE SKIP LOCKED)
    RETURNING id
"""  # noqa: S608 (constants of this file)
IS_ANY_DUE = f"SELECT EXISTS (SELECT FROM provisioning_brokerimport WHERE {DUE})"  # noqa: S608 (as above)


def request_import(back_end: BackEnd, *, category: Category, service_owner: Any, actor: Any) -> BrokerImport:
    """Have a worker import the catalog of the broker `back_end` in the name of `actor`.

    New offerings will stand in `category` and belong to `service_owner`. Raises Invalid where he has not that role,
    Conflict where it is no broker, out of use, or an import of it is open.
    """
    require(actor, "catalog.add_offering")
    require(actor, "catalog.change_offeringversion")
    if back_end.connector != CONNECTOR:
        raise Conflict("no-broker", f"{back_end} is no service broker.")
    if not back_end.is_active:
        raise Conflict("not-in-use", f"{back_end} is out of use: no new workflow may name it.")
    if not (service_owner.is_active and Role.SERVICE_OWNER in service_owner.roles):
        raise Invalid({"/service_owner": f"{service_owner} is no active person with the role of a service owner."})

    def change() -> BrokerImport:
        row = BrokerImport.objects.create(
            back_end=back_end, category=category, service_owner=service_owner, requested_by=actor
        )
        events.record(
            "brokerimport.requested",
            row,
            actor=actor,
            back_end=back_end.slug,
            category=category.slug,
            service_owner=service_owner.username,
        )
        bell.ring_for(TASK)
        return row

    try:
        return in_transaction(change)
    except IntegrityError as error:
        if constraint(error) == ONE_OPEN:
            raise Conflict("import-open", f"{back_end} is being imported already.") from error
        raise


def work_off_imports() -> bool:
    """Do the import that has waited longest; tell whether there was one. Called by workers, outside transactions."""
    claimed = _claim()
    if claimed is None:
        return False
    row = _row(claimed)
    if row.attempt > MAX_ATTEMPTS:
        _finish(row, State.FAILED, error=f"The worker was lost {MAX_ATTEMPTS} times in a row, so it is given up.")
    else:
        _work(row)
    return True


def ring() -> None:
    """Have a worker look for imports, where any is due: the calendar's ring, for those that were lost."""
    with connection.cursor() as cursor:
        cursor.execute(IS_ANY_DUE, {"lost_after": LOST_AFTER_SECONDS})
        is_due = cursor.fetchone()[0]
    if is_due:
        bell.publish("", "default", TASK)


@transaction.atomic
def _claim() -> UUID | None:
    """Take one that is due, or that a lost worker left; committed before anything is called."""
    with connection.cursor() as cursor:
        cursor.execute(TAKE, {"lost_after": LOST_AFTER_SECONDS})
        found = cursor.fetchone()
    if found is None:
        return None
    row = _row(found[0])
    if row.state == State.QUEUED:
        move(row, State.RUNNING)
    return row.pk


def _row(pk: UUID) -> BrokerImport:
    return BrokerImport.objects.select_related("back_end", "category", "service_owner", "requested_by").get(pk=pk)


def _work(row: BrokerImport) -> None:
    """Fetch and draft in the name of who asked for it; he may have lost his rights meanwhile."""
    try:
        imported = import_catalog(
            row.back_end, category=row.category, service_owner=row.service_owner, actor=row.requested_by
        )
    except PermissionDenied:
        _finish(row, State.FAILED, error=f"{row.requested_by} may no longer add offerings.")
    except Conflict as refused:
        _finish(row, State.FAILED, error=str(refused))
    except SoftTimeLimitExceeded:
        _finish(row, State.FAILED, error="It took too long. What was drafted stays; another import goes on from there.")
    except Exception as error:
        if is_unreachable(error):
            # Nothing can be written now; it is taken again when this claim is old.
            raise
        logger.exception("The import %s of %s failed.", row.pk, row.back_end)
        _finish(row, State.FAILED, error="Something went wrong here; the workers' log says what.")
    else:
        problems = [scrub(problem) for problem in imported.problems]
        _finish(row, State.DONE, result={**asdict(imported), "problems": problems})


@transaction.atomic
def _finish(row: BrokerImport, state: str, *, error: str = "", result: dict[str, Any] | None = None) -> None:
    """Write what came of it, unless another worker has taken it over."""
    if not _is_still_ours(row.pk, row.claimed_at):
        logger.warning("The import %s was taken over by another worker.", row.pk)
        return
    counts = {name: len(found) for name, found in (result or {}).items()}
    values = {"finished_at": ClockTimestamp(), "error": scrub(error)[:MAX_ERROR], "result": result or {}}
    move(row, state, values=values, back_end=row.back_end.slug, **counts)


def _is_still_ours(pk: UUID, claimed_at: datetime | None) -> bool:
    return BrokerImport.objects.select_for_update().filter(pk=pk, state=State.RUNNING, claimed_at=claimed_at).exists()
