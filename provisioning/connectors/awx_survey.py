"""What an AWX template asks before it is launched, and whether the answers will do: the rules are AWX's own."""

from collections.abc import Mapping
from typing import Any

from provisioning.connectors.base import Failed

TEXTS = {"text", "textarea", "password"}


def answered(spec: list[dict[str, Any]], given: Mapping[str, Any], named: Mapping[str, Any]) -> dict[str, Any]:
    """Give the defaults for required questions of a survey's `spec` that `given` leaves open.

    `named` are the answers that have to belong to a question. Raises Failed with all that is wrong, in words for IT.
    """
    questions = {str(question.get("variable")): question for question in spec}
    wrong = [f"it asks for no “{name}”" for name in named if name not in questions]
    defaults = {
        name: _default(question)
        for name, question in questions.items()
        if name not in given and question.get("required") and _default(question) not in (None, "", [])
    }
    for name, question in questions.items():
        if name in given:
            wrong += [f"“{name}” {fault}" for fault in _faults(question, given[name])]
        elif question.get("required") and name not in defaults:
            wrong.append(f"“{name}” ({question.get('question_name', name)}) is missing")
    if wrong:
        raise Failed(f"The survey of the AWX template does not take this: {'; '.join(wrong)}.", left_nothing=True)
    return defaults


def _default(question: Mapping[str, Any]) -> Any:
    default = question.get("default")
    if question.get("type") == "multiselect" and isinstance(default, str):
        return default.splitlines()
    return default


def _faults(question: Mapping[str, Any], value: Any) -> list[str]:
    kind = question.get("type")
    if kind in TEXTS:
        return _out_of_bounds(question, len(value), "characters") if isinstance(value, str) else ["must be text"]
    if kind in {"integer", "float"}:
        if isinstance(value, bool) or not isinstance(value, int if kind == "integer" else int | float):
            return ["must be a whole number" if kind == "integer" else "must be a number"]
        return _out_of_bounds(question, value, "")
    if kind == "multiplechoice":
        return [] if value in _choices(question) else [f"must be one of {', '.join(_choices(question))}"]
    if kind == "multiselect":
        if not isinstance(value, list):
            return ["must be a list"]
        choices = _choices(question)
        return [] if all(one in choices for one in value) else [f"may hold {', '.join(choices)}"]
    return []


def _choices(question: Mapping[str, Any]) -> list[str]:
    choices = question.get("choices") or []
    return choices.splitlines() if isinstance(choices, str) else [str(choice) for choice in choices]


def _out_of_bounds(question: Mapping[str, Any], size: float, unit: str) -> list[str]:
    unit = f" {unit}" if unit else ""
    least, most = _bound(question.get("min")), _bound(question.get("max"))
    if least is not None and size < least:
        return [f"must be at least {least:g}{unit}"]
    return [f"must be at most {most:g}{unit}"] if most is not None and size > most else []


def _bound(value: Any) -> float | None:
    try:
        return float(value)
    except (TypeError, ValueError):
        return None
