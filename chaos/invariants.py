"""What must be true once all is quiet again, as sentences about what is not. The numbers are those of the design."""

import io
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from datetime import timedelta
from itertools import pairwise
from typing import Any

import psycopg2
import redis
from django.conf import settings
from django.core.management import CommandError, call_command
from django.db.models import F
from psycopg2 import extensions

from chaos.far_side import Register
from chaos.traffic import OK, Wanted
from chaos.watch import Seen
from core.models import Event
from orders.models import Order
from provisioning.connectors.names import name_for
from provisioning.models import Run, ServiceInstance, Step
from provisioning.services import reveal
from provisioning.services.runs import ClockTimestamp

LATE_SECONDS = 30.0
ORPHAN_AGE = timedelta(minutes=10)
ENDED = {Order.State.COMPLETED, Order.State.FAILED, Order.State.CANCELED, Order.State.DENIED}
# A claim of a step whose worker was lost repeats its state; nothing else is ever said twice.
REPEATED = {("step", Step.State.RUNNING), ("step", Step.State.POLLING)}
MODELS: dict[str, Any] = {"order": Order, "run": Run, "step": Step, "serviceinstance": ServiceInstance}
# In which state a row of each kind is made; a step's first state has no event where it only waits.
FIRST: dict[str, set[Any]] = {
    "order": {Order.State.SUBMITTED},
    "run": {Run.State.RUNNING},
    "serviceinstance": {ServiceInstance.State.PROVISIONING},
}


@dataclass(frozen=True)
class Round:
    """What one round left: what was wanted, the orders that came of it, and their services."""

    wanted: list[Wanted]
    orders: dict[str, Order]
    seen: Seen

    @property
    def instances(self) -> list[ServiceInstance]:
        """The services, whatever became of them."""
        return [order.instance for order in self.orders.values() if order.instance]


def read_round(label: str, wanted: list[Wanted], seen: Seen) -> Round:
    """Read the orders of a round by the names that were wanted."""
    rows = Order.objects.filter(name__startswith=f"{label} ").select_related("instance")
    return Round(wanted, {str(row.pk): row for row in rows}, seen)


def is_quiet() -> bool:
    """Tell whether no order is open and no step is in the hands of the workers."""
    return (
        not Order.objects.filter(state__in=Order.OPEN).exists()
        and not Step.objects.filter(state__in=Step.WORKABLE).exists()
    )


def what_is_left() -> list[str]:
    """Say what keeps the site from being quiet."""
    steps = Step.objects.filter(state__in=Step.WORKABLE).select_related("run__instance")[:5]
    said = [
        f"{step.run.instance.name}: “{step.name}” is {step.state}, attempt {step.attempt} of {step.max_attempts},"
        f" due {step.due_at:%H:%M:%S}: {step.error[:100]}"
        for step in steps
    ]
    return said + [
        f"{order} ({order.name}) is {order.state}" for order in Order.objects.filter(state__in=Order.OPEN)[:5]
    ]


def no_order_is_lost_or_doubled(round_: Round) -> Iterator[str]:
    """I1: each accepted order is there once and has come to an end."""
    names = [order.name for order in round_.orders.values()]
    for one in round_.wanted:
        if one.gave_up:
            yield f"I1: nobody took the order {one.key}"
        if len(one.ids) > 1 or names.count(one.name) > 1:
            yield f"I1: the key {one.key} made several orders: {sorted(one.ids)}"
        for order_id in one.ids:
            order = round_.orders.get(order_id)
            if order is None:
                yield f"I1: the order {one.key} ({order_id}) was accepted and is lost"
            else:
                yield from _has_ended_well(one, order)


def _has_ended_well(one: Wanted, order: Order) -> Iterator[str]:
    if order.state not in ENDED:
        yield f"I1: the order {one.key} is still {order.state}"
    if order.state == Order.State.COMPLETED and not one.kind.succeeds:
        yield f"I1: the order {one.key} cannot succeed and is completed"
    if one.cancel_status == OK and order.state != Order.State.CANCELED:
        yield f"I1: the order {one.key} was canceled and is {order.state}"
    is_active = order.instance is not None and order.instance.state == ServiceInstance.State.ACTIVE
    if is_active != (order.state == Order.State.COMPLETED):
        yield f"I1: the order {one.key} is {order.state}, its service {order.instance and order.instance.state}"


def what_lives_is_what_is_active(round_: Round, register: Register) -> Iterator[str]:
    """I2: counted at the far sides themselves, live things are those of active services; none is there twice."""
    kinds = {one.name: one.kind for one in round_.wanted}
    rest, databases, users = register.live(), _databases(), _redis_users()
    for instance in round_.instances:
        kind, is_active = kinds[instance.name], instance.state == ServiceInstance.State.ACTIVE
        found = rest.get(str(instance.pk), [])
        wanted = sorted(kind.rest) if is_active else []
        if found != wanted:
            yield f"I2: {instance.name} is {instance.state} and has {found} at the REST back end, not {wanted}"
        name = name_for(instance.name, instance.pk)
        for connector, living in (("postgresql", databases), ("redis_acl", users)):
            is_wanted = is_active and kind.has(connector)
            if (name in living) != is_wanted:
                yield f"I2: {instance.name} is {instance.state} and {connector} has {name in living}, not {is_wanted}"
    while register.duplicates:
        yield f"I2: {register.duplicates.pop()}"


def _ask_back_end(query: str) -> list[Any]:
    with closing(psycopg2.connect(settings.POSTGRESQL_BACKEND_URL)) as session:
        session.autocommit = True
        with session.cursor() as cursor:
            cursor.execute(query)
            return cursor.fetchall() if cursor.description else []


def _databases() -> set[str]:
    rows = _ask_back_end("SELECT datname FROM pg_database UNION SELECT rolname FROM pg_roles")
    return {row[0] for row in rows}


def _redis_users() -> set[str]:
    with redis.Redis.from_url(settings.REDIS_BACKEND_URL, decode_responses=True) as client:
        return set(client.acl_users())


def passwords_open_what_was_delivered(round_: Round) -> Iterator[str]:
    """The password that a person is shown opens the database that he got, however often a step was repeated."""
    for instance in round_.instances:
        if instance.state != ServiceInstance.State.ACTIVE or "database" not in instance.outputs:
            continue
        password = reveal(instance, actor=instance.owner).get("password")
        account = {"user": instance.outputs["username"], "dbname": instance.outputs["database"], "password": password}
        try:
            psycopg2.connect(extensions.make_dsn(settings.POSTGRESQL_BACKEND_URL, **account)).close()
        except psycopg2.OperationalError as error:
            yield f"I2: the password of {instance.name} opens nothing: {str(error).strip()[-120:]}"


def clear(round_: Round) -> None:
    """Take away at the back ends what a round left on purpose, so that a long campaign fits on the disk."""
    names = [name_for(instance.name, instance.pk) for instance in round_.instances]
    living, users = _databases(), _redis_users()
    for name in set(names) & living:
        _ask_back_end(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        _ask_back_end(f'DROP ROLE IF EXISTS "{name}"')
    with redis.Redis.from_url(settings.REDIS_BACKEND_URL) as client:
        for name in set(names) & users:
            client.acl_deluser(name)


def nothing_came_back(cleared: set[str]) -> Iterator[str]:
    """No worker of a past round has made again what was cleared since."""
    for name in (_databases() | _redis_users()) & cleared:
        yield f"I2: {name} came to life again after its round"


def no_lease_is_left_behind() -> Iterator[str]:
    """I4: no step is held by a worker that is long gone."""
    lost = Step.objects.filter(lease_token__isnull=False, state__in=Step.WORKABLE).annotate(now=ClockTimestamp())
    for step in lost.filter(lease_expires_at__lt=F("now")):
        if step.lease_expires_at and step.now - step.lease_expires_at > 2 * timedelta(seconds=settings.LEASE_SECONDS):
            yield f"I4: the lease of “{step.name}” of {step.run_id} ran out at {step.lease_expires_at}"


def nothing_due_waits(round_: Round) -> Iterator[str]:
    """I5: with Redis and a worker there no due step has waited longer than half a minute."""
    waited = round_.seen.oldest_due_with_all_up
    if waited > LATE_SECONDS:
        yield f"I5: a due step has waited for {waited:.0f} s with Redis and a worker there"


def the_chain_is_whole() -> Iterator[str]:
    """I6: `verify_audit` finds nothing."""
    said = io.StringIO()
    try:
        call_command("verify_audit", stdout=said, stderr=said)
    except CommandError as error:
        yield f"I6: {error} {said.getvalue()[:500]}"


def no_orphan_is_old() -> Iterator[str]:
    """G2: nothing that should be gone has been there for ten minutes."""
    for step in Step.objects.orphans().annotate(now=ClockTimestamp()):
        if step.now - step.created_at > ORPHAN_AGE:
            yield f"G2: “{step.name}” of {step.run_id} has not been undone since {step.created_at}: {step.error}"


def events_tell_the_states(round_: Round) -> Iterator[str]:
    """I9: every change of state has one event, and the events of a row lead to the state that it is in."""
    rows = _rows_of(round_)
    told: dict[Any, list[str]] = {pk: [] for pk in rows}
    events = Event.objects.filter(subject_id__in=list(rows), subject_type__in=MODELS).order_by("id")
    for subject, kind, name in events.values_list("subject_id", "subject_type", "name"):
        if name.removeprefix(f"{kind}.") in MODELS[kind].State.values:
            told[subject].append(name.removeprefix(f"{kind}."))
    for pk, states in told.items():
        kind, row = rows[pk]
        yield from _replayed(kind, row, states)


def _rows_of(round_: Round) -> dict[Any, tuple[str, Any]]:
    runs = list(Run.objects.filter(instance__in=round_.instances))
    rows: dict[Any, tuple[str, Any]] = {order.pk: ("order", order) for order in round_.orders.values()}
    rows |= {instance.pk: ("serviceinstance", instance) for instance in round_.instances}
    rows |= {run.pk: ("run", run) for run in runs}
    return rows | {step.pk: ("step", step) for step in Step.objects.filter(run__in=runs)}


def _replayed(kind: str, row: Any, states: list[str]) -> Iterator[str]:
    if not states:
        if kind != "step" or row.state != Step.State.PENDING:
            yield f"I9: no event says how {kind} {row.pk} became {row.state}"
        return
    first = FIRST.get(kind, {Step.State.READY, *Step.MOVES[Step.State.PENDING]})
    if states[0] not in first:
        yield f"I9: the first event of {kind} {row.pk} is {states[0]}"
    for before, after in pairwise(states):
        is_repeated = before == after and (kind, after) in REPEATED
        if not is_repeated and after not in MODELS[kind].MOVES.get(before, ()):
            yield f"I9: by its events {kind} {row.pk} went from {before} to {after}: {states}"
    if states[-1] != row.state:
        yield f"I9: by its events {kind} {row.pk} is {states[-1]}, and it is {row.state}"
