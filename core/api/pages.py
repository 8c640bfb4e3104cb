"""Lists in pages by next and previous: the last page is as fast as the first, and there is no total."""

import base64
import json
import re
from datetime import datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.db.models import IntegerField, Q, QuerySet
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response
from rest_framework.utils.urls import remove_query_param, replace_query_param

from core.parameters.bounds import legible
from core.problems import Invalid

DEFAULT_SIZE, MAX_SIZE = 50, 200
MAX_CURSOR = 1000
SIZE_RULE = f"page_size must be a whole number from 1 to {MAX_SIZE}."


class KeysetPagination(BasePagination):
    """Pages that begin after a row, not after a number of rows: nothing is skipped or shown twice.

    The query set says its order in names of columns that are never null, the last of them unique.
    """

    parameters = ("cursor", "page_size")

    def paginate_queryset(self, queryset: QuerySet[Any], request: Request, view: Any = None) -> list[Any]:
        """Give the rows of the page that the address asks for. Raises Invalid for a bad size or cursor."""
        self.address = request.build_absolute_uri()
        self.order = tuple(str(term) for term in queryset.query.order_by)
        size = _size(request.query_params.get("page_size"))
        cursor = request.query_params.get("cursor")
        backward, position = _decoded(cursor, self.order, queryset) if cursor else (False, None)
        rows = queryset.reverse() if backward else queryset
        if position is not None:
            rows = rows.filter(_beyond(self.order, position, backward=backward))
        found = list(rows[: size + 1])
        has_more, page = len(found) > size, found[:size]
        if backward:
            page.reverse()
        self.next = self._link(page, -1) if has_more or backward else None
        self.previous = self._link(page, 0) if (has_more if backward else position is not None) else None
        return page

    def _link(self, page: list[Any], index: int) -> str | None:
        if not page:
            return None
        values = [getattr(page[index], term.removeprefix("-")) for term in self.order]
        cursor = _encoded(values, backward=index == 0)
        return str(replace_query_param(remove_query_param(self.address, "cursor"), "cursor", cursor))

    def get_paginated_response(self, data: Any) -> Response:
        """Give the page with the addresses of its neighbors."""
        return Response({"next": self.next, "previous": self.previous, "results": data})

    def get_paginated_response_schema(self, schema: dict[str, Any]) -> dict[str, Any]:
        """Describe a page for the OpenAPI document."""
        link = {"type": ["string", "null"], "format": "uri"}
        return {
            "type": "object",
            "required": ["next", "previous", "results"],
            "properties": {"next": link, "previous": link, "results": schema},
        }

    def get_schema_operation_parameters(self, view: Any) -> list[dict[str, Any]]:
        """Describe the parameters for the OpenAPI document."""
        return [
            {
                "name": "cursor",
                "in": "query",
                "required": False,
                "description": "Where a page begins; take it from `next` or `previous`.",
                "schema": {"type": "string", "maxLength": MAX_CURSOR},
            },
            {
                "name": "page_size",
                "in": "query",
                "required": False,
                "description": "Rows a page.",
                "schema": {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": DEFAULT_SIZE},
            },
        ]


def _size(text: str | None) -> int:
    if text is None:
        return DEFAULT_SIZE
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_SIZE:
        raise Invalid({"/page_size": SIZE_RULE})
    return int(text)


def _beyond(order: tuple[str, ...], position: list[Any], *, backward: bool) -> Q:
    """Select what comes after (or before) the row with the values `position`."""
    found, same, bound = Q(), Q(), Q()
    for term, value in zip(order, position, strict=True):
        name = term.removeprefix("-")
        comparison = "lt" if term.startswith("-") != backward else "gt"
        # The bound on the first column alone lets the database begin at the right place of an index.
        bound = bound or Q(**{f"{name}__{comparison}e": value})
        found |= same & Q(**{f"{name}__{comparison}": value})
        same &= Q(**{name: value})
    return bound & found


def _encoded(values: list[Any], *, backward: bool) -> str:
    plain = [
        value if isinstance(value, int) else value.isoformat() if isinstance(value, datetime) else str(value)
        for value in values
    ]
    return base64.urlsafe_b64encode(json.dumps([backward, *plain]).encode()).decode()


def _decoded(cursor: str, order: tuple[str, ...], queryset: QuerySet[Any]) -> tuple[bool, list[Any]]:
    """Read a cursor. Anybody may write one, so each value has to fit its column. Raises Invalid."""
    try:
        backward, *plain = json.loads(base64.urlsafe_b64decode(cursor[:MAX_CURSOR].encode("ascii")))
        names = [term.removeprefix("-") for term in order]
        position = [_value(queryset, name, text) for name, text in zip(names, plain, strict=True)]
    except (ValueError, TypeError, RecursionError, ValidationError) as error:
        raise Invalid({"/cursor": "This cursor leads nowhere. Begin again without one."}) from error
    return backward is True, position


def _value(queryset: QuerySet[Any], name: str, text: Any) -> Any:
    if not isinstance(text, str | int) or isinstance(text, bool) or legible(str(text)) != str(text):
        raise ValueError("no value of a column")
    computed = name in queryset.query.annotations
    field: Any = IntegerField() if computed else queryset.model._meta.get_field(name)
    value = field.to_python(text)
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError("a time without zone")
    return value
