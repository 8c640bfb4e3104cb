"""Draft offerings out of a service broker's catalog (OSB API 2.17). It drafts; people publish.

What was imported last is kept as an event with a digest of each part. A part is written again only where the
broker's own has changed since, so that what a curator made of a draft stays.
"""

from dataclasses import asdict, dataclass, field
from typing import Any

from django.db import transaction

import catalog.services as catalog
from catalog.models import BackEnd, Category, Offering, OfferingVersion, Plan, Price, WorkflowStep
from core import events, secrets
from core.models import Event
from core.permissions import require
from core.problems import Conflict, Invalid
from provisioning.connectors import base, osb_client
from provisioning.services import broker_catalog
from provisioning.services.broker_catalog import PlanFound, ServiceFound

CONNECTOR = "osb"
IMPORTED = "offering.imported"
MAX_SENTENCE = 500
# What the catalog says of a step; a curator's other inputs stay.
OURS = ("service_id", "instances_retrievable", "parameter_names")


@dataclass
class Imported:
    """What came of an import: slugs of offerings, and sentences on what could not be taken over."""

    created: list[str] = field(default_factory=list)
    updated: list[str] = field(default_factory=list)
    unchanged: list[str] = field(default_factory=list)
    problems: list[str] = field(default_factory=list)


def import_catalog(back_end: BackEnd, *, category: Category, service_owner: Any, actor: Any) -> Imported:
    """Fetch the catalog of the broker `back_end` and bring one draft offering a service in line with it.

    New offerings go to `category` and belong to `service_owner`; those imported before are found by the service's
    id and keep theirs. Nothing is published. One call of the network, before any transaction. Raises Conflict
    where the catalog cannot be had.
    """
    require(actor, "catalog.add_offering")
    require(actor, "catalog.change_offeringversion")
    body = _fetched(back_end)
    services, problems = broker_catalog.read(body)
    imported = Imported(problems=problems)
    for service in services:
        try:
            outcome, slug = _import(back_end, service, category=category, service_owner=service_owner, actor=actor)
        except (Invalid, Conflict) as refused:
            imported.problems.append(f"{service.name} is left as it was: {refused}")
            continue
        getattr(imported, outcome).append(slug)
        imported.problems += [f"{service.name}: {problem}" for problem in service.problems]
    imported.problems += _gone(back_end, {service.id for service in services})
    # They name what the broker calls things: shown on pages and terminals, one line each.
    imported.problems = [broker_catalog.line(problem, MAX_SENTENCE) for problem in imported.problems]
    return imported


def _fetched(back_end: BackEnd) -> dict[str, Any]:
    if back_end.connector != CONNECTOR:
        raise Conflict("no-broker", f"{back_end} is no service broker.")
    try:
        row, credentials = catalog.opened(back_end.slug)
        known = base.BackEnd(slug=row.slug, address=row.address, config=row.config, credentials=credentials)
        return osb_client.fetch_catalog(known)
    except LookupError as error:
        raise Conflict("no-broker", f"There is no back end “{back_end.slug}”.") from error
    except secrets.Unreadable as error:
        raise Conflict(
            "credentials-unreadable", "The broker's credentials cannot be read; enter them again."
        ) from error
    except (base.Failed, base.Retry) as error:
        raise Conflict("broker-unavailable", f"The catalog of {back_end} could not be fetched: {error}") from error


@transaction.atomic
def _import(
    back_end: BackEnd, service: ServiceFound, *, category: Category, service_owner: Any, actor: Any
) -> tuple[str, str]:
    """Bring one offering in line; give what came of it and its slug."""
    offering = _offering_of(back_end, service)
    outcome = "updated" if offering else "created"
    offering = offering or catalog.add_offering(
        slug=_free_slug(back_end, service),
        name=service.name,
        category=category,
        service_owner=service_owner,
        actor=actor,
    )
    digests, before = _digests(service), _last_digests(offering)
    changed = {part for part in {*digests, *before} if digests.get(part) != before.get(part)}
    if not changed:
        return "unchanged", offering.slug
    _write(_draft_of(offering, actor), back_end, service, changed, actor)
    events.record(IMPORTED, offering, actor=actor, back_end=back_end.slug, service_id=service.id, digests=digests)
    return outcome, offering.slug


def _steps_of(back_end: BackEnd) -> Any:
    return WorkflowStep.objects.filter(connector=CONNECTOR, back_end=back_end.slug)


def _offering_of(back_end: BackEnd, service: ServiceFound) -> Offering | None:
    """Find the offering that was imported for a service: by the broker's id alone, whatever it is called."""
    step = (
        _steps_of(back_end)
        .filter(inputs__service_id=service.inputs["service_id"])
        .select_related("version__offering")
        .order_by("version__offering__created_at", "-version__number")
        .first()
    )
    return step.version.offering if step else None


def _free_slug(back_end: BackEnd, service: ServiceFound) -> str:
    """Give a slug for a new offering: the service's name, with the broker's where that is taken."""
    longer = broker_catalog.slug_of(f"{service.slug[:30]}-{back_end.slug}", longest=50)
    taken = set(Offering.objects.filter(slug__in=[service.slug, longer]).values_list("slug", flat=True))
    return service.slug if service.slug not in taken else longer


def _digests(service: ServiceFound) -> dict[str, str]:
    """Give a digest of each part of what the broker says."""
    step = {"inputs": service.inputs, "timeout_seconds": service.timeout_seconds}
    parts: dict[str, Any] = {
        "texts": [service.name, service.summary, service.description],
        "form": service.form.schema,
        "step": step,
        **{f"plan {plan.id}": asdict(plan) for plan in service.plans},
    }
    return {name: catalog.hash_of(part) for name, part in parts.items()}


def _last_digests(offering: Offering) -> dict[str, str]:
    last = Event.objects.filter(name=IMPORTED, subject_id=offering.pk).order_by("-id").first()
    return dict(last.facts.get("digests", {})) if last else {}


def _draft_of(offering: Offering, actor: Any) -> OfferingVersion:
    draft = offering.versions.filter(state=OfferingVersion.State.DRAFT).first()
    return draft or catalog.new_draft(offering, actor=actor)


# --- writing the changed parts ----------------------------------------------------------------------


def _write(draft: OfferingVersion, back_end: BackEnd, service: ServiceFound, changed: set[str], actor: Any) -> None:
    fields: dict[str, Any] = {}
    if "texts" in changed:
        fields |= {"name": service.name, "summary": service.summary, "description": service.description}
    if "form" in changed:
        fields["parameters_schema"] = service.form.schema
    if fields:
        catalog.save_draft(draft, actor=actor, **fields)
    kept = {plan.id for plan in service.plans}
    for part in sorted(changed):
        if part.startswith("plan ") and part.removeprefix("plan ") not in kept:
            _remove_plan(draft, part.removeprefix("plan "), actor)
    for position, plan in enumerate(service.plans):
        if f"plan {plan.id}" in changed:
            _write_plan(draft, plan, position, actor)
    if "step" in changed:
        _write_step(draft, back_end, service, actor)


def _plan_in(draft: OfferingVersion, plan_id: str) -> Plan | None:
    return draft.plans.filter(limits__plan_id=broker_catalog.literal(plan_id)).first()


def _remove_plan(draft: OfferingVersion, plan_id: str, actor: Any) -> None:
    plan = _plan_in(draft, plan_id)
    if plan:
        catalog.remove_part(plan, actor=actor)


def _write_plan(draft: OfferingVersion, found: PlanFound, position: int, actor: Any) -> None:
    plan = _plan_in(draft, found.id)
    if plan is None:
        slug = found.slug
        while draft.plans.filter(slug=slug).exists():
            slug = f"{slug[:45]}-2"
        plan = Plan(version=draft, slug=slug, position=position)
    plan.name, plan.description, plan.limits = found.name, found.description, found.limits
    catalog.save_part(plan, actor=actor)
    wanted = {(price.kind, price.unit): price for price in found.prices}
    for row in plan.prices.all():
        if (row.kind, row.unit) not in wanted:
            catalog.remove_part(row, actor=actor)
    for (kind, unit), price in wanted.items():
        row = plan.prices.filter(kind=kind, unit=unit).first() or Price(plan=plan, kind=kind, unit=unit)
        row.amount, row.currency = price.amount, price.currency
        catalog.save_part(row, actor=actor)


def _write_step(draft: OfferingVersion, back_end: BackEnd, service: ServiceFound, actor: Any) -> None:
    known = _steps_of(back_end).filter(version=draft, inputs__service_id=service.inputs["service_id"]).first()
    step = known or WorkflowStep(
        version=draft,
        position=draft.workflow_steps.count(),
        name=f"Setting up {service.name}"[:80],
        connector=CONNECTOR,
        back_end=back_end.slug,
        when="",
        on_failure=WorkflowStep.OnFailure.UNDO,
    )
    kept = {name: value for name, value in step.inputs.items() if name not in OURS}
    step.inputs = kept | service.inputs
    step.timeout_seconds = service.timeout_seconds
    catalog.save_part(step, actor=actor)


def _gone(back_end: BackEnd, ids: set[str]) -> list[str]:
    """Say which offerings stand for services that the broker no longer lists."""
    literal = {broker_catalog.literal(known) for known in ids}
    left = {
        step.version.offering.slug
        for step in _steps_of(back_end).filter(version__current_of__isnull=False).select_related("version__offering")
        if step.inputs.get("service_id") not in literal
    }
    return [f"The broker no longer lists the service of {slug}; retire it or look into it." for slug in sorted(left)]
