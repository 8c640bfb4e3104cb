"""A state changes only here: one conditional UPDATE from the legal states, and its event."""

from typing import Any

from django.db import connection, models

from core import events


class IllegalMove(Exception):  # noqa: N818 (the field's word: a move that the table does not hold)
    """The row is no longer in a state that leads to the wanted one: someone was faster."""


def sources_of(model: type[models.Model], to: str) -> list[str]:
    """List the states of `model` from which `to` may be reached."""
    return [source for source, targets in model.MOVES.items() if to in targets]  # type: ignore[attr-defined]


def move(row: Any, to: str, *, actor: Any = None, values: dict[str, Any] | None = None, **facts: Any) -> None:
    """Put `row` in state `to`, once, and record `<model>.<to>` as an event with `facts`.

    `values` are further columns written by the same UPDATE. Needs an open transaction.
    Raises IllegalMove where the row is no longer in a state that leads there.
    """
    if not connection.in_atomic_block:
        raise RuntimeError("A move belongs in the transaction of the change that causes it.")
    model = type(row)
    written = {"state": to, **(values or {})}
    if not model.objects.filter(pk=row.pk, state__in=sources_of(model, to)).update(**written):
        row.refresh_from_db(fields=["state"])
        raise IllegalMove(f"This {model._meta.verbose_name} is {row.get_state_display().lower()} already.")
    for name, value in written.items():
        if not hasattr(value, "resolve_expression"):
            setattr(row, name, value)
    events.record(f"{model._meta.model_name}.{to}", row, actor=actor, **facts)
