"""How an offering comes to be, is published, paused and retired."""

from typing import Any

from django.contrib.auth.models import Permission
from django.contrib.postgres.search import SearchVector
from django.core.exceptions import ValidationError
from django.db import transaction
from django.db.models import Value
from django.utils import timezone

from accounts.models import BusinessUnit
from catalog.models import (
    Category,
    Offering,
    OfferingGroupObjectPermission,
    OfferingVersion,
    Plan,
    Price,
    WorkflowStep,
)
from catalog.services.documents import document_of, hash_of, hash_of_text
from catalog.services.workflows import check_step, workflow_problems
from core import events, money, parameters
from core.permissions import require
from core.problems import Conflict, Invalid
from core.states import move

DRAFT_FIELDS = (
    "name",
    "summary",
    "description",
    "parameters_schema",
    "terms",
    "purposes",
    "data_classes",
    "promised_delivery_seconds",
    "promised_availability",
)
Part = Plan | Price | WorkflowStep


@transaction.atomic
def add_offering(
    *, slug: str, name: str, category: Category, service_owner: Any, icon: str = "", actor: Any
) -> Offering:
    """Open an offering with an empty first draft. Raises Invalid for a bad or used slug."""
    require(actor, "catalog.add_offering")
    offering = Offering(slug=slug, name=name, category=category, service_owner=service_owner, icon=icon)
    _clean(offering)
    offering.save()
    events.record("offering.added", offering, actor=actor, slug=slug)
    OfferingVersion.objects.create(
        offering=offering,
        number=1,
        name=name,
        created_by=actor,
        author_ids=[actor.pk],
        parameters_schema={"type": "object", "properties": {}},
    )
    return offering


@transaction.atomic
def change_offering(offering: Offering, *, category: Category, service_owner: Any, icon: str, actor: Any) -> Offering:
    """Move an offering to another shelf, owner or icon. What is promised changes only by a new version."""
    require(actor, "catalog.change_offering", offering)
    offering.category, offering.service_owner, offering.icon = category, service_owner, icon
    _clean(offering)
    offering.save(update_fields=["category", "service_owner", "icon"])
    events.record("offering.changed", offering, actor=actor, category=category.slug, owner=service_owner.username)
    return offering


@transaction.atomic
def new_draft(offering: Offering, *, actor: Any) -> OfferingVersion:
    """Start the next version as a copy of the latest. Raises Conflict where a draft is open."""
    require(actor, "catalog.add_offeringversion")
    Offering.objects.select_for_update().get(pk=offering.pk)
    latest = offering.versions.order_by("-number").first()
    if latest is None or latest.is_draft:
        raise Conflict("draft-open", f"{offering} has an open draft already; change that one.")
    fields = {name: getattr(latest, name) for name in DRAFT_FIELDS}
    draft = OfferingVersion.objects.create(
        offering=offering, number=latest.number + 1, created_by=actor, author_ids=[actor.pk], **fields
    )
    _copy_parts(latest, draft)
    events.record("offeringversion.drafted", draft, actor=actor, number=draft.number)
    return draft


def _copy_parts(source: OfferingVersion, draft: OfferingVersion) -> None:
    for plan in source.plans.filter(retired_at__isnull=True).prefetch_related("prices"):
        prices = list(plan.prices.all())
        copy = Plan.objects.create(
            version=draft,
            slug=plan.slug,
            name=plan.name,
            description=plan.description,
            limits=plan.limits,
            position=plan.position,
        )
        for price in prices:
            price.pk, price.plan, price._state.adding = None, copy, True
        Price.objects.bulk_create(prices)
    steps = list(source.workflow_steps.all())
    for step in steps:
        step.pk, step.version, step._state.adding = None, draft, True
    WorkflowStep.objects.bulk_create(steps)


@transaction.atomic
def save_draft(version: OfferingVersion, *, actor: Any, **fields: Any) -> OfferingVersion:
    """Write `fields` (of DRAFT_FIELDS) into a draft. Raises Invalid with the pointer of what is wrong."""
    require(actor, "catalog.change_offeringversion", version)
    _sign_as_author(version, actor)
    for name, value in fields.items():
        if name not in DRAFT_FIELDS:
            raise Invalid({f"/{name}": "This cannot be changed in a draft."})
        setattr(version, name, value)
    problems = parameters.check_schema(version.parameters_schema)
    if problems:
        raise Invalid({f"/parameters_schema{problem.pointer}": problem.message for problem in problems})
    version.purposes, version.data_classes = sorted(set(version.purposes)), sorted(set(version.data_classes))
    _clean(version)
    version.save()
    if not version.offering.current_version_id:
        Offering.objects.filter(pk=version.offering_id).update(name=version.name, summary=version.summary)
    events.record("offeringversion.changed", version, actor=actor, fields=sorted(fields))
    return version


@transaction.atomic
def save_part(part: Part, *, actor: Any) -> Part:
    """Add or change a plan, price or workflow step of a draft. Raises Invalid with the field's pointer."""
    version = part.plan.version if isinstance(part, Price) else part.version
    require(actor, "catalog.change_offeringversion", version)
    _sign_as_author(version, actor)
    if isinstance(part, Price):
        _check_price(part)
    elif isinstance(part, WorkflowStep):
        check_step(part)
    elif not isinstance(part.limits, dict):
        raise Invalid({"/limits": "Limits must be a JSON object."})
    _clean(part)
    part.save()
    events.record("offeringversion.changed", version, actor=actor, part=part._meta.model_name, what=str(part))
    return part


@transaction.atomic
def remove_part(part: Part, *, actor: Any) -> None:
    """Take a plan, price or workflow step out of a draft."""
    version = part.plan.version if isinstance(part, Price) else part.version
    require(actor, "catalog.change_offeringversion", version)
    _sign_as_author(version, actor)
    events.record("offeringversion.changed", version, actor=actor, removed=part._meta.model_name, what=str(part))
    part.delete()


def _sign_as_author(version: OfferingVersion, actor: Any) -> None:
    """Lock the draft and write `actor` among those who may not publish it. Raises Conflict where it is frozen."""
    row = OfferingVersion.objects.select_for_update().only("state", "author_ids").get(pk=version.pk)
    if not row.is_draft:
        raise Conflict("frozen", f"{version} is published and cannot change. Make a new draft.")
    if actor.pk not in row.author_ids:
        OfferingVersion.objects.filter(pk=version.pk).update(author_ids=[*row.author_ids, actor.pk])
    version.author_ids = sorted({*row.author_ids, actor.pk})


def _check_price(price: Price) -> None:
    if not money.is_currency(price.currency):
        raise Invalid({"/currency": f"{price.currency} is not a currency code such as USD."})
    if price.kind == Price.Kind.PER_USE:
        if not price.unit:
            raise Invalid({"/unit": "Say what is counted, for example GiB."})
        return
    try:
        price.amount = money.parse_amount(str(price.amount), price.currency)
    except ValueError as error:
        raise Invalid({"/amount": str(error)}) from error


def missing(version: OfferingVersion) -> list[str]:
    """List what a draft lacks before it can be published, as sentences."""
    plans = list(version.plans.prefetch_related("prices"))
    currencies = {price.currency for plan in plans for price in plan.prices.all()}
    does_something = version.workflow_steps.filter(operation=WorkflowStep.Operation.START).exists()
    checks = [
        (version.name and version.summary, "Name and the one line."),
        (version.terms.strip(), "Terms of use."),
        (version.purposes, "At least one allowed purpose."),
        (version.data_classes, "At least one allowed class of data."),
        (plans, "At least one plan."),
        (
            all(plan.prices.all() for plan in plans),
            "A price for each plan; a free plan has a monthly price of 0.",
        ),
        (len(currencies) <= 1, "One currency for all prices."),
        (does_something, "At least one workflow step that does something."),
    ]
    return [sentence for done, sentence in checks if not done] + workflow_problems(version)


@transaction.atomic
def publish(version: OfferingVersion, *, actor: Any) -> OfferingVersion:
    """Freeze a draft and offer it. Raises Conflict for what is missing or where an author publishes."""
    offering = Offering.objects.select_for_update().get(pk=version.offering_id)
    version = OfferingVersion.objects.select_for_update().select_related("offering").get(pk=version.pk)
    if actor.pk in version.author_ids:
        raise Conflict("four-eyes", "You wrote in this draft, so another IT admin has to publish it.")
    require(actor, "catalog.publish_offeringversion", version)
    lacking = missing(version)
    if lacking:
        raise Conflict("incomplete", "Not ready to publish. Missing: " + " ".join(lacking))
    document = document_of(version)
    previous = offering.current_version
    if previous:
        move(previous, OfferingVersion.State.SUPERSEDED, actor=actor)
    content_hash = hash_of(document)
    move(
        version,
        OfferingVersion.State.PUBLISHED,
        actor=actor,
        content_hash=content_hash,
        values={
            "document": document,
            "content_hash": content_hash,
            "terms_hash": hash_of_text(version.terms),
            "published_by": actor,
            "published_at": timezone.now(),
        },
    )
    _show(offering, version)
    return version


def _show(offering: Offering, version: OfferingVersion) -> None:
    """Copy what the grid and the search show of `version` to its offering."""
    prices = Price.objects.filter(plan__version=version).order_by("amount")
    cheapest = next(
        (
            price
            for kind in (Price.Kind.MONTHLY, Price.Kind.ONE_OFF, Price.Kind.PER_USE)
            for price in prices
            if price.kind == kind
        ),
        None,
    )
    offering.current_version, offering.name, offering.summary = version, version.name, version.summary
    offering.from_price = cheapest.amount if cheapest else None
    offering.from_kind, offering.currency = (cheapest.kind, cheapest.currency) if cheapest else ("", "")
    offering.retired_at = None
    offering.search_text = f"{version.name} {version.summary} {offering.category.name}"
    offering.save()
    Offering.objects.filter(pk=offering.pk).update(
        search=SearchVector("name", weight="A", config="english")
        + SearchVector("summary", weight="B", config="english")
        + SearchVector(Value(offering.category.name), weight="B", config="english")
        + SearchVector(Value(version.description), weight="D", config="english")
    )


@transaction.atomic
def pause(offering: Offering, reason: str, *, actor: Any) -> None:
    """Take an offering out of new orders at once; who may order it reads why."""
    require(actor, "catalog.pause_offering", offering)
    if not reason.strip():
        raise Invalid({"/reason": "Enter the reason; people who want to order will read it."})
    offering.paused_reason = reason.strip()[:300]
    offering.save(update_fields=["paused_reason"])
    events.record("offering.paused", offering, actor=actor, reason=offering.paused_reason)


@transaction.atomic
def resume(offering: Offering, *, actor: Any) -> None:
    """Offer it again."""
    require(actor, "catalog.pause_offering", offering)
    offering.paused_reason = ""
    offering.save(update_fields=["paused_reason"])
    events.record("offering.resumed", offering, actor=actor)


@transaction.atomic
def retire(offering: Offering, *, actor: Any) -> None:
    """End new orders until somebody publishes a new version; what was delivered stays."""
    require(actor, "catalog.retire_offering", offering)
    offering = Offering.objects.select_for_update().get(pk=offering.pk)
    if offering.current_version:
        move(
            offering.current_version,
            OfferingVersion.State.RETIRED,
            actor=actor,
            values={"retired_at": timezone.now()},
        )
    offering.current_version, offering.retired_at = None, timezone.now()
    offering.save(update_fields=["current_version", "retired_at"])
    events.record("offering.retired", offering, actor=actor)


@transaction.atomic
def retire_plan(plan: Plan, *, actor: Any) -> None:
    """End new orders of one plan; what was delivered with it stays."""
    require(actor, "catalog.change_offering", plan.version.offering)
    Plan.objects.filter(pk=plan.pk, retired_at__isnull=True).update(retired_at=timezone.now())
    events.record("plan.retired", plan, actor=actor, slug=plan.slug)


@transaction.atomic
def entitle(offering: Offering, unit: BusinessUnit, *, actor: Any) -> None:
    """Let the people of `unit`, and of the units within it, order `offering`."""
    require(actor, "catalog.entitle_offering", offering)
    _, made = OfferingGroupObjectPermission.objects.get_or_create(
        content_object=offering, group=unit.group, permission=_order_permission()
    )
    if made:
        events.record("offering.entitled", offering, actor=actor, unit=unit.slug)


@transaction.atomic
def disentitle(offering: Offering, unit: BusinessUnit, *, actor: Any) -> None:
    """Take that back; running orders go on."""
    require(actor, "catalog.entitle_offering", offering)
    gone, _ = OfferingGroupObjectPermission.objects.filter(
        content_object=offering, group=unit.group, permission=_order_permission()
    ).delete()
    if gone:
        events.record("offering.disentitled", offering, actor=actor, unit=unit.slug)


def _order_permission() -> Permission:
    return Permission.objects.get(codename="order_offering", content_type__app_label="catalog")


def _clean(row: Any) -> None:
    """Validate what people may edit of a row; field errors become pointers."""
    fixed = {field.name for field in row._meta.fields if not field.editable}
    try:
        row.full_clean(exclude=fixed)
    except ValidationError as error:
        raise Invalid(
            {f"/{name}" if name != "__all__" else "": " ".join(texts) for name, texts in error.message_dict.items()}
        ) from error
