"""What the data of a demo offering looks like, and the five shelves of the catalog."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

TERMS = Path(__file__).parent / "terms"


@dataclass(frozen=True)
class Shelf:
    """One category of the catalog."""

    slug: str
    name: str
    icon: str
    color: str


@dataclass(frozen=True)
class DemoPlan:
    """One size; prices in USD by kind, limits as the workflow reads them."""

    slug: str
    name: str
    description: str
    prices: dict[str, str]
    limits: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class DemoStep:
    """One step of the workflow."""

    name: str
    connector: str
    operation: str = "start"
    inputs: dict[str, Any] = field(default_factory=dict)
    timeout_seconds: int = 600
    back_end: str = ""
    when: str = ""


@dataclass(frozen=True)
class DemoOffering:
    """One service; its terms of use lie beside it in `terms/<slug>.md`."""

    slug: str
    name: str
    category: str
    icon: str
    summary: str
    description: str
    plans: tuple[DemoPlan, ...]
    steps: tuple[DemoStep, ...]
    form: dict[str, dict[str, Any]]
    purposes: tuple[str, ...]
    data_classes: tuple[str, ...]
    delivered_within: int
    availability: str | None = None
    units: tuple[str, ...] = ("marketing", "research", "operations")
    paused: str = ""

    @property
    def needs_names(self) -> bool:
        """Whether the demo's register of names must run for it."""
        return any(step.back_end == "names" for step in self.steps)

    @property
    def terms(self) -> str:
        """The terms of use, in Markdown."""
        return (TERMS / f"{self.slug}.md").read_text(encoding="utf-8").strip()

    @property
    def schema(self) -> dict[str, Any]:
        """The order form: every field has a default, so that nobody has to touch it."""
        return {
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "type": "object",
            "properties": self.form,
            "required": list(self.form),
            "additionalProperties": False,
        }


def by_hand(
    name: str, instructions: str, *outputs: tuple[str, str], due_hours: int = 24, role: str = "it_admin"
) -> DemoStep:
    """Describe a step that a person does within `due_hours`; `outputs` are (name, title) of what he enters."""
    return DemoStep(
        name=name,
        connector="manual",
        inputs={
            "instructions": instructions,
            "assignee_role": role,
            "output_fields": [{"name": key, "title": title} for key, title in outputs],
            "due_hours": due_hours,
        },
        timeout_seconds=30 * 86_400,
    )


def one_of(
    title: str, default: str, *choices: tuple[str, str] | tuple[str, str, str] | tuple[str, str, str, str]
) -> dict[str, Any]:
    """Describe a choice; each of `choices` is (value, title, description, price a month), the last two if any."""
    keys = ("const", "title", "description", "x-price")
    return {
        "title": title,
        "default": default,
        "oneOf": [{key: text for key, text in zip(keys, choice, strict=False) if text} for choice in choices],
    }


CATEGORIES = (
    Shelf("databases", "Databases", "db", "data"),
    Shelf("compute-and-code", "Compute and code", "server", "compute"),
    Shelf("workplace", "Workplace", "laptop", "people"),
    Shelf("collaboration", "Collaboration", "folder", "storage"),
    Shelf("network-and-access", "Network and access", "globe", "network"),
)
HOUR, DAY = 3_600, 86_400
