"""Shelves, and offerings: where each stands, whose it is, who may order it."""

from collections.abc import Callable
from typing import Any

from django.contrib import admin
from django.db.models import Exists, OuterRef, Q, QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

import catalog.services as catalog
from accounts.models import BusinessUnit
from catalog.forms import (
    CategoryForm,
    OfferingAddForm,
    OfferingForm,
    PauseForm,
    entitled_units,
)
from catalog.models import Category, Offering, OfferingVersion, Plan
from core.admin import Action, ServiceAdmin, badge
from core.templatetags.greenlane import money

STATES = {"draft": "Draft", "published": "Published", "paused": "Paused", "retired": "Retired"}


def state_of(offering: Offering) -> str:
    """Name the state that people see: one of STATES."""
    if offering.retired_at:
        return "retired"
    if not offering.current_version_id:
        return "draft"
    return "paused" if offering.paused_reason else "published"


class StateFilter(admin.SimpleListFilter):
    """By what stands in the badge."""

    title = "state"
    parameter_name = "state"

    def lookups(self, request: HttpRequest, model_admin: Any) -> list[tuple[str, str]]:
        """Offer the states, and open drafts."""
        return [*STATES.items(), ("draft_open", "Draft open")]

    def queryset(self, request: HttpRequest, queryset: QuerySet) -> QuerySet:
        """Keep the offerings in the chosen state."""
        kept: dict[str, Q] = {
            "draft": Q(current_version__isnull=True, retired_at__isnull=True),
            "published": Q(current_version__isnull=False, retired_at__isnull=True, paused_reason=""),
            "paused": Q(current_version__isnull=False, retired_at__isnull=True) & ~Q(paused_reason=""),
            "retired": Q(retired_at__isnull=False),
            "draft_open": Q(has_draft=True),
        }
        return queryset.filter(kept[self.value() or ""]) if self.value() in kept else queryset


@admin.register(Category)
class CategoryAdmin(ServiceAdmin):
    """The shelves."""

    form = CategoryForm
    list_display = ("name", "slug", "position")
    search_fields = ("name", "slug")
    fields = ("name", "slug", "icon", "color", "position")

    def save(self, row: Any, form: Any, person: Any, *, change: bool) -> Category:
        """Keep a shelf."""
        return catalog.save_category(row if change else None, **form.cleaned_data, actor=person)


def _may(permission: str, holds: Callable[[Offering], bool]) -> Callable[[Any, Offering], bool]:
    return lambda person, offering: bool(person.has_perm(permission, offering)) and holds(offering)


def _pause(offering: Offering, person: Any, values: dict[str, Any]) -> Offering:
    catalog.pause(offering, values["reason"], actor=person)
    return offering


def _resume(offering: Offering, person: Any, values: dict[str, Any]) -> Offering:
    catalog.resume(offering, actor=person)
    return offering


def _retire(offering: Offering, person: Any, values: dict[str, Any]) -> Offering:
    catalog.retire(offering, actor=person)
    return offering


def _open_draft(offering: Offering) -> OfferingVersion | None:
    return offering.versions.filter(state=OfferingVersion.State.DRAFT).first()


NEW_DRAFT = Action(
    name="new-draft",
    label="Make a new draft",
    run=lambda offering, person, _values: catalog.new_draft(offering, actor=person),
    shown=_may("catalog.add_offeringversion", lambda offering: _open_draft(offering) is None),
    done="“{row}” is open as a copy of the version before it.",
)
PAUSE = Action(
    name="pause",
    label="Pause",
    run=_pause,
    shown=_may("catalog.pause_offering", lambda offering: state_of(offering) == "published"),
    done="{row} takes no new orders.",
    question="It takes no new orders at once; what was ordered goes on. You can resume it at any time.",
    form=PauseForm,
)
RESUME = Action(
    name="resume",
    label="Resume",
    run=_resume,
    shown=_may("catalog.pause_offering", lambda offering: state_of(offering) == "paused"),
    done="{row} takes orders again.",
)
RETIRE = Action(
    name="retire",
    label="Retire",
    run=_retire,
    shown=_may("catalog.retire_offering", lambda offering: bool(offering.current_version_id)),
    done="{row} is retired.",
    question=(
        "It leaves the catalog and takes no new orders; what was delivered stays. "
        "Only a new version, published later, would bring it back."
    ),
)


@admin.register(Offering)
class OfferingAdmin(ServiceAdmin):
    """Offerings. What exactly is promised is in the versions."""

    list_display = ("name_or_slug", "states", "category", "service_owner", "price", "version")
    list_filter = (StateFilter, "category", ("service_owner", admin.RelatedOnlyFieldListFilter))
    list_select_related = ("category", "service_owner")
    search_fields = ("name", "slug", "summary")
    ordering = ("name", "slug")
    autocomplete_fields = ("service_owner",)
    object_actions = (NEW_DRAFT, PAUSE, RESUME, RETIRE)

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Know in the same query which ones have an open draft, and the number of the published version."""
        drafts = OfferingVersion.objects.filter(offering=OuterRef("pk"), state=OfferingVersion.State.DRAFT)
        numbers = OfferingVersion.objects.filter(current_of=OuterRef("pk")).values("number")
        return super().get_queryset(request).annotate(has_draft=Exists(drafts), published_number=numbers)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 (Django's signature)
        """Ask little to open an offering; the rest is written into its draft."""
        return super().get_form(
            request, obj, change=change, **{"form": OfferingForm if change else OfferingAddForm, **kwargs}
        )

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Group what may change; who may only look sees the same without the boxes."""
        if obj is None:
            return [(None, {"fields": ("title", "slug", "category", "service_owner", "icon")})]
        changes = self.has_change_permission(request, obj)
        picture = ("picture_shown", "picture_file", "remove_picture") if changes else ("picture_shown",)
        who = "units" if changes else "units_shown"
        return [
            (None, {"fields": ("states", "slug", "paused_because", "versions_shown")}),
            ("In the catalog", {"fields": ("category", "service_owner", "icon", *picture)}),
            ("Who may order", {"fields": (who,)}),
        ]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what only versions and actions change."""
        if obj is None:
            return ()
        return ("states", "slug", "paused_because", "versions_shown", "picture_shown", "units_shown")

    def save(self, row: Any, form: Any, person: Any, *, change: bool) -> Offering:
        """Open an offering, or move it, show another picture, grant and take entitlements."""
        values = form.cleaned_data
        if not change:
            return catalog.add_offering(name=values.pop("title"), **values, actor=person)
        if {"category", "service_owner", "icon"} & set(form.changed_data):
            catalog.change_offering(
                row,
                category=values["category"],
                service_owner=values["service_owner"],
                icon=values["icon"],
                actor=person,
            )
        if values["picture_file"]:
            catalog.set_picture(row, values["picture_file"].name, values["picture_file"].read(), actor=person)
        elif values["remove_picture"] and row.picture_id:
            catalog.set_picture(row, "", None, actor=person)
        if "units" in form.changed_data:
            _entitle(row, set(values["units"]), person)
        return row

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        """Go on to the first draft."""
        draft = OfferingVersion.objects.get(offering_id=obj.pk)
        self.message_user(request, f"{draft.name} is opened. Write its first version; another IT admin publishes it.")
        return redirect("admin:catalog_offeringversion_change", draft.pk)

    def history_of(self, row: Any) -> Q:
        """Tell of its versions and plans too."""
        versions = list(row.versions.values_list("pk", flat=True))
        plans = list(Plan.objects.filter(version__offering=row).values_list("pk", flat=True))
        return Q(subject_id__in=[row.pk, *versions, *plans])

    @admin.display(description="name", ordering="name")
    def name_or_slug(self, offering: Offering) -> str:
        """Name it."""
        return str(offering)

    @admin.display(description="state")
    def states(self, offering: Offering) -> SafeString:
        """Show the state, and whether a draft is open beside it."""
        state = state_of(offering)
        beside = [("draft", "Draft open")] if getattr(offering, "has_draft", False) and state != "draft" else []
        return format_html_join(" ", "{}", [(badge(*one),) for one in [(state, STATES[state]), *beside]])

    @admin.display(description="from", ordering="from_price")
    def price(self, offering: Offering) -> str:
        """Show the lowest price."""
        if offering.from_price is None:
            return "-"
        per = {"monthly": " a month", "one_off": " once"}.get(offering.from_kind, " per use")
        return f"{money(offering.from_price, offering.currency)}{per}"

    @admin.display(description="version")
    def version(self, offering: Any) -> str:
        """Number the published version."""
        return str(offering.published_number or "-")

    @admin.display(description="paused because")
    def paused_because(self, offering: Offering) -> str:
        """Say what people read."""
        return offering.paused_reason or "-"

    @admin.display(description="versions")
    def versions_shown(self, offering: Offering) -> SafeString:
        """List the versions with links."""
        return format_html_join(
            "",
            '<div class="line"><a href="{}">Version {}: {}</a> {}</div>',
            (
                (
                    reverse("admin:catalog_offeringversion_change", args=[version.pk]),
                    version.number,
                    version.name,
                    badge(version.state, version.get_state_display()),
                )
                for version in offering.versions.defer("parameters_schema", "document").order_by("-number")
            ),
        )

    @admin.display(description="picture")
    def picture_shown(self, offering: Offering) -> SafeString | str:
        """Name the file."""
        return format_html("{}", offering.picture.name) if offering.picture else "None: the icon is shown."

    @admin.display(description="business units")
    def units_shown(self, offering: Offering) -> str:
        """Name the units that may order it."""
        return ", ".join(entitled_units(offering).values_list("name", flat=True)) or "None"


def _entitle(offering: Offering, wanted: set[BusinessUnit], person: Any) -> None:
    """Grant what was ticked and take what was not."""
    had = set(entitled_units(offering))
    for unit in wanted - had:
        catalog.entitle(offering, unit, actor=person)
    for unit in had - wanted:
        catalog.disentitle(offering, unit, actor=person)
