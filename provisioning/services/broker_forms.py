"""Order forms out of the JSON Schemas of a service broker: what forms can show is taken, the rest is named."""

import copy
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from core import parameters
from core.parameters.schema import MAX_FIELDS

Schema = dict[str, Any]

FIELD_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")
LONGEST_FIELD_NAME = 40
# Nothing is lost without these: names of the schema itself, remarks, parts that only `$ref` could use.
WITHOUT_MEANING = {"$schema", "$id", "id", "$comment", "definitions", "$defs"}
OF_THE_FORM = {"title", "description", "type", "properties", "required", "additionalProperties"} | WITHOUT_MEANING
MOST_REPAIRS = 60


@dataclass
class Form:
    """An order form, the broker's names of its fields where they differ, and what could not be taken over."""

    schema: Schema = field(default_factory=lambda: {"type": "object", "properties": {}})
    names: dict[str, str] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)


def form_for(schemas: dict[str, Any]) -> Form:
    """Make one form of what each plan (by name) takes: the parameters that all of them take in the same way.

    `schemas` are the plans' `schemas.service_instance.create.parameters` (JSON Schema, draft 4 or later), None where
    a plan has none. Takes any JSON values and never raises; each sentence of `problems` names what is left out.
    """
    form = Form()
    known = {plan: schema for plan, schema in schemas.items() if schema is not None}
    silent = sorted(set(schemas) - set(known))
    if known and silent:
        form.problems.append(f"Plan {', '.join(silent)} does not say what it takes; it is sent what the form asks.")
    read = {plan: _read(plan, schema, form) for plan, schema in known.items()}
    if not read:
        return form
    first, *others = read.values()
    shared = {name: spec for name, spec in first.items() if all(other.get(name) == spec for other in others)}
    if len(shared) > MAX_FIELDS:
        form.problems.append(f"The form is left empty: {len(shared)} parameters are more than {MAX_FIELDS}.")
        return form
    for name, spec in shared.items():
        _add(form, name, spec, is_required=_is_required(known, name))
    asked = {form.names.get(at, at) for at in form.schema["properties"]}
    for plan, specs in read.items():
        left_out = sorted(name for name in specs if name not in asked and first.get(name) != specs[name])
        left_out += sorted(
            name for name in specs if any(name not in other for other in others) and name not in left_out
        )
        if left_out and others:
            form.problems.append(f"Plan {plan}: other plans do not take {', '.join(left_out)} in the same way.")
    _judge_whole(form)
    return form


def _read(plan: str, schema: Any, form: Form) -> dict[str, Schema]:
    """Give the parameters of one plan; what the schema says of them together cannot be asked."""
    properties = schema.get("properties", {}) if isinstance(schema, dict) else None
    if not isinstance(properties, dict):
        form.problems.append(f"Plan {plan}: its parameters are no JSON Schema of an object.")
        return {}
    beyond = sorted(set(schema) - OF_THE_FORM)
    if beyond:
        form.problems.append(f"Plan {plan}: the form cannot check {', '.join(beyond)}; the broker will.")
    return {name: spec for name, spec in properties.items() if isinstance(spec, dict)}


def _is_required(schemas: dict[str, Schema], name: str) -> bool:
    lists = [schema.get("required") for schema in schemas.values() if isinstance(schema, dict)]
    return any(isinstance(names, list) and name in names for names in lists)


def _add(form: Form, name: str, spec: Schema, *, is_required: bool) -> None:
    at = _field_name(name, set(form.schema["properties"]))
    fitted, dropped = _fitted(at, _converted(spec, name))
    if dropped:
        form.problems.append(f"Parameter {name}: the form cannot show {', '.join(dropped)}.")
    if fitted is None:
        needed = " It is required: give it in the workflow step." if is_required else ""
        form.problems.append(f"Parameter {name} is nothing that a form can ask for.{needed}")
        return
    form.schema["properties"][at] = fitted
    if is_required:
        form.schema.setdefault("required", []).append(at)
    if at != name:
        form.names[at] = name


def _field_name(name: str, taken: set[str]) -> str:
    """Give a field name for a parameter: its own where that is one, or else snake_case of it."""
    words = name
    if not FIELD_NAME.fullmatch(name):
        snake = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower()
        words = re.sub(r"[^a-z0-9]+", "_", snake).strip("_")
        words = (words if words[:1].isalpha() else f"p_{words}")[:LONGEST_FIELD_NAME].rstrip("_")
    number, unique = 2, words
    while unique in taken:
        unique = f"{words[: LONGEST_FIELD_NAME - 3]}_{number}"
        number += 1
    return unique


def _converted(spec: Schema, name: str) -> Schema:
    """Give a field in the words of order forms: with a title, `enum` as choices, without `null`."""
    made = {key: copy.deepcopy(value) for key, value in spec.items() if key not in WITHOUT_MEANING}
    title = made.get("title")
    made["title"] = " ".join(title.split()) if isinstance(title, str) and title.strip() else _title_of(name)
    if isinstance(made.get("description"), str):
        made["description"] = made["description"].strip()
        if not made["description"]:
            del made["description"]
    if isinstance(made.get("type"), list):
        kinds = [kind for kind in made["type"] if kind != "null"]
        made["type"] = kinds[0] if len(kinds) == 1 else kinds
    if made.get("default", 0) is None:
        del made["default"]
    if "const" in made:
        made["enum"] = [made.pop("const")]
    if "enum" in made and isinstance(made["enum"], list) and "oneOf" not in made:
        choices = [choice for choice in made.pop("enum") if choice is not None]
        made["oneOf"] = [{"const": choice, "title": str(choice)} for choice in choices]
    if isinstance(made.get("items"), dict):
        made["items"] = {key: value for key, value in made["items"].items() if key not in WITHOUT_MEANING}
    if isinstance(made.get("properties"), dict):
        made["properties"] = {
            at: _converted(inner, at) for at, inner in made["properties"].items() if isinstance(inner, dict)
        }
        if made.get("additionalProperties") is not False:
            made.pop("additionalProperties", None)
    return made


def _title_of(name: str) -> str:
    words = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", " ", name)
    words = " ".join(re.sub(r"[\W_]+", " ", words).split())[:100]
    return (words[:1].upper() + words[1:].lower()) or "Value"


def _fitted(at: str, spec: Schema) -> tuple[Schema | None, list[str]]:
    """Take out of a field what forms refuse, one keyword after the other; None where nothing usable is left."""
    dropped: list[str] = []
    for _ in range(MOST_REPAIRS):
        problems = parameters.check_schema({"type": "object", "properties": {at: spec}})
        if not problems:
            return spec, dropped
        parts = [part.replace("~1", "/").replace("~0", "~") for part in problems[0].pointer.split("/")[3:]]
        gone = _take_out(spec, parts)
        if not gone:
            return None, []
        dropped.append(gone)
    return None, []


def _take_out(spec: Schema, parts: list[str]) -> str:
    """Delete what a problem points at: a keyword, or in a group a keyword or a field. Give its name, or nothing."""
    if not parts or parts[0] not in spec or parts[0] in {"type", "oneOf", "items", "title"}:
        return ""
    if parts[0] != "properties":
        del spec[parts[0]]
        return parts[0]
    if len(parts) == 1 or parts[1] not in spec["properties"]:
        return ""
    inner = spec["properties"][parts[1]]
    below = _take_out(inner, parts[2:]) if isinstance(inner, dict) and parts[2:3] != ["properties"] else ""
    if below:
        return f"{parts[1]}.{below}"
    del spec["properties"][parts[1]]
    if isinstance(spec.get("required"), list):
        spec["required"] = [name for name in spec["required"] if name != parts[1]]
    return parts[1]


def _judge_whole(form: Form) -> None:
    """Leave the form empty where its fields are fine one by one and not together, such as too many of them."""
    told = list(_sentences(form.schema))
    if told:
        form.problems.append(f"The form is left empty: {' '.join(told)}")
        form.schema, form.names = {"type": "object", "properties": {}}, {}


def _sentences(schema: Schema) -> Iterator[str]:
    for problem in parameters.check_schema(schema)[:5]:
        yield f"{problem.pointer or 'All of it'}: {problem.message}."
