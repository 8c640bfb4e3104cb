"""Lists of the API in pages: see core/pages.py, which finds them."""

import re
from typing import Any

from django.http import Http404
from rest_framework.pagination import BasePagination
from rest_framework.request import Request
from rest_framework.response import Response

from core.pages import AFTER, BEFORE, page_of
from core.problems import Invalid

DEFAULT_SIZE, MAX_SIZE = 50, 200
SIZE = "page_size"


class KeysetPagination(BasePagination):
    """Pages by next and previous, in the order of the query set; its keys must be fit for `page_of`."""

    parameters = (AFTER, BEFORE, SIZE)

    def paginate_queryset(self, queryset: Any, request: Request, view: Any = None) -> list[Any]:
        """Give the rows of the page that the address asks for. Raises Invalid for a bad size or place."""
        keys = tuple(str(key) for key in queryset.query.order_by)
        size = _size(request.query_params.get(SIZE))
        try:
            page = page_of(queryset, request._request, keys, size)
        except Http404 as error:
            name = BEFORE if BEFORE in request.query_params else AFTER
            raise Invalid({f"/{name}": "This leads to no page. Begin again without it."}) from error
        self.next, self.previous = (
            request.build_absolute_uri(address) if address else None for address in (page.next_url, page.previous_url)
        )
        return page.rows

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
        size = {"type": "integer", "minimum": 1, "maximum": MAX_SIZE, "default": DEFAULT_SIZE}
        return [
            _parameter(AFTER, "The place where the page begins; comes in `next`.", {"type": "string"}),
            _parameter(BEFORE, "The place where the page ends; comes in `previous`.", {"type": "string"}),
            _parameter(SIZE, "Rows on a page.", size),
        ]


def _parameter(name: str, description: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": False, "description": description, "schema": schema}


def _size(text: str | None) -> int:
    if text is None:
        return DEFAULT_SIZE
    if not re.fullmatch(r"[0-9]{1,3}", text) or not 1 <= int(text) <= MAX_SIZE:
        raise Invalid({f"/{SIZE}": f"{SIZE} must be a whole number from 1 to {MAX_SIZE}."})
    return int(text)
