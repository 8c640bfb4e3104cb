"""An order form with a field of each kind, and what tests do with forms."""

import json

from hypothesis import strategies as st

from core import parameters

CHOICES = [{"const": "s", "title": "Small"}, {"const": "l", "title": "Large", "x-price": "92.50"}]
FORM = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "required": ["name", "size", "storage"],
    "additionalProperties": False,
    "properties": {
        "name": {
            "type": "string",
            "title": "Name",
            "pattern": "^[a-z][a-z0-9-]*$",
            "x-pattern-message": "Name must be lower-case letters, digits or hyphens",
            "minLength": 3,
            "maxLength": 30,
        },
        "size": {"title": "Size", "default": "s", "oneOf": CHOICES},
        "storage": {
            "type": "integer",
            "title": "Storage",
            "default": 20,
            "minimum": 10,
            "maximum": 500,
            "multipleOf": 10,
            "x-unit": "GiB",
            "x-price": 0.1,
        },
        "ratio": {"type": "number", "title": "Ratio", "minimum": 0, "maximum": 1, "multipleOf": 0.1},
        "backup": {"type": "boolean", "title": "Backups", "default": False, "x-price": 6},
        "ends": {"type": "string", "format": "date", "title": "End date"},
        "contact": {"type": "string", "format": "email", "title": "Contact"},
        "site": {"type": "string", "format": "uri", "title": "Web site"},
        "labels": {
            "type": "array",
            "title": "Labels",
            "items": {"oneOf": [{"const": 1, "title": "Red", "x-price": 2}, {"const": 2, "title": "Blue"}]},
            "maxItems": 2,
        },
        "network": {
            "type": "object",
            "title": "Network",
            "required": ["zone"],
            "properties": {
                "zone": {
                    "title": "Zone",
                    "oneOf": [{"const": "dmz", "title": "Outer"}, {"const": "in", "title": "Inner"}],
                },
                "public": {"type": "boolean", "title": "Public", "default": False, "x-price": 3},
            },
        },
    },
}
GOOD = {"name": "abc"}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=20,
)


def form(**properties):
    return {"type": "object", "properties": properties}


def use(schema, values):
    """Do with a form all that pages do, which must not raise."""
    cleaned, wrong = parameters.clean(schema, values)
    shown = parameters.fields(schema, values if isinstance(values, dict) else None, wrong, "p-", "USD")
    parameters.problems(shown, wrong)
    parameters.price_lines(schema, cleaned)
    parameters.described(schema, cleaned)
    json.dumps(wrong).encode()
    return cleaned, wrong
