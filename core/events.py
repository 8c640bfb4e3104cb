"""Facts: one immutable row each, and the handlers that react in the same transaction."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from django.db import models

from core.models import Event

Handler = Callable[[Any, Event], None]

_handlers: dict[str, Sequence[Handler]] = {}


def connect(table: Mapping[str, Sequence[Handler]]) -> None:
    """Take the table of who reacts to what; `config` gives it once all apps are loaded."""
    _handlers.clear()
    _handlers.update(table)


def event(name: str, subject: models.Model, /, *, actor: Any = None, **facts: Any) -> Event:
    """Make, but do not store, the event `name` about `subject`. `facts` are JSON values."""
    return Event(
        name=name,
        subject_type=subject._meta.model_name or "",
        subject_id=subject.pk,
        actor_id=actor.pk if actor else None,
        actor=(actor.name or actor.username) if actor else "system",
        facts=facts,
    )


def record(name: str, subject: models.Model, /, *, actor: Any = None, **facts: Any) -> None:
    """Store the event `name` about `subject` and run its handlers, all in the caller's transaction."""
    record_all([(event(name, subject, actor=actor, **facts), subject)])


def record_all(pairs: Iterable[tuple[Event, models.Model]]) -> None:
    """Store several events in one statement, then run their handlers in order."""
    pairs = list(pairs)
    Event.objects.bulk_create([fact for fact, _ in pairs])
    for fact, subject in pairs:
        for handler in _handlers.get(fact.name, ()):
            handler(subject, fact)
