"""Importing the services that a broker offers: asked for here, done by a worker, watched until it is done."""

from dataclasses import dataclass
from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import OuterRef, Subquery
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_http_methods, require_safe

import provisioning.services as provisioning
from catalog.models import BackEnd, Offering, OfferingVersion
from core.pages import page_of
from core.permissions import require
from core.problems import Invalid
from core.views import see_other
from provisioning.forms import ImportForm
from provisioning.models import BrokerImport
from provisioning.services.catalog_import import CONNECTOR
from provisioning.views.runs import digest

PAGE = "provisioning/backend_import.html"
PAGE_SIZE = 20
INVALID = 422
POLL_SECONDS = 2
# Of one import; the rest stands in the admin.
MOST_LINKS, MOST_PROBLEMS = 20, 100
TONES = {
    BrokerImport.State.QUEUED: "info",
    BrokerImport.State.RUNNING: "info",
    BrokerImport.State.DONE: "ok",
    BrokerImport.State.FAILED: "bad",
}
COUNTED = {"created": "drafted", "updated": "changed", "unchanged": "unchanged"}


@dataclass(frozen=True)
class Row:
    """One import as the list shows it; `tone` and `label` are those of its badge, `drafts` (slug, address) pairs."""

    one: BrokerImport
    tone: str
    label: str
    outcome: str
    drafts: list[tuple[str, str]]
    more_drafts: int
    problems: list[str]
    more_problems: int

    @property
    def notes(self) -> int:
        """How many problems there are."""
        return len(self.problems) + self.more_problems


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
@never_cache
def backend_import(request: HttpRequest, slug: str) -> HttpResponse:
    """Ask which shelf and owner new services get, have a worker import them, and list what came of it so far."""
    back_end = _broker(request.user, slug)
    if request.method != "POST":
        return render(request, PAGE, _context(request, back_end))
    require(request.user, "catalog.add_offering")
    form = ImportForm(request.POST)
    if form.is_valid():
        try:
            provisioning.request_import(back_end, **form.cleaned_data, actor=request.user)
        except Invalid as refusal:
            form.refuse(refusal.errors)
        else:
            return see_other("provisioning:backend_import", slug=slug)
    return render(request, PAGE, _context(request, back_end, form), status=INVALID)


@login_required
@require_safe
@never_cache
def backend_import_live(request: HttpRequest, slug: str) -> HttpResponse:
    """Answer a poll: nothing (204) unless something is new since `seen`."""
    back_end, seen = _broker(request.user, slug), request.GET.get("seen")
    # Only the first page changes; its neighbors are pages, not polls.
    request.GET, request.path = QueryDict(), _address(back_end)
    context = _context(request, back_end)
    if seen == context["seen"]:
        return HttpResponse(status=204)
    return render(request, f"{PAGE}#live_update", context)


def _broker(person: Any, slug: str) -> BackEnd:
    """Give the service broker `slug`, where `person` may look at it. Raises PermissionDenied or Http404."""
    require(person, "catalog.view_backend")
    return get_object_or_404(BackEnd, slug=slug, connector=CONNECTOR)


def _address(back_end: BackEnd) -> str:
    return reverse("provisioning:backend_import", kwargs={"slug": back_end.slug})


def _context(request: HttpRequest, back_end: BackEnd, refused: ImportForm | None = None) -> dict[str, Any]:
    """Give all that the page says: a constant number of queries."""
    imports = BrokerImport.objects.filter(back_end=back_end).select_related("category", "service_owner", "requested_by")
    page = page_of(imports, request, ("-requested_at", "-id"), PAGE_SIZE)
    rows = _rows(page.rows)
    seen = digest([(row.one.pk, row.one.state) for row in rows])
    may_import = request.user.has_perm("catalog.add_offering")
    live = reverse("provisioning:backend_import_live", kwargs={"slug": back_end.slug})
    return {
        "back_end": back_end,
        "rows": rows,
        "previous_url": page.previous_url,
        "next_url": page.next_url,
        "form": (refused or ImportForm(initial=_as_last_time(rows))) if may_import and back_end.is_active else None,
        "may_import": may_import,
        "is_live": any(row.one.state in BrokerImport.OPEN for row in rows),
        "say": f"{rows[0].label}. {rows[0].outcome}" if rows else "",
        "seen": seen,
        "poll_every": POLL_SECONDS,
        "poll_url": f"{live}?{urlencode({'seen': seen})}",
    }


def _as_last_time(rows: list[Row]) -> dict[str, Any]:
    last = rows[0].one if rows else None
    return {"category": last.category_id, "service_owner": last.service_owner_id} if last else {}


def _rows(imports: list[BrokerImport]) -> list[Row]:
    slugs = {slug for one in imports for slug in _written(one)}
    draft = OfferingVersion.objects.filter(offering=OuterRef("pk"), state=OfferingVersion.State.DRAFT).values("pk")[:1]
    found = Offering.objects.filter(slug__in=slugs).annotate(draft=Subquery(draft))
    known = {slug: _in_admin(pk, version) for slug, pk, version in found.values_list("slug", "pk", "draft")}
    return [_row(one, known) for one in imports]


def _written(one: BrokerImport) -> list[str]:
    return [*one.result.get("created", []), *one.result.get("updated", [])]


def _in_admin(offering: Any, draft: Any) -> str:
    """Give the address of a draft, or of the offering once there is none any more."""
    if draft:
        return reverse("admin:catalog_offeringversion_change", args=[draft])
    return reverse("admin:catalog_offering_change", args=[offering])


def _row(one: BrokerImport, known: dict[str, str]) -> Row:
    written, problems = _written(one), one.result.get("problems", [])
    return Row(
        one=one,
        tone=TONES[BrokerImport.State(one.state)],
        label=one.get_state_display(),
        outcome=_outcome(one),
        drafts=[(slug, known[slug]) for slug in written[:MOST_LINKS] if slug in known],
        more_drafts=max(0, len(written) - MOST_LINKS),
        problems=problems[:MOST_PROBLEMS],
        more_problems=max(0, len(problems) - MOST_PROBLEMS),
    )


def _outcome(one: BrokerImport) -> str:
    """Say in a sentence what came of an import."""
    if one.state != BrokerImport.State.DONE:
        return one.error
    counts = [(len(one.result.get(name, [])), word) for name, word in COUNTED.items()]
    told = ", ".join(f"{number} {word}" for number, word in counts if number)
    return f"Services: {told}." if told else "The broker lists no service that could be taken over."
