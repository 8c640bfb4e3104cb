"""The forms with which IT curates the catalog. They read what was typed; the services judge it."""

import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from django import forms
from django.conf import settings
from django.core.validators import FileExtensionValidator

from accounts.models import BusinessUnit
from catalog.models import BackEnd, DataClass, Offering, OfferingVersion, Plan, Price, Purpose, WorkflowStep
from core.forms import JsonField, RowForm, ServiceForm


@lru_cache(maxsize=1)
def icon_names() -> list[str]:
    """List the icons of the site's set."""
    drawn = Path(settings.BASE_DIR, "static", "icons.svg").read_text("utf-8")
    return sorted(re.findall(r'<symbol[^>]*\bid="([a-z0-9-]+)"', drawn))


def icon_choices(*, empty: str = "") -> list[tuple[str, str]]:
    """Give the icons as choices, after one for none where `empty` names it."""
    return ([("", empty)] if empty else []) + [(name, name) for name in icon_names()]


class IconForm(ServiceForm):
    """A form with an icon of the site's set; what a row has already stays possible."""

    no_icon = ""
    icon = forms.ChoiceField(required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "icon" in self.fields:
            offered, has = icon_choices(empty=self.no_icon), self.instance.icon
            self.fields["icon"].choices = offered + [(has, has)] * (bool(has) and has not in icon_names())  # type: ignore[attr-defined]
            self.fields["icon"].required = not self.no_icon


class CategoryForm(IconForm):
    """One shelf."""


class OfferingAddForm(IconForm):
    """What opens an offering; all else is written into its first draft."""

    no_icon = "The category's"
    # Not `name`: that of an offering is its published version's, and no form writes it.
    title = forms.CharField(label="Name", max_length=80, help_text="As business users read it.")

    class Meta:
        model = Offering
        fields = ["slug", "category", "service_owner", "icon"]
        help_texts = {
            "slug": "Its place in addresses: 3 to 50 lower-case letters, digits and hyphens. It never changes."
        }


class UnitsField(forms.ModelMultipleChoiceField):
    """Business units as boxes to tick, each below the one that it lies in."""

    widget = forms.CheckboxSelectMultiple

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(BusinessUnit.objects.all(), required=False, **kwargs)

    def show_as_tree(self) -> None:
        """Read the units of this moment, in the order of the tree."""
        self.choices = list(_tree(None, list(BusinessUnit.objects.order_by("name")), ""))

    def label_from_instance(self, obj: Any) -> str:
        """Name the unit."""
        return str(obj.name)


def _tree(parent: Any, units: list[BusinessUnit], above: str) -> Iterator[tuple[str, str]]:
    for unit in units:
        if unit.parent_id == parent:
            yield str(unit.pk), f"{above}{unit.name}"
            yield from _tree(unit.pk, units, f"{above}{unit.name} > ")


class OfferingForm(IconForm):
    """What may change of an offering at any time: its shelf, its owner, its picture, and who may order it."""

    no_icon = "The category's"
    picture_file = forms.FileField(
        label="New picture",
        required=False,
        max_length=200,
        help_text="PNG, JPEG or WebP, at most 1 MiB. It takes the place of the icon.",
        widget=forms.FileInput(attrs={"accept": "image/png,image/jpeg,image/webp"}),
        validators=[FileExtensionValidator(["png", "jpg", "jpeg", "webp"], "Choose a PNG, JPEG or WebP picture.")],
    )
    remove_picture = forms.BooleanField(label="Show no picture", required=False)
    units = UnitsField(
        label="Business units",
        help_text="The people of these units, and of the units within them, may order it.",
    )
    # Services name what is wrong as they know it.
    aliases = {"/picture": "/picture_file"}

    class Meta:
        model = Offering
        fields = ["category", "service_owner", "icon"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "units" in self.fields:
            self.fields["units"].show_as_tree()  # type: ignore[attr-defined]
            self.initial["units"] = [str(pk) for pk in entitled_units(self.instance).values_list("pk", flat=True)]


def entitled_units(offering: Offering) -> Any:
    """Give the business units that `offering` is granted to, without those below them."""
    return BusinessUnit.objects.filter(
        group__offeringgroupobjectpermission__content_object=offering,
        group__offeringgroupobjectpermission__permission__codename="order_offering",
    )


class VersionForm(ServiceForm):
    """The draft of a version."""

    parameters_schema = JsonField(
        label="Order form",
        empty={"type": "object", "properties": {}},
        rows=18,
        help_text="JSON Schema, the subset that forms can show. “Preview as user” shows what is saved.",
    )
    purposes = forms.MultipleChoiceField(
        label="Allowed purposes", choices=Purpose, required=False, widget=forms.CheckboxSelectMultiple
    )
    data_classes = forms.MultipleChoiceField(
        label="Allowed data", choices=DataClass, required=False, widget=forms.CheckboxSelectMultiple
    )

    class Meta:
        model = OfferingVersion
        fields = [
            "name",
            "summary",
            "description",
            "parameters_schema",
            "terms",
            "purposes",
            "data_classes",
            "promised_delivery_seconds",
            "promised_availability",
        ]


def _amount_field(label: str) -> forms.DecimalField:
    return forms.DecimalField(
        label=label,
        required=False,
        min_value=0,
        max_digits=16,
        decimal_places=6,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "size": "10"}),
    )


class PlanForm(ServiceForm):
    """One plan with all its prices in one row."""

    limits = JsonField(empty={}, rows=3, help_text='For the workflow, for example {"connection_limit": 20}.')
    monthly = _amount_field("Price a month")
    one_off = _amount_field("Price once")
    currency = forms.CharField(max_length=3, min_length=3, initial="USD", widget=forms.TextInput(attrs={"size": "4"}))
    per_use = forms.CharField(
        label="Prices per use",
        required=False,
        max_length=2000,
        widget=forms.Textarea(attrs={"rows": "2", "cols": "30"}),
        help_text="One a line: the amount, then what is counted, for example “0.02 GiB”.",
    )
    # A price's faults stand at the field that it was typed into.
    aliases = {"/unit": "/per_use"}

    class Meta:
        model = Plan
        fields = ["name", "slug", "description", "limits", "position"]

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if not self.instance._state.adding:
            self.initial.update(shown_prices(self.instance))

    def clean_currency(self) -> str:
        """Take small letters too."""
        return str(self.cleaned_data["currency"]).upper()

    def clean_per_use(self) -> dict[str, Any]:
        """Give amounts by what is counted."""
        found: dict[str, Any] = {}
        for number, line in enumerate(self.cleaned_data["per_use"].splitlines(), start=1):
            amount, _, unit = line.strip().partition(" ")
            unit = unit.strip()
            if not amount:
                continue
            if not unit or len(unit) > 40 or unit in found:  # noqa: PLR2004 (as the database has it)
                raise forms.ValidationError(
                    f"Line {number}: write an amount and what is counted, each once, for example “0.02 GiB”."
                )
            found[unit] = _amount_field("").clean(amount)
        return found

    def prices(self) -> Mapping[tuple[str, str], Any]:
        """Give the amounts that were entered, by kind and unit."""
        entered = {
            (Price.Kind.MONTHLY.value, ""): self.cleaned_data["monthly"],
            (Price.Kind.ONE_OFF.value, ""): self.cleaned_data["one_off"],
        }
        entered |= {(Price.Kind.PER_USE.value, unit): amount for unit, amount in self.cleaned_data["per_use"].items()}
        return {place: amount for place, amount in entered.items() if amount is not None}


def shown_prices(plan: Plan) -> dict[str, str]:
    """Give the prices of `plan` as the fields of a plan's form show them."""
    prices = list(plan.prices.all())
    by_kind = {price.kind: price for price in prices if price.kind != Price.Kind.PER_USE}
    shown = {kind: f"{price.amount.normalize():f}" for kind, price in by_kind.items()}
    if prices:
        shown["currency"] = prices[0].currency
    per_use = [price for price in prices if price.kind == Price.Kind.PER_USE]
    shown["per_use"] = "\n".join(f"{price.amount.normalize():f} {price.unit}" for price in per_use)
    return shown


class StepForm(ServiceForm):
    """One step of the workflow."""

    connector = forms.ChoiceField(choices=lambda: [("", "Choose one"), *((name, name) for name in settings.CONNECTORS)])
    back_end = forms.ChoiceField(
        label="Back end", required=False, help_text="Which one, for connectors that reach several; see “Back ends”."
    )
    inputs = JsonField(
        empty={},
        rows=3,
        help_text="May take values of the order, for example ${parameters.size}: see above.",
    )

    class Meta:
        model = WorkflowStep
        fields = [
            "name",
            "connector",
            "back_end",
            "operation",
            "inputs",
            "when",
            "on_failure",
            "timeout_seconds",
            "max_attempts",
            "position",
        ]
        widgets = {"when": forms.TextInput(attrs={"size": "80", "spellcheck": "false", "autocomplete": "off"})}

    # Those in use, as (slug, connector): read once for all forms of a page.
    back_ends: list[tuple[str, str]] = []

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "back_end" in self.fields:
            offered = {slug: f"{slug} ({connector})" for slug, connector in self.back_ends}
            # What the step has already stays possible; the service says where it is not in use.
            has = self.instance.back_end
            offered |= {has: has} if has and has not in offered else {}
            self.fields["back_end"].choices = [("", "None"), *offered.items()]  # type: ignore[attr-defined]


class PauseForm(RowForm):
    """Why an offering cannot be ordered now."""

    reason = forms.CharField(
        max_length=300,
        help_text="People who want to order will read it.",
        widget=forms.TextInput(attrs={"size": "60"}),
    )


class RetirePlanForm(RowForm):
    """Which plan of a version ends."""

    plan = forms.ModelChoiceField(Plan.objects.none())

    def __init__(self, row: OfferingVersion, data: Any = None) -> None:
        super().__init__(row, data)
        self.fields["plan"].queryset = row.plans.filter(retired_at__isnull=True)  # type: ignore[attr-defined]


class BackEndAddForm(ServiceForm):
    """What opens a back end; how one signs in there is asked once its connector is known."""

    connector = forms.ChoiceField(choices=lambda: [("", "Choose one"), *((name, name) for name in _with_back_ends())])

    class Meta:
        model = BackEnd
        fields = ["name", "slug", "connector", "address"]


def _with_back_ends() -> list[str]:
    return [name for name, declared in settings.CONNECTORS.items() if declared.get("back_end") == "needed"]


ABBREVIATIONS = {"ca", "dn", "hmac"}


class BackEndForm(ServiceForm):
    """A back end with the settings and credentials that its connector declares, a field each."""

    declared: dict[str, list[str]] = {"config": [], "credential": []}

    class Meta:
        model = BackEnd
        fields = ["name", "address", "limit", "is_active"]
        help_texts = {
            "address": "With another host, port or scheme all credentials have to be entered again.",
            "is_active": "New workflows may name it. What was delivered there can be changed and removed in any case.",
        }

    @classmethod
    def names(cls, kind: str) -> list[str]:
        """List the fields of `kind`, `config` or `credential`, with the one that takes credentials away."""
        fields = [f"{kind}_{name}" for name in cls.declared[kind]]
        return [*fields, "remove_credentials"] if kind == "credential" and fields else fields

    def config(self, kept: Mapping[str, Any]) -> dict[str, Any]:
        """Give the settings as they are to be: what was not touched stays what it was, a number too."""
        found = dict(kept)
        for name in self.declared["config"]:
            if f"config_{name}" in self.changed_data:
                found[name] = self.cleaned_data[f"config_{name}"]
        return {name: value for name, value in found.items() if value != ""}

    def credentials(self) -> dict[str, str]:
        """Give the credentials that were entered, and an empty text for those to take away."""
        typed = {name: self.cleaned_data[f"credential_{name}"] for name in self.declared["credential"]}
        entered = {name: value for name, value in typed.items() if value}
        return dict.fromkeys(self.cleaned_data.get("remove_credentials", []), "") | entered


def back_end_form(back_end: BackEnd) -> type[BackEndForm]:
    """Make the form of `back_end` with a field for each setting and credential of its connector."""
    known = settings.CONNECTORS.get(back_end.connector, {})
    config, credentials = known.get("config", []), known.get("credentials", [])
    fields: dict[str, Any] = {f"config_{name}": _config_field(name, back_end) for name in config}
    fields |= {f"credential_{name}": _credential_field(name) for name in credentials}
    if credentials:
        choices = [(name, _worded(name)) for name in credentials]
        fields["remove_credentials"] = forms.MultipleChoiceField(
            label="Take away", choices=choices, required=False, widget=forms.CheckboxSelectMultiple
        )
    aliases = {f"/config/{name}": f"/config_{name}" for name in config}
    aliases |= {f"/credentials/{name}": f"/credential_{name}" for name in credentials}
    declared = {"config": config, "credential": credentials}
    return type("BackEndForm", (BackEndForm,), {**fields, "aliases": aliases, "declared": declared})


def _worded(name: str) -> str:
    words = name.replace("_", " ").capitalize()
    return " ".join(word.upper() if word.lower() in ABBREVIATIONS else word for word in words.split())


def _config_field(name: str, back_end: BackEnd) -> forms.CharField:
    long = name.endswith("certificate")
    widget = forms.Textarea(attrs={"rows": "6", "spellcheck": "false"}) if long else forms.TextInput()
    return forms.CharField(
        label=_worded(name), required=False, initial=str(back_end.config.get(name, "")), widget=widget
    )


def _credential_field(name: str) -> forms.CharField:
    return forms.CharField(
        label=_worded(name),
        required=False,
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text="Empty: it stays as it is.",
    )
