"""The form with which a person hands over what he has done."""

from collections.abc import Mapping

from django.http import QueryDict

from core.parameters import Field
from provisioning.models import ManualTask

# Names that a curator chose are kept apart from the form's own.
PREFIX = "o-"


def output_fields(task: ManualTask, values: Mapping[str, str], errors: Mapping[str, str]) -> list[Field]:
    """Give a text field for each thing that is to be handed over, with what was typed and what is wrong."""
    return [
        Field(
            name=PREFIX + entry["name"],
            id=f"f-{PREFIX}{entry['name']}",
            label=entry["title"],
            kind="text",
            required=not entry.get("optional"),
            value=values.get(entry["name"], ""),
            error=errors.get(f"/{entry['name']}", ""),
        )
        for entry in task.output_fields
    ]


def outputs_of(task: ManualTask, sent: QueryDict) -> dict[str, str]:
    """Read what a browser sent for those fields; judges nothing."""
    return {entry["name"]: sent.get(PREFIX + entry["name"], "") for entry in task.output_fields}
