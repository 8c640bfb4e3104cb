"""How the API describes itself: every refusal that any route may give, in the OpenAPI document."""

from typing import Any

from drf_spectacular.openapi import AutoSchema

PROBLEM = {
    "type": "object",
    "description": "What went wrong (RFC 9457).",
    "required": ["type", "title", "status", "detail"],
    "properties": {
        "type": {"type": "string", "format": "uri-reference", "description": "Names the kind of problem."},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {"type": "string", "description": "One sentence or more, for people."},
        "errors": {
            "type": "array",
            "description": "What is wrong with the input; for a parameter of the address, `/name`.",
            "items": {
                "type": "object",
                "required": ["pointer", "detail"],
                "properties": {
                    "pointer": {"type": "string", "description": "JSON pointer (RFC 6901) into the body."},
                    "detail": {"type": "string"},
                },
            },
        },
    },
}
ALWAYS = {
    "400": "The input is not valid; `errors` names each field.",
    "401": "No token or session, or one that has ended.",
    "403": "Not allowed, or the token lacks the scope.",
    "404": "Nothing that you may see.",
    "405": "This address does not take that method.",
    "406": "Only JSON is given.",
    "429": "Too many requests; `Retry-After` says when to go on.",
    "503": "Not available right now; `Retry-After` says when to try again.",
}
WITH_BODY = {"413": "The body is too large.", "415": "The body must be `application/json`."}
CONFLICT = {"409": "Not possible as things stand."}
KEY_REUSED = {"422": "The Idempotency-Key was used before for something else."}


class Schema(AutoSchema):
    """Adds the refusals to each operation; a view's `keyed` names the actions that take Idempotency-Key."""

    def _get_response_bodies(self, direction: str = "response") -> Any:
        bodies = super()._get_response_bodies(direction)  # type: ignore[arg-type]
        refusals = dict(ALWAYS)
        if self.method not in {"GET", "HEAD"}:
            refusals |= WITH_BODY | CONFLICT
        if getattr(self.view, "action", "") in getattr(self.view, "keyed", ()):
            refusals |= KEY_REUSED
        for status, description in sorted(refusals.items()):
            bodies.setdefault(status, _problem(description))
        return bodies


def _problem(description: str) -> dict[str, Any]:
    content = {"application/problem+json": {"schema": {"$ref": "#/components/schemas/Problem"}}}
    return {"description": description, "content": content}


def add_problem(result: dict[str, Any], **_: Any) -> dict[str, Any]:
    """Put the shape of a problem where the operations point to it (a hook of drf-spectacular)."""
    result.setdefault("components", {}).setdefault("schemas", {})["Problem"] = PROBLEM
    return result
