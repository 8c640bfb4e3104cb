"""The catalog: the grid of services, and the page on which one is read about, priced and ordered."""

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import Any
from uuid import uuid4

from django.contrib.auth.decorators import login_required
from django.db.models import Count, FloatField, IntegerField, Value
from django.db.models.functions import Coalesce
from django.http import HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.utils.cache import get_conditional_response
from django.views.decorators.http import require_safe
from django.views.decorators.vary import vary_on_headers

import catalog.services as catalog
from accounts.models import CostCenter, SignedInRequest
from catalog.models import Category, DataClass, Offering, OfferingQuerySet, OfferingVersion, Plan, Purpose
from catalog.services.quotes import plan_document
from core import money, parameters
from core.models import StoredFile
from core.pages import page_of
from core.parameters import Choice, Field
from core.templatetags.greenlane import duration

PAGE_SIZE = 24
MAX_QUERY = 200
# Names of the form's own fields and of an offering's are kept apart, whatever a curator calls his.
PREFIX = "p-"
NEVER = 1e12  # seconds: sorts what was never delivered behind all that was

SORTS: dict[str, tuple[str, tuple[str, ...]]] = {
    "best": ("Best match", ("-rank", "name", "slug")),
    "popular": ("Most ordered", ("-ordered", "name", "slug")),
    "fast": ("Fastest", ("seconds", "name", "slug")),
    "price": ("Lowest price", ("price", "name", "slug")),
    "name": ("Name", ("name", "slug")),
}


def _published(person: Any) -> OfferingQuerySet:
    """Offerings that have a page for `person`: what he may order or look at, paused ones too."""
    return Offering.objects.visible_to(person).filter(current_version__isnull=False)


@login_required
@require_safe
@vary_on_headers("HX-Request")
def offering_list(request: SignedInRequest) -> HttpResponse:
    """Show the grid, or, to htmx, what the changed filters leave of it."""
    query = " ".join(request.GET.get("q", "")[:MAX_QUERY].split())
    chosen = request.GET.getlist("category")
    pre_authorized = request.GET.get("pre_authorized") in {"1", "true"}
    sorts = {name: label for name, (label, _) in SORTS.items() if query or name != "best"}
    sort = request.GET.get("sort", "")
    sort = sort if sort in sorts else next(iter(sorts))
    shown = _published(request.user).search(query)
    if chosen:
        shown = shown.filter(category__slug__in=chosen)
    if pre_authorized:
        shown = shown.filter(pre_authorized=True)
    shown = shown.annotate(
        ordered=Coalesce("figures__delivered", Value(0), output_field=IntegerField()),
        seconds=Coalesce("figures__usual_seconds", Value(NEVER), output_field=FloatField()),
        price=Coalesce("from_price", Value(Decimal(0))),
    ).select_related("category", "figures")
    page = page_of(shown, request, SORTS[sort][1], PAGE_SIZE)
    context = {
        "offerings": page.rows,
        "previous_url": page.previous_url,
        "next_url": page.next_url,
        "q": query,
        "filtered": bool(query or chosen or pre_authorized),
    }
    if request.htmx:  # type: ignore[attr-defined]
        return render(request, "catalog/offering_list.html#results", context)
    context |= {
        "categories": _categories(request.user, chosen),
        "pre_authorized": pre_authorized,
        "sorts": sorts.items(),
        "sort": sort,
    }
    return render(request, "catalog/offering_list.html", context)


def _categories(person: Any, chosen: list[str]) -> list[dict[str, Any]]:
    """Give the shelves that hold something for `person`, with how much."""
    counts = dict(_published(person).order_by().values_list("category").annotate(count=Count("pk")))
    return [
        {"slug": shelf.slug, "name": shelf.name, "count": counts[shelf.pk], "selected": shelf.slug in chosen}
        for shelf in Category.objects.filter(pk__in=counts)
    ]


@dataclass(frozen=True)
class Entered:
    """What somebody typed into an order form, as it was sent."""

    parameters: dict[str, Any] | None = None
    plan: str = ""
    name: str = ""
    cost_center: str = ""
    purpose: str = ""
    data_classification: str = ""
    terms_hash: str = ""
    idempotency_key: str = ""
    errors: Mapping[str, str] = field(default_factory=dict)


def entered(version: OfferingVersion, sent: QueryDict) -> Entered:
    """Read what a browser sent of the order form of `version`; judges nothing."""
    return Entered(
        parameters=parameters.parse(version.promised["form"], sent, PREFIX),
        plan=sent.get("plan", ""),
        name=" ".join(sent.get("name", "").split()),
        cost_center=sent.get("cost_center", ""),
        purpose=sent.get("purpose", ""),
        data_classification=sent.get("data_classification", ""),
        terms_hash=sent.get("terms_hash", "") if sent.get("accept") == "on" else "",
        idempotency_key=sent.get("idempotency_key", ""),
    )


def offering_of(person: Any, slug: str) -> Offering:
    """Give the published offering `slug`, where `person` may see it. Raises Http404."""
    return get_object_or_404(_published(person).select_related("category", "current_version", "figures"), slug=slug)


@login_required
@require_safe
def offering_detail(request: SignedInRequest, slug: str) -> HttpResponse:
    """Show what one service is, what it costs, and the form that orders it."""
    return offering_page(request, offering_of(request.user, slug), Entered(idempotency_key=str(uuid4())))


def offering_page(
    request: SignedInRequest, offering: Offering, form: Entered, *, status: int = 200, **extra: Any
) -> HttpResponse:
    """Show the page of `offering` with the order form as it was filled in, and what is wrong with it."""
    version = offering.published
    plans = _plans(version)
    cost_centers = list(CostCenter.objects.usable_by(request.user))
    closed = _why_closed(offering, plans, cost_centers, request.user)
    context = {
        "offering": offering,
        "version": version,
        "facts": _facts(offering),
        "closed": closed,
        "idempotency_key": form.idempotency_key,
        **extra,
    }
    if not closed:
        plan = _chosen(plans, form.plan)
        shown = _form_fields(plans, plan, cost_centers, form)
        accept = _accept_field(form, version)
        context |= {
            "form_fields": shown,
            "terms_field": accept,
            "errors": parameters.problems([*shown, accept], form.errors),
            **_quoted(offering, plan, form.parameters or {}),
        }
    return render(request, "catalog/offering_detail.html", context, status=status)


def _plans(version: OfferingVersion) -> list[Plan]:
    return list(version.plans.filter(retired_at__isnull=True))


def _why_closed(offering: Offering, plans: list[Plan], cost_centers: list[CostCenter], person: Any) -> str:
    """Say why `person` cannot order this now; nothing where he can."""
    if offering.paused_reason:
        return offering.paused_reason
    if not plans:
        return "None of its plans is offered at the moment."
    if not person.has_perm("orders.place_order"):
        return "You may read about it. To order it, you need the role of a business user."
    if not Offering.objects.entitled(person).filter(pk=offering.pk).exists():
        return "Your business unit has not been given this service. Your IT admins can change that."
    if not cost_centers:
        return "There is no cost center on which you may order. Your platform admin can change that."
    return ""


def _chosen(plans: list[Plan], plan_id: str) -> Plan:
    return next((plan for plan in plans if str(plan.pk) == plan_id), plans[0])


def _facts(offering: Offering) -> list[tuple[str, str]]:
    """Give the four facts that people decide by."""
    version, usual = offering.published, _usual_seconds(offering)
    promised, availability = version.promised_delivery_seconds, version.promised_availability
    classes = [str(DataClass(name).label).lower() for name in DataClass.values if name in version.data_classes]
    return [
        ("Usually ready in", duration(usual) if usual else "No record yet"),
        ("Promised, for 95 %", duration(promised) if promised else "No promise"),
        ("Availability", f"{availability.normalize():f} %" if availability is not None else "No promise"),
        ("For this data", ", ".join(classes).capitalize()),
    ]


def _usual_seconds(offering: Offering) -> float | None:
    """Give the median delivery time, where there is a record."""
    figures = getattr(offering, "figures", None)
    return figures.usual_seconds if figures else None


def _form_fields(plans: list[Plan], chosen: Plan, cost_centers: list[CostCenter], form: Entered) -> list[Field]:
    """Give the fields of the order form: the name, the plan, the offering's own, and who pays for what."""
    version, errors = chosen.version, form.errors
    schema = version.promised["form"]
    own = {pointer.removeprefix("/parameters"): text for pointer, text in errors.items() if "/parameters" in pointer}
    currency = catalog.quote(chosen, parameters.defaults(schema)).currency
    return [
        Field(
            "name",
            "f-name",
            "Name",
            "text",
            hint="So that you and others know it again. 2 to 60 letters, digits, spaces, dots or hyphens.",
            required=True,
            value=form.name,
            error=errors.get("/name", ""),
            attrs={"maxlength": "60"},
        ),
        pick("plan", "Plan", [plan_choice(plan) for plan in plans], str(chosen.pk), errors, kind="radios"),
        *parameters.fields(schema, form.parameters, own, PREFIX, currency),
        pick(
            "cost_center",
            "Cost center",
            [Choice(one.code, str(one)) for one in cost_centers],
            form.cost_center,
            errors,
            hint="It pays for this service.",
        ),
        pick(
            "purpose",
            "Purpose",
            [Choice(name, str(Purpose(name).label)) for name in Purpose.values if name in version.purposes],
            form.purpose,
            errors,
        ),
        pick(
            "data_classification",
            "Most confidential data in it",
            [Choice(name, str(DataClass(name).label)) for name in DataClass.values if name in version.data_classes],
            form.data_classification,
            errors,
        ),
    ]


def pick(
    name: str,
    label: str,
    choices: list[Choice],
    value: str,
    errors: Mapping[str, str],
    *,
    kind: str = "select",
    hint: str = "",
) -> Field:
    """Give a field with one of `choices`; the first one where `value` is none of them."""
    taken = value if value in {choice.value for choice in choices} else choices[0].value
    return Field(
        name,
        f"f-{name}",
        label,
        kind,
        hint=hint,
        required=True,
        value=taken,
        error=errors.get(f"/{name}", ""),
        choices=[replace(choice, selected=choice.value == taken) for choice in choices],
    )


def plan_choice(plan: Plan) -> Choice:
    """Give a plan as one of the choices of a form, with its price."""
    return Choice(str(plan.pk), plan.name, hint=plan.description, price=_prices(plan))


def _prices(plan: Plan) -> str:
    """Say what a plan costs: "$38.00 a month, $10.00 once"."""
    units = {"monthly": "a month", "one_off": "once"}
    parts = [
        f"{money.format_amount(Decimal(price['amount']), price['currency'], exact=True)} "
        + units.get(price["kind"], f"per {price['unit']}")
        for kind in ("monthly", "one_off", "per_use")
        for price in plan_document(plan)["prices"]
        if price["kind"] == kind and (Decimal(price["amount"]) or kind == "per_use")
    ]
    return ", ".join(parts) or "Free"


def _accept_field(form: Entered, version: OfferingVersion) -> Field:
    """Give the box that accepts the terms; it stays ticked only where it was for the text that is shown."""
    return Field(
        "accept",
        "f-accept",
        "I have read the terms of use and accept them",
        "checkbox",
        required=True,
        value=form.terms_hash == version.terms_hash,
        error=form.errors.get("/terms_hash", ""),
    )


def _quoted(offering: Offering, plan: Plan, values: dict[str, Any]) -> dict[str, Any]:
    """Price what is chosen so far: an entry that is wrong counts with its default."""
    schema = plan.version.promised["form"]
    cleaned, wrong = parameters.clean(schema, values)
    if wrong:
        bad = {pointer.split("/")[1] for pointer in wrong if pointer}
        kept = {name: value for name, value in values.items() if name not in bad}
        cleaned, wrong = parameters.clean(schema, kept)
    quote = catalog.quote(plan, parameters.defaults(schema) if wrong else cleaned)
    return {"quote": quote, **_announced(offering)}


def _announced(offering: Offering) -> dict[str, str]:
    """Say before the button is pressed whether anybody has to approve."""
    if not offering.pre_authorized:
        return {"outcome": "needs_approval", "message": "Needs approval before it is delivered."}
    usual = _usual_seconds(offering)
    ready = f" Usually ready in {duration(usual)}." if usual else ""
    return {"outcome": "allowed", "message": f"Pre-authorized: no approval needed.{ready}"}


@login_required
@require_safe
def offering_quote(request: SignedInRequest, slug: str) -> HttpResponse:
    """Show the price of what is chosen so far; changes nothing."""
    offering = offering_of(request.user, slug)
    plans = _plans(offering.published)
    if not plans:
        return HttpResponse(status=204)
    form = entered(offering.published, request.GET)
    quoted = _quoted(offering, _chosen(plans, form.plan), form.parameters or {})
    return render(request, "catalog/offering_detail.html#quote", quoted)


@login_required
@require_safe
def offering_picture(request: SignedInRequest, slug: str) -> HttpResponse:
    """Serve the picture of an offering; a browser that has it asks whether it is still the one."""
    offerings = Offering.objects.visible_to(request.user).filter(slug=slug)
    picture = get_object_or_404(StoredFile, offering__in=offerings)
    etag = f'"{picture.sha256}"'
    response = HttpResponse(bytes(picture.content), content_type=picture.content_type)
    response["ETag"], response["Cache-Control"] = etag, "private, max-age=600"
    return get_conditional_response(request, etag=etag, response=response) or response
