"""Versions: written as drafts in the order in which people think of them, then published by somebody else."""

import json
from typing import Any

from django.conf import settings
from django.contrib import admin
from django.db.models import QuerySet
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import path, reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

import catalog.services as catalog
from accounts.models import Person
from catalog.admin.offerings import NEW_DRAFT
from catalog.forms import PlanForm, RetirePlanForm, StepForm, VersionForm, shown_prices
from catalog.models import BackEnd, OfferingVersion, Plan, Price, WorkflowStep
from core import parameters
from core.admin import Action, ServiceAdmin, ServiceInline, badge
from core.problems import Invalid


class OfDraft(ServiceInline):
    """A part of a version: it changes with the draft, by those who may write drafts."""

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """See the parts with the version."""
        return request.user.has_perm("catalog.view_offeringversion")

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Write in drafts alone."""
        return may_write(request.user, obj)

    has_add_permission = has_delete_permission = has_change_permission

    def remove(self, row: Any, person: Any) -> None:
        """Take it out of the draft."""
        catalog.remove_part(row, actor=person)


def may_write(person: Any, version: OfferingVersion | None) -> bool:
    """Tell whether `person` may write in `version`: IT admins, while it is a draft."""
    draft = version is None or version.is_draft
    return draft and bool(person.has_perm("catalog.change_offeringversion", version))


class PlanInline(OfDraft, admin.StackedInline):
    """Plans with their prices."""

    model = Plan
    form = PlanForm
    after = "Price"
    verbose_name_plural = "plans and prices"
    ordering = ("position", "slug")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "slug"),
                    "description",
                    ("monthly", "one_off", "currency"),
                    "per_use",
                    "limits",
                    "position",
                )
            },
        ),
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Read the prices of all plans at once."""
        return super().get_queryset(request).prefetch_related("prices")

    def save(self, form: Any, person: Any) -> None:
        """Write the plan, then what its prices should be."""
        plan = form.instance
        if {"name", "slug", "position", "description", "limits"} & set(form.changed_data) or plan._state.adding:
            catalog.save_part(plan, actor=person)
        _save_prices(plan, form.prices(), form.cleaned_data["currency"], person)

    @admin.display(description="price a month")
    def monthly(self, plan: Plan) -> str:
        """Show it where nothing can be changed."""
        return shown_prices(plan).get("monthly", "-")

    @admin.display(description="price once")
    def one_off(self, plan: Plan) -> str:
        """Show it where nothing can be changed."""
        return shown_prices(plan).get("one_off", "-")

    @admin.display(description="currency")
    def currency(self, plan: Plan) -> str:
        """Show it where nothing can be changed."""
        return shown_prices(plan).get("currency", "-")

    @admin.display(description="prices per use")
    def per_use(self, plan: Plan) -> str:
        """Show them where nothing can be changed."""
        return shown_prices(plan)["per_use"] or "-"


def _save_prices(plan: Plan, wanted: Any, currency: str, person: Any) -> None:
    """Make the prices of `plan` those that are wanted; amounts by kind and unit."""
    had = {(price.kind, price.unit): price for price in Price.objects.filter(plan=plan)}
    for place in had.keys() - wanted.keys():
        catalog.remove_part(had[place], actor=person)
    for (kind, unit), amount in wanted.items():
        price = had.get((kind, unit)) or Price(plan=plan, kind=kind, unit=unit)
        if price._state.adding or (price.amount, price.currency) != (amount, currency):
            price.plan, price.amount, price.currency = plan, amount, currency
            _save_price(price, person)


def _save_price(price: Price, person: Any) -> None:
    """Save one price; a wrong amount is told at the field that it was typed into."""
    try:
        catalog.save_part(price, actor=person)
    except Invalid as error:
        amount = error.errors.get("/amount")
        raise Invalid({f"/{price.kind}": amount} if amount else error.errors) from error


class StepInline(OfDraft, admin.StackedInline):
    """The workflow."""

    model = WorkflowStep
    form = StepForm
    after = "Fulfillment"
    verbose_name_plural = "workflow steps"
    verbose_name = "step"
    ordering = ("position", "id")
    fieldsets = (
        (
            None,
            {
                "fields": (
                    ("name", "connector", "back_end", "operation"),
                    "inputs",
                    "when",
                    ("on_failure", "timeout_seconds", "max_attempts", "position"),
                )
            },
        ),
    )

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Read the back ends once for all steps."""
        formset = super().get_formset(request, obj, **kwargs)
        in_use = BackEnd.objects.filter(is_active=True).order_by("connector", "slug")
        formset.form.back_ends = list(in_use.values_list("slug", "connector"))
        return formset

    def in_order(self, parts: list[Any]) -> list[Any]:
        """Save the steps as they follow each other: one may name what those before it give."""
        return sorted(parts, key=lambda part: getattr(part, "cleaned_data", {}).get("position") or 0)

    def save(self, form: Any, person: Any) -> None:
        """Write one step."""
        catalog.save_part(form.instance, actor=person)


def _publish(version: OfferingVersion, person: Any, values: dict[str, Any]) -> OfferingVersion:
    return catalog.publish(version, actor=person)


def _before_publishing(version: OfferingVersion, person: Any) -> dict[str, Any]:
    """Say what a draft lacks, who wrote in it, and whether that keeps `person` from publishing it."""
    lacking = catalog.missing(version)
    wrote = person.pk in version.author_ids
    return {
        "missing": lacking,
        "authors": authors_of(version),
        "wrote": wrote,
        "ready": not lacking and not wrote,
    }


def _retire_plan(version: OfferingVersion, person: Any, values: dict[str, Any]) -> OfferingVersion:
    catalog.retire_plan(values["plan"], actor=person)
    return version


def _can_retire_plan(person: Any, version: OfferingVersion) -> bool:
    published = version.state == OfferingVersion.State.PUBLISHED
    return (
        published
        and person.has_perm("catalog.change_offering", version.offering)
        and version.plans.filter(retired_at__isnull=True).exists()
    )


PUBLISH = Action(
    name="publish",
    label="Publish",
    run=_publish,
    shown=lambda person, version: version.is_draft and person.has_perm("catalog.publish_offeringversion"),
    done="“{row}” is published. Who may order it sees it in the catalog now.",
    question="A published version never changes. Orders that are placed from now on get this one.",
    template="admin/catalog/offeringversion/publish.html",
    context=_before_publishing,
)
NEXT_DRAFT = Action(
    name="new-draft",
    label=NEW_DRAFT.label,
    run=lambda version, person, _values: catalog.new_draft(version.offering, actor=person),
    shown=lambda person, version: not version.is_draft and NEW_DRAFT.shown(person, version.offering),
    done=NEW_DRAFT.done,
)
RETIRE_PLAN = Action(
    name="retire-plan",
    label="Retire a plan",
    run=_retire_plan,
    shown=_can_retire_plan,
    done="The plan takes no new orders.",
    question="Nobody can order the plan any more; what was delivered with it stays.",
    form=RetirePlanForm,
)


def authors_of(version: OfferingVersion) -> list[str]:
    """Name everyone who wrote in `version`."""
    return [str(person) for person in Person.objects.filter(pk__in=version.author_ids).order_by("name")]


@admin.register(OfferingVersion)
class VersionAdmin(ServiceAdmin):
    """What exactly is promised. A draft is written here; what is published is only shown."""

    form = VersionForm
    inlines = (PlanInline, StepInline)
    object_actions = (PUBLISH, NEXT_DRAFT, RETIRE_PLAN)
    list_display = ("offering", "number", "state_shown", "written_by", "published_by", "published_at")
    list_filter = ("state",)
    list_select_related = ("offering", "published_by")
    search_fields = ("name", "offering__slug")
    ordering = ("offering__slug", "-number")
    readonly_fields = (
        "offering_shown",
        "state_shown",
        "written_by",
        "published",
        "plain_schema",
        "preview",
        "connectors",
        "nameable",
    )

    def get_queryset(self, request: HttpRequest) -> QuerySet:
        """Leave the frozen document where it is: it repeats the rest."""
        return super().get_queryset(request).defer("document")

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Versions begin as the draft of a new offering, or by “Make a new draft”."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Write in drafts alone."""
        return may_write(request.user, obj)

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Go from what people read to how it is made."""
        writes = self.has_change_permission(request, obj)
        levels = ("promised_delivery_seconds", "promised_availability")
        return [
            (None, {"fields": ("offering_shown", "state_shown", "written_by", "published")}),
            ("What business users see", {"fields": ("name", "summary", "description")}),
            ("Form", {"fields": ("preview", "parameters_schema" if writes else "plain_schema")}),
            (
                "Price",
                {"fields": (), "description": "What each size costs. Amounts of the order form's choices come on top."},
            ),
            ("Policy", {"fields": ("terms", "purposes", "data_classes", levels)}),
            ("Fulfillment", {"fields": ("connectors", "nameable") if writes else ()}),
        ]

    def save(self, row: Any, form: Any, person: Any, *, change: bool) -> OfferingVersion:
        """Write what was changed into the draft; who changes nothing is no author."""
        if not form.changed_data:
            return row
        changed = {name: form.cleaned_data[name] for name in form.changed_data}
        return catalog.save_draft(row, actor=person, **changed)

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Offer one way to save."""
        context["show_save_and_continue"] = False
        return super().render_change_form(request, context, *args, **kwargs)

    def response_change(self, request: HttpRequest, obj: Any) -> HttpResponse:
        """Stay with the draft, with what it still lacks."""
        lacking = catalog.missing(obj)
        self.message_user(
            request,
            "The draft is saved. "
            + ("Missing: " + " ".join(lacking) if lacking else "Nothing is missing: somebody else can publish it."),
        )
        return redirect("admin:catalog_offeringversion_change", obj.pk)

    def get_urls(self) -> Any:
        """Add the preview."""
        view = self.admin_site.admin_view(self.preview_view)
        return [path("<path:object_id>/preview/", view, name="catalog_offeringversion_preview"), *super().get_urls()]

    def preview_view(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Show the offering's page as a business user would see it, from what is saved."""
        version = self.get_object(request, object_id)
        if version is None or not self.has_view_permission(request, version):
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        plans = list(version.plans.prefetch_related("prices"))
        currency = next((price.currency for plan in plans for price in plan.prices.all()), "")
        context = {
            "version": version,
            "offering": version.offering,
            "plans": plans,
            "form_fields": parameters.fields(version.parameters_schema, currency=currency),
        }
        return TemplateResponse(request, "admin/catalog/offeringversion/preview.html", context)

    @admin.display(description="offering")
    def offering_shown(self, version: OfferingVersion) -> SafeString:
        """Lead to the offering."""
        url = reverse("admin:catalog_offering_change", args=[version.offering_id])
        return format_html('<a href="{}">{}</a>, version {}', url, version.offering, version.number)

    @admin.display(description="state", ordering="state")
    def state_shown(self, version: OfferingVersion) -> SafeString:
        """Show the state as a badge."""
        return badge(version.state, version.get_state_display())

    @admin.display(description="written by")
    def written_by(self, version: OfferingVersion) -> str:
        """Name everyone who wrote in it."""
        return ", ".join(authors_of(version))

    @admin.display(description="published")
    def published(self, version: OfferingVersion) -> str:
        """Say by whom and when."""
        if not version.published_at:
            return "Not yet. Somebody who wrote nothing of it can publish it."
        return f"by {version.published_by} on {version.published_at:%Y-%m-%d at %H:%M} UTC"

    @admin.display(description="order form")
    def plain_schema(self, version: OfferingVersion) -> SafeString:
        """Show the form's schema where it cannot be changed."""
        text = json.dumps(version.parameters_schema, indent=2, ensure_ascii=False)
        return format_html('<pre class="json" tabindex="0">{}</pre>', text)

    @admin.display(description="preview")
    def preview(self, version: OfferingVersion) -> SafeString:
        """Lead to the preview."""
        url = reverse("admin:catalog_offeringversion_preview", args=[version.pk])
        return format_html('<a href="{}">Preview as user</a>', url)

    @admin.display(description="inputs that each connector takes")
    def connectors(self, version: OfferingVersion) -> SafeString:
        """List the connectors with what they take."""
        return format_html_join(
            "",
            '<div class="line"><b>{}</b> {}</div>',
            ((name, ", ".join(declared["inputs"]) or "none") for name, declared in settings.CONNECTORS.items()),
        )

    @admin.display(description="what a step may name")
    def nameable(self, version: OfferingVersion) -> SafeString:
        """List what inputs and conditions may take, for the last of the steps."""
        return format_html_join(
            "",
            '<div class="line"><b>{}</b> {}</div>',
            ((root, ", ".join(names) or "nothing yet") for root, names in catalog.nameable(version).items()),
        )
