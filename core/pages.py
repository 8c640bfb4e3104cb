"""Pages of a list by next and previous: as fast on the last page as on the first, and no total."""

from dataclasses import dataclass
from typing import Any

from django.core import signing
from django.core.exceptions import FieldDoesNotExist
from django.db.models import Q, QuerySet
from django.http import Http404, HttpRequest

AFTER, BEFORE = "after", "before"


@dataclass(frozen=True)
class Page:
    """Some rows of a list, and the addresses of its neighbors (empty where there is none)."""

    rows: list[Any]
    previous_url: str
    next_url: str


def page_of(rows: QuerySet[Any], request: HttpRequest, keys: tuple[str, ...], size: int) -> Page:
    """Give the page of `rows` that the address asks for.

    Args:
        rows: the list; its order is replaced.
        request: whose query string names the row before or after the page, and keeps the filters.
        keys: names of columns or annotations to sort by, each with "-" in front where the largest comes
            first. Together they are unique, and none is ever null.
        size: rows on a page.

    Raises:
        Http404: where the address was not made by this list.

    """
    backward = BEFORE in request.GET
    token = request.GET.get(BEFORE if backward else AFTER, "")
    order = tuple(_reversed(key) for key in keys) if backward else keys
    if token:
        rows = rows.filter(_beyond(rows, order, _read(token, keys)))
    found = list(rows.order_by(*order)[: size + 1])
    more, found = len(found) > size, found[:size]
    if backward:
        found.reverse()
    has_previous, has_next = (more, bool(token)) if backward else (bool(token), more)
    return Page(
        found,
        _address(request, BEFORE, found[0], keys) if has_previous and found else "",
        _address(request, AFTER, found[-1], keys) if has_next and found else "",
    )


def _reversed(key: str) -> str:
    return key[1:] if key.startswith("-") else f"-{key}"


def _beyond(rows: QuerySet[Any], order: tuple[str, ...], position: list[str]) -> Q:
    """Give the condition for all rows that come after `position` in `order`."""
    beyond, equal, bound = Q(), Q(), Q()
    for key, text in zip(order, position, strict=True):
        name, comparison = key.lstrip("-"), "lt" if key.startswith("-") else "gt"
        value = _field(rows, name).to_python(text)
        # The bound of the first key alone lets the database begin in the middle of an index.
        bound = bound or Q(**{f"{name}__{comparison}e": value})
        beyond |= equal & Q(**{f"{name}__{comparison}": value})
        equal &= Q(**{name: value})
    return bound & beyond


def _field(rows: QuerySet[Any], name: str) -> Any:
    try:
        return rows.model._meta.get_field(name)
    except FieldDoesNotExist:
        return rows.query.annotations[name].output_field


def _address(request: HttpRequest, direction: str, row: Any, keys: tuple[str, ...]) -> str:
    query = request.GET.copy()
    for name in (AFTER, BEFORE):
        query.pop(name, None)
    position = [str(getattr(row, key.lstrip("-"))) for key in keys]
    query[direction] = signing.dumps(position, salt=_salt(keys), compress=True)
    return f"{request.path}?{query.urlencode()}"


def _read(token: str, keys: tuple[str, ...]) -> list[str]:
    """Give the position that we wrote into `token`: signed, so that nothing else ever gets into a query."""
    try:
        position: list[str] = signing.loads(token, salt=_salt(keys))
    except signing.BadSignature as error:
        raise Http404("This page of the list does not exist.") from error
    return position


def _salt(keys: tuple[str, ...]) -> str:
    return "core.pages:" + ",".join(keys)
