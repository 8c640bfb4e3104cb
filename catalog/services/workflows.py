"""What the steps of a workflow may say: by their connectors' declarations, and by what an order knows.

Everything but `check_step` and `workflow_problems` works on plain values: a version's document, as
`documents.document_of` writes it, and a step's entry in it.
"""

import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from django.conf import settings

from catalog.models import BackEnd, OfferingVersion, WorkflowStep
from catalog.services.documents import document_of, entry_of
from core import expressions, parameters, substitution
from core.parameters.bounds import step as pointer
from core.problems import Invalid
from core.substitution import Names

Entry = Mapping[str, Any]
# Inputs that say how something else than the step's own operation is done. They are filled in when that is, and
# may name what the step itself has given.
LATER_INPUTS = frozenset({"undo", "update", "describe", "rotate"})
# The same for each order. The form adds `parameters`, the plans `limits`, the steps before `outputs`.
_ALWAYS: dict[str, dict[str, Names]] = {
    "order": dict.fromkeys(("id", "number", "name", "offering", "plan", "purpose", "data_classification"), ()),
    "requester": dict.fromkeys(("username", "name", "email"), ()),
    "cost_center": dict.fromkeys(("code", "name", "unit"), ()),
    "instance": dict.fromkeys(("id", "name"), ()),
}
_REPEATING = ("key", "lookup", "none")
_SECRET_NAME = re.compile(r"[a-z][a-z0-9_]{0,39}")


# --- what a step is, by its connector -------------------------------------------------------------


def secret_names(connector: str, inputs: Mapping[str, Any]) -> list[str]:
    """List the passwords that we draw for a step: those of its connector, or those that its inputs name."""
    declared = settings.CONNECTORS[connector]["secrets"]
    named = inputs.get("secrets", []) if "*" in declared else []
    return [name for name in declared if name != "*"] + [str(name) for name in named]


def idempotency_of(connector: str, inputs: Mapping[str, Any]) -> str:
    """Say what a second call after an unknown end does: `key`, `lookup` or `none`."""
    declared = settings.CONNECTORS.get(connector, {"idempotency": "none", "inputs": []})
    said = inputs.get("idempotency") if "idempotency" in declared["inputs"] else None
    return said if said in _REPEATING else str(declared["idempotency"])


def later_inputs(connector: str, inputs: Mapping[str, Any], operation: str = "start") -> set[str]:
    """Name the inputs that are filled in later than for `operation`: those of other operations.

    Who looks before he makes needs to know at once how to look.
    """
    looks = operation == "start" and idempotency_of(connector, inputs) == "lookup"
    return set(LATER_INPUTS - {operation} - ({"describe"} if looks else set()))


def queue_of(connector: str) -> str:
    """Say where its work waits: `default`, or `long` for work of minutes in a child process."""
    return str(settings.CONNECTORS[connector].get("queue", "default"))


def back_end_of(entry: Entry) -> str:
    """Name what limits and the breaker count by: the back end of a step, or its connector where it names none."""
    return str(entry.get("back_end") or entry["connector"])


# --- what a step may name ---------------------------------------------------------------------------


def roots_for(document: Mapping[str, Any], position: int) -> dict[str, Names]:
    """Say what templates and conditions of the step at `position` (from 0) of the document's workflow may name."""
    return {**_ALWAYS, **_by_version(document), "outputs": _output_names(document["workflow"][:position])}


def _by_version(document: Mapping[str, Any]) -> dict[str, Names]:
    plans = document["plans"]
    return {
        "parameters": _field_names(document["form"]),
        "limits": {name for plan in plans for name in plan["limits"]} if plans else None,
    }


def _field_names(form: Mapping[str, Any]) -> dict[str, Names]:
    """Give the names of a form's fields, and below each group those of its own."""
    below = form.get("properties", {})
    return {
        name: _field_names(spec) if spec.get("type") == "object" else _of_field(spec) for name, spec in below.items()
    }


def _of_field(spec: Mapping[str, Any]) -> Names:
    return None if spec.get("type") == "array" else ()


def _output_names(entries: Iterable[Entry]) -> Names:
    """Give the outputs that steps may have; None where one of them may give whatever it likes."""
    names: set[str] = set()
    for entry in _making(entries):
        declared = settings.CONNECTORS.get(entry["connector"], {}).get("outputs", [])
        if "*" in declared:
            return None
        names.update(declared)
    return names


def _making(entries: Iterable[Entry]) -> Iterator[Entry]:
    return (entry for entry in entries if entry["operation"] == WorkflowStep.Operation.START)


def may_lack(document: Mapping[str, Any], position: int) -> dict[tuple[str, str], str]:
    """List what an order may leave without a value, as (root, name), with a sentence that says when.

    Fields that need not be filled in, limits that not every plan has, outputs of steps that have a condition.
    """
    lacking = {("parameters", name): _EMPTY_FIELD for name in _optional_fields(document["form"])}
    limits = [set(plan["limits"]) for plan in document["plans"]]
    for name in set().union(*limits) - (set.intersection(*limits) if limits else set()):
        lacking["limits", name] = "Not every plan has the limit “{name}”. Give it to each plan, or {guard}."
    earlier = document["workflow"][:position]
    own = document["workflow"][position].get("when", "") if position < len(document["workflow"]) else ""
    sure = _output_names(entry for entry in earlier if not entry.get("when") or entry["when"] == own)
    for name in _output_names(earlier) or ():
        if sure is not None and name not in sure:
            lacking["outputs", name] = "The step that gives “{name}” has a condition. Use the same one, or {guard}."
    return lacking


_EMPTY_FIELD = "The field “{name}” may be left empty. Make it required, give it a default, or {guard}."


def _optional_fields(form: Mapping[str, Any]) -> list[str]:
    always = set(form.get("required", ())) | set(parameters.defaults(form))
    return [name for name in form.get("properties", {}) if name not in always]


# --- what is wrong ----------------------------------------------------------------------------------


def problems_of(document: Mapping[str, Any], position: int) -> dict[str, str]:
    """Judge the step at `position` of the document's workflow: JSON pointer within the step -> one sentence."""
    entry = document["workflow"][position]
    declared = settings.CONNECTORS.get(entry["connector"])
    if declared is None:
        known = ", ".join(settings.CONNECTORS)
        return {"/connector": f"There is no connector “{entry['connector']}”. Known: {known}."}
    if not isinstance(entry["inputs"], dict):
        return {"/inputs": "Inputs must be a JSON object."}
    roots, lacking = roots_for(document, position), may_lack(document, position)
    found = _condition_problem(entry["when"], roots, lacking)
    later = later_inputs(entry["connector"], entry["inputs"])
    for name, value in entry["inputs"].items():
        at = pointer("/inputs", name)
        if name not in declared["inputs"]:
            found[at] = f"The connector {entry['connector']} takes no input “{name}”."
            continue
        nameable = roots | ({"outputs": None} if name in later else {})
        found |= {at + problem.pointer: problem.message for problem in substitution.check(value, nameable)}
        if at not in found:
            found |= _lacking_values(value, at, entry["when"], {} if name in later else lacking)
    return found | _special_inputs(declared, entry["inputs"])


def _condition_problem(when: str, roots: Mapping[str, Names], lacking: Mapping[tuple[str, str], str]) -> dict[str, str]:
    if not when:
        return {}
    problem = expressions.check(when, roots)
    if problem:
        return {"/when": problem}
    for root, name in expressions.named(when):
        if (root, name) in lacking and not _asks_for(when, root, name):
            return {"/when": _worded(lacking[root, name], root, name, "ask first: {0} && …")}
    return {}


def _lacking_values(value: Any, at: str, when: str, lacking: Mapping[tuple[str, str], str]) -> dict[str, str]:
    """Find what the template `value` names though an order may have no such value."""
    found: dict[str, str] = {}
    for below, path in substitution.named(value) if lacking else ():
        root, name = path[0], path[1] if len(path) > 1 else ""
        if (root, name) in lacking and not _asks_for(when, str(root), str(name)):
            sentence = lacking[str(root), str(name)]
            found[at + below] = _worded(sentence, str(root), str(name), "do this step only where {0}")
    return found


def _worded(sentence: str, root: str, name: str, guard: str) -> str:
    return sentence.format(name=name, guard=guard.format(f"has({root}.{name})"))


def _asks_for(when: str, root: str, name: str) -> bool:
    return bool(re.search(rf"(?<!!)\bhas\(\s*{root}\.{re.escape(name)}\s*\)", when))


def _special_inputs(declared: Mapping[str, Any], inputs: Mapping[str, Any]) -> dict[str, str]:
    """Judge the inputs that the engine itself reads before it fills in anything."""
    found: dict[str, str] = {}
    names = inputs.get("secrets", [])
    if "*" in declared["secrets"] and not _are_secret_names(names):
        found["/inputs/secrets"] = "Secrets must be a list of different names of a-z, 0-9 and _, at most 40 long."
    if "idempotency" in declared["inputs"] and inputs.get("idempotency", "key") not in _REPEATING:
        found["/inputs/idempotency"] = f"Idempotency must be one of: {', '.join(_REPEATING)}."
    return found


def _are_secret_names(names: Any) -> bool:
    if not isinstance(names, list) or not all(isinstance(name, str) and _SECRET_NAME.fullmatch(name) for name in names):
        return False
    return len(names) == len(set(names))


def back_end_problem(entry: Entry, known: Mapping[str, tuple[str, bool]]) -> str:
    """Say what is wrong with the back end that a step names; `known`: slug -> connector, and whether it is in use."""
    slug, connector = entry["back_end"], entry["connector"]
    if settings.CONNECTORS[connector].get("back_end", "none") != "needed":
        return f"The connector {connector} knows its back end from the settings: leave this empty." if slug else ""
    fitting = ", ".join(sorted(name for name, (its, in_use) in known.items() if its == connector and in_use))
    choose = f"Choose one of: {fitting}." if fitting else f"There is none for {connector} yet; add one first."
    if not slug:
        return f"The connector {connector} needs a back end. {choose}"
    if slug not in known or known[slug][0] != connector:
        return f"There is no back end “{slug}” for {connector}. {choose}"
    return "" if known[slug][1] else f"The back end “{slug}” is not in use. {choose}"


# --- drafts ------------------------------------------------------------------------------------------


def check_step(step: WorkflowStep) -> None:
    """Judge a step that is about to be saved in its draft. Raises Invalid with a pointer for each thing wrong."""
    # As it is stored: what a form holds of it may have been refused.
    version = OfferingVersion.objects.select_related("offering").get(pk=step.version_id)
    document = document_of(version)
    others = [row for row in version.workflow_steps.all() if row.pk != step.pk]
    position = sum(_comes_before(row, step) for row in others)
    document["workflow"] = [entry_of(row) for row in others]
    document["workflow"].insert(position, entry_of(step))
    found = problems_of(document, position)
    if "/connector" not in found:
        problem = back_end_problem(document["workflow"][position], _back_ends())
        found |= {"/back_end": problem} if problem else {}
    if found:
        raise Invalid(found)


def _comes_before(row: WorkflowStep, step: WorkflowStep) -> bool:
    """Tell whether `row` is done before `step`; a new step comes after those of its position."""
    if row.position != step.position:
        return row.position < step.position
    return step.pk is None or row.pk < step.pk


def nameable(version: OfferingVersion) -> dict[str, list[str]]:
    """List what a further step of a draft could name: the names below each root, “any” where any will do."""
    document = document_of(version)
    roots = roots_for(document, len(document["workflow"]))
    return {root: ["any"] if names is None else sorted(names) for root, names in roots.items()}


def workflow_problems(version: OfferingVersion) -> list[str]:
    """Judge the whole workflow of a draft, as sentences: what a step was saved against may have changed since."""
    document = document_of(version)
    known = _back_ends()
    sentences = []
    for position, entry in enumerate(document["workflow"]):
        found = problems_of(document, position)
        if "/connector" not in found and (problem := back_end_problem(entry, known)):
            found["/back_end"] = problem
        sentences += [f"Step “{entry['name']}”, {place.removeprefix('/')}: {said}" for place, said in found.items()]
    return sentences + _repeated_secrets(document["workflow"])


def _repeated_secrets(entries: Sequence[Entry]) -> list[str]:
    """A service has one password of a name: the second would overwrite the first."""
    given = [name for entry in _making(entries) if entry["connector"] in settings.CONNECTORS for name in _given(entry)]
    return ["Steps that give passwords of different names."] if len(given) != len(set(given)) else []


def _given(entry: Entry) -> list[str]:
    received = entry["inputs"].get("secret_outputs", {})
    try:
        drawn = secret_names(entry["connector"], entry["inputs"])
    except TypeError:  # told already: the input is no list
        drawn = []
    return [*drawn, *(received if isinstance(received, dict | list) else ())]


def _back_ends() -> dict[str, tuple[str, bool]]:
    rows = BackEnd.objects.values_list("slug", "connector", "is_active")
    return {slug: (connector, is_active) for slug, connector, is_active in rows}
