"""The operators' lists: runs by what stands with them, and what should be gone from a back end and is not yet."""

import hashlib
from typing import Any

from django.contrib import messages
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect, QueryDict
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

import provisioning.services as provisioning
from catalog.models import Offering
from core.pages import AFTER, BEFORE, page_of
from core.permissions import require
from core.views import SEE_OTHER, post_only
from provisioning.models import Run, RunQuerySet, Step
from provisioning.services.runs import ClockTimestamp
from provisioning.services.shown import NEEDS_OPERATOR, rows_of, seen_runs
from provisioning.services.watching import MAX_TEXT, TABS, Wanted, matching, standings
from provisioning.services.why import next_try, why_step

LIST = "provisioning/run_list.html"
PAGE_SIZE = 50
# The tabs count no further: nobody needs to know whether it is eleven or twelve thousand.
MOST_COUNTED = 1000
MOST_OFFERINGS = 500
MOST_REFUSALS = 5
# How often the page asks, in seconds: where work goes on, and where it is over.
PACE = {"operator": 3, "running": 3, "undoing": 3, "failed": 15, "done": 15}


def wanted_of(sent: QueryDict, tab: str) -> Wanted:
    """Read the filters of the list from an address or a form; what makes no sense finds nothing."""
    return Wanted(
        tab=tab,
        back_end=sent.get("back_end", "")[:MAX_TEXT],
        offering=sent.get("offering", "")[:MAX_TEXT],
        text=sent.get("q", "")[:MAX_TEXT],
    )


@login_required
@require_safe
@never_cache
def run_list(request: HttpRequest) -> HttpResponse:
    """List runs by what stands with them; what needs an operator first."""
    require(request.user, "provisioning.view_run")
    context = _context(request)
    offerings = Offering.objects.visible_to(request.user).order_by("name", "slug")
    context["offerings"] = list(offerings.values_list("slug", "name")[:MOST_OFFERINGS])
    return render(request, LIST, context)


@login_required
@require_safe
@never_cache
def run_list_live(request: HttpRequest) -> HttpResponse:
    """Answer a poll of the list: nothing (204) unless something is new since `seen`."""
    require(request.user, "provisioning.view_run")
    asked = request.GET.copy()
    seen = "".join(asked.pop("seen", []))
    # The neighbors of a page of the list are pages, not polls.
    request.GET, request.path = asked, reverse("provisioning:run_list")  # type: ignore[assignment]
    context = _context(request)
    if seen == context["seen"]:
        return HttpResponse(status=204)
    return render(request, f"{LIST}#live", context)


def _context(request: HttpRequest) -> dict[str, Any]:
    """Give all that the live part of the list says: a constant number of queries."""
    counts = {name: _count(matching(_runs(request), wanted_of(request.GET, name))) for name in TABS}
    tab = request.GET.get("tab", "")
    if tab not in TABS:
        tab = next((name for name in ("operator", "running", "undoing") if counts[name]), "running")
    wanted = wanted_of(request.GET, tab)
    page = page_of(matching(seen_runs(request.user), wanted), request, ("-created_at", "-id"), PAGE_SIZE)
    known = standings()
    rows = rows_of(page.rows, known)
    filters = {name: value for name, value in _filters(wanted).items() if value}
    seen = digest([counts, [(row.run.pk, row.tone, row.label, row.why) for row in rows]])
    place = {name: request.GET[name] for name in (AFTER, BEFORE) if name in request.GET}
    return {
        "rows": rows,
        "previous_url": page.previous_url,
        "next_url": page.next_url,
        "tab": tab,
        "tabs": _tabs(tab, counts, filters),
        "wanted": wanted,
        "filters": filters,
        "is_filtered": len(filters) > 1,
        "back_ends": [(standing.back_end, standing.name) for standing in known.values()],
        "silent": [standing for standing in known.values() if standing.is_open],
        "can_retry": tab != "done" and request.user.has_perm("provisioning.operate_run"),
        "most_retried": provisioning.MOST_RETRIED,
        "seen": seen,
        "poll_every": PACE[tab],
        "poll_url": f"{reverse('provisioning:run_list_live')}?{urlencode({**filters, **place, 'seen': seen})}",
    }


def _runs(request: HttpRequest) -> RunQuerySet:
    return Run.objects.visible_to(request.user).order_by()


def _count(runs: RunQuerySet) -> int:
    return runs.values("pk")[: MOST_COUNTED + 1].count()


def _filters(wanted: Wanted) -> dict[str, str]:
    return {"tab": wanted.tab, "back_end": wanted.back_end, "offering": wanted.offering, "q": wanted.text}


def _tabs(current: str, counts: dict[str, int], filters: dict[str, str]) -> list[dict[str, Any]]:
    return [
        {
            "name": name,
            "label": label,
            "count": str(counts[name]) if counts[name] <= MOST_COUNTED else f"{MOST_COUNTED}+",
            "current": name == current,
            "url": _list_url({**filters, "tab": name}),
        }
        for name, (label, _) in TABS.items()
    ]


def _list_url(filters: dict[str, str]) -> str:
    return f"{reverse('provisioning:run_list')}?{urlencode(filters)}"


def digest(value: object) -> str:
    """Give a short mark of what a page shows: another one where anything is different."""
    return hashlib.sha256(repr(value).encode()).hexdigest()[:12]


@login_required
@post_only("provisioning:run_list")
def run_retry_many(request: HttpRequest) -> HttpResponse:
    """Try again all runs that the list shows with its filters, on all of its pages."""
    tab = request.POST.get("tab", "")
    wanted = wanted_of(request.POST, tab if tab in TABS else "operator")
    done = provisioning.retry_many(wanted, actor=request.user)
    messages.success(request, f"{done.retried} {'run is' if done.retried == 1 else 'runs are'} tried again.")
    if done.refused:
        told = " ".join(dict.fromkeys(sentence for _, sentence in done.refused[:MOST_REFUSALS]))
        messages.warning(request, f"{len(done.refused)} {'is' if len(done.refused) == 1 else 'are'} not: {told}")
    return HttpResponseRedirect(_list_url({k: v for k, v in _filters(wanted).items() if v}), status=SEE_OTHER)


@login_required
@require_safe
@never_cache
def orphan_list(request: HttpRequest) -> HttpResponse:
    """List what should be gone from a back end and is not yet, oldest first."""
    require(request.user, "provisioning.view_run")
    steps = (
        Step.objects.orphans()
        .filter(run__in=Run.objects.visible_to(request.user).values("pk"))
        .annotate(now=ClockTimestamp())
        .select_related("run__instance__owner", "undoes", "task")
        .defer("inputs", "outputs", "run__instance__parameters", "run__instance__outputs")
    )
    page = page_of(steps, request, ("created_at", "id"), PAGE_SIZE)
    known = standings()
    rows = [
        {
            "step": step,
            "where": known[step.back_end].name if step.back_end in known else step.back_end or step.connector,
            "why": why_step(step, known.get(step.back_end), step.now),
            "next_at": next_try(step, known.get(step.back_end)),
            "age": (step.now - step.created_at).total_seconds(),
            "needs_operator": step.state in NEEDS_OPERATOR,
        }
        for step in page.rows
    ]
    context = {
        "rows": rows,
        "previous_url": page.previous_url,
        "next_url": page.next_url,
        "can_operate": request.user.has_perm("provisioning.operate_run"),
    }
    return render(request, "provisioning/orphan_list.html", context)
