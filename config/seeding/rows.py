"""Rows of the past, gathered and then inserted a table at a time."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any
from uuid import UUID, uuid5

from django.db import models

from approvals.models import Decision
from core import events
from core.models import Event
from orders.models import Order, TermsAcceptance
from provisioning.models import ManualTask, Run, ServiceInstance, Step, StepLine

# Every row of the past has its id from its order's name: inserted again, it would be the same row.
NAMESPACE = UUID("6f0c2f4e-0b1d-5a3e-9d55-1c2a7f3b9e10")


def id_of(name: str, part: str = "order") -> UUID:
    """Give the one id that a part of the past order `name` has in every database."""
    return uuid5(NAMESPACE, f"{name}/{part}")


@dataclass
class Rows:
    """What is to be inserted, in the order in which foreign keys allow it."""

    decisions: list[Decision] = field(default_factory=list)
    instances: list[ServiceInstance] = field(default_factory=list)
    orders: list[Order] = field(default_factory=list)
    acceptances: list[TermsAcceptance] = field(default_factory=list)
    runs: list[Run] = field(default_factory=list)
    steps: list[Step] = field(default_factory=list)
    lines: list[StepLine] = field(default_factory=list)
    tasks: list[ManualTask] = field(default_factory=list)
    events: list[Event] = field(default_factory=list)

    def note(self, at: datetime, name: str, subject: models.Model, actor: Any = None, **facts: Any) -> None:
        """Add the event `name` about `subject`, as if it had been recorded at that time."""
        fact = events.event(name, subject, actor=actor, **facts)
        fact.at = at
        self.events.append(fact)

    def insert(self) -> None:
        """Insert everything; the events in the order of their times, across all orders."""
        self.events.sort(key=lambda fact: fact.at)
        for rows in (
            self.decisions,
            self.instances,
            self.orders,
            self.acceptances,
            self.runs,
            self.steps,
            self.lines,
            self.tasks,
            self.events,
        ):
            _insert(rows)


def _insert(rows: Sequence[models.Model]) -> None:
    if rows:
        type(rows[0])._default_manager.bulk_create(rows, batch_size=500)
