"""My orders: what I have, what is on its way, what is over."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.db.models import Count, Q
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.urls import reverse
from django.utils.http import urlencode
from django.views.decorators.http import require_safe

import orders.services as orders
from core.pages import page_of
from orders.models import Order
from provisioning.models import ServiceInstance

PAGE_SIZE = 50
LIVE = Q(action=Order.Action.ADD, state=Order.State.COMPLETED) & ~Q(instance__state__in=ServiceInstance.ENDED)
RUNNING = Q(state__in=Order.OPEN)
TABS = {"active": ("Active services", LIVE), "running": ("Running", RUNNING), "past": ("Past", ~LIVE & ~RUNNING)}
# Long texts that no row shows.
HEAVY = [f"plan__version__{name}" for name in ("document", "parameters_schema", "terms", "description")] + [
    "parameters",
    "quote",
]


@login_required
@require_safe
def order_list(request: HttpRequest) -> HttpResponse:
    """List a person's orders; with `whose=all` also those of others that he may see."""
    person = request.user
    visible = Order.objects.visible_to(person)
    mine = Q(requester=person) | Q(beneficiary=person)
    everyone = request.GET.get("whose") == "all"
    listed = visible if everyone else visible.filter(mine)
    counts = listed.order_by().aggregate(**{name: Count("pk", filter=test) for name, (_, test) in TABS.items()})
    tab = request.GET.get("tab", "")
    if tab not in TABS:
        tab = next((name for name in TABS if counts[name]), "active")
    rows = orders.priced_now(listed.filter(TABS[tab][1])).select_related(
        "plan__version__offering__category", "cost_center", "instance", "requester"
    )
    page = page_of(rows.defer(*HEAVY), request, ("-created_at", "-id"), PAGE_SIZE)
    context = {
        "orders": page.rows,
        "previous_url": page.previous_url,
        "next_url": page.next_url,
        "tabs": _tabs(tab, counts, everyone=everyone),
        "ordered_anything": any(counts.values()),
        "everyone": everyone,
        "sees_others": everyone or visible.exclude(mine).exists(),
    }
    return render(request, "orders/order_list.html", context)


def _tabs(current: str, counts: dict[str, int], *, everyone: bool) -> list[dict[str, Any]]:
    whose = {"whose": "all"} if everyone else {}
    return [
        {
            "label": label,
            "count": counts[name],
            "current": name == current,
            "url": f"{reverse('orders:order_list')}?{urlencode({'tab': name, **whose})}",
        }
        for name, (label, _) in TABS.items()
    ]
