"""How the back ends answer, and trying a silent one at once."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

import provisioning.services as provisioning
from core.permissions import require
from core.views import post_only, see_other
from provisioning.services.breakers import FAILURES
from provisioning.services.watching import Standing, standings
from provisioning.views.runs import digest

PAGE = "provisioning/backend_list.html"
POLL_SECONDS = 5


@login_required
@require_safe
@never_cache
def backend_list(request: HttpRequest) -> HttpResponse:
    """Show how each back end answers, silent ones first."""
    require(request.user, "provisioning.view_breaker")
    return render(request, PAGE, _context(request.user))


@login_required
@require_safe
@never_cache
def backend_list_live(request: HttpRequest) -> HttpResponse:
    """Answer a poll: nothing (204) unless something is new since `seen`."""
    require(request.user, "provisioning.view_breaker")
    context = _context(request.user)
    if request.GET.get("seen") == context["seen"]:
        return HttpResponse(status=204)
    return render(request, f"{PAGE}#live", context)


@login_required
@post_only("provisioning:backend_list")
def backend_try(request: HttpRequest, back_end: str) -> HttpResponse:
    """Have a silent back end tried at once."""
    provisioning.try_now(back_end, actor=request.user)
    return see_other("provisioning:backend_list")


def _context(person: Any) -> dict[str, Any]:
    rows = list(standings(with_usual=True).values())
    seen = digest([_shown(row) for row in rows])
    return {
        "rows": rows,
        "sees_imports": person.has_perm("catalog.view_backend"),
        "can_operate": person.has_perm("provisioning.operate_run"),
        "failures_to_open": FAILURES,
        "poll_every": POLL_SECONDS,
        "poll_url": f"{reverse('provisioning:backend_list_live')}?{urlencode({'seen': seen})}",
        "seen": seen,
    }


def _shown(row: Standing) -> tuple[Any, ...]:
    """Give what the page says of a back end."""
    usual = (row.usual_seconds, row.longest_seconds)
    state = (row.is_open, row.failures, row.last_error, row.probe_at, row.is_slow)
    return row.back_end, row.name, row.calls, row.waiting, row.limit, *state, *(round(one or 0, 1) for one in usual)
