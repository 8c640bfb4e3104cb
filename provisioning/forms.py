"""The forms with which people hand over what they have done, and operators act on runs."""

from collections.abc import Mapping, Sequence
from typing import Any

from django import forms
from django.conf import settings
from django.http import QueryDict

from accounts.models import Person, Role
from catalog.models import Category
from core.parameters import Field
from provisioning.models import ManualTask, Step

# Names that a curator chose are kept apart from the form's own.
PREFIX = "o-"


class JudgedForm(forms.Form):
    """A form in front of a service, which may refuse what looked right."""

    use_required_attribute = False

    def refuse(self, errors: Mapping[str, str]) -> None:
        """Show what the service refused at its field."""
        for pointer, sentence in errors.items():
            name = pointer.removeprefix("/")
            self.add_error(name if name in self.fields else None, sentence)


class ReasonForm(JudgedForm):
    """Why an operator overrides the engine; the service judges it."""

    reason = forms.CharField(
        label="Reason",
        help_text="It is kept in the audit trail.",
        widget=forms.Textarea({"rows": 2}),
        error_messages={"required": "Enter the reason; the audit trail keeps it."},
    )


class FindingForm(ReasonForm):
    """What became of a step whose end nobody knew."""

    answer = forms.ChoiceField(
        label="What is so?",
        widget=forms.RadioSelect,
        error_messages={"required": "Choose what is so.", "invalid_choice": "Choose what is so."},
    )
    outputs = forms.CharField(
        label="What it gave",
        required=False,
        help_text="Where it happened, one a line: name = value. No passwords.",
        widget=forms.Textarea({"rows": 3, "spellcheck": "false"}),
    )
    external_ref = forms.CharField(
        label="What the back end calls it", required=False, help_text="Where it happened: its id there."
    )
    field_order = ("answer", "outputs", "external_ref", "reason")

    def __init__(self, *args: Any, findings: Sequence[tuple[str, str]], **kwargs: Any) -> None:
        """Ask for one of `findings`, as (value, label)."""
        super().__init__(*args, **kwargs)
        self.fields["answer"].choices = list(findings)  # type: ignore[attr-defined]

    def given_outputs(self) -> dict[str, str]:
        """Read the lines of what it gave; a name without a value is left out."""
        pairs = [line.partition("=") for line in self.cleaned_data["outputs"].splitlines() if line.strip()]
        return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}


class ImportForm(JudgedForm):
    """Where offerings that an import drafts go."""

    category = forms.ModelChoiceField(
        Category.objects.all(),
        label="Shelf",
        empty_label="Choose a shelf",
        help_text="Of the catalog, for services that are new. Those imported before stay where they are.",
        error_messages={"required": "Choose a shelf.", "invalid_choice": "Choose a shelf of the catalog."},
    )
    service_owner = forms.ModelChoiceField(
        Person.objects.filter(is_active=True, memberships__role=Role.SERVICE_OWNER).distinct(),
        label="Service owner",
        empty_label="Choose a person",
        help_text="Who answers for services that are new.",
        error_messages={"required": "Choose a service owner.", "invalid_choice": "Choose one of the service owners."},
    )


def known_outputs(step: Step) -> str:
    """Give the lines for what `step` should give, for a person to fill in."""
    declared = settings.CONNECTORS.get(step.connector, {}).get("outputs", [])
    mapped = step.inputs.get("outputs", {})
    names = [name for name in declared if name != "*"] + (list(mapped) if isinstance(mapped, dict) else [])
    return "\n".join(f"{name} = " for name in names)


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
