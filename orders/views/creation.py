"""The one press that orders. The form itself stands on the catalog's page."""

from dataclasses import asdict, replace
from uuid import uuid4

from django.contrib.auth.decorators import login_required
from django.http import HttpResponse

import orders.services as orders
from accounts.models import SignedInRequest
from catalog.views import Entered, entered, offering_of, offering_page
from core.problems import Invalid, KeyReused
from core.views import post_only, see_other
from orders.models import IdempotencyKey
from orders.services.idempotency import KEY_FORMAT, ROUTE

INVALID = 422
NO_KEY = "The form came without its number. Look at it once more, and press “Order now” again."
REUSED = "You have ordered with this form before, and it has changed since. If you want a second one, order again."


@login_required
@post_only("catalog:offering_detail", "slug")
def order_create(request: SignedInRequest, slug: str) -> HttpResponse:
    """Place the order and lead to it; a second press of the same form leads to the same order."""
    offering = offering_of(request.user, slug)
    form = entered(offering.published, request.POST)
    if not KEY_FORMAT.fullmatch(form.idempotency_key):
        return offering_page(request, offering, _again(form, NO_KEY), status=INVALID)
    wanted = _wanted(form)
    try:
        placed = orders.place(
            wanted,
            actor=request.user,
            once=orders.Once(form.idempotency_key, orders.fingerprint_of(asdict(wanted))),
        )
    except Invalid as refusal:
        return offering_page(request, offering, replace(form, errors=refusal.errors), status=INVALID)
    except KeyReused:
        first = IdempotencyKey.objects.select_related("order").get(
            person=request.user, route=ROUTE, key=form.idempotency_key
        )
        again = _again(form, REUSED)
        return offering_page(request, offering, again, status=INVALID, first_order=first.order)
    return see_other("orders:order_detail", pk=placed.order.pk)


def _wanted(form: Entered) -> orders.Wanted:
    return orders.Wanted(
        plan=form.plan,
        name=form.name,
        cost_center=form.cost_center,
        parameters=form.parameters,
        terms_hash=form.terms_hash,
        purpose=form.purpose,
        data_classification=form.data_classification,
    )


def _again(form: Entered, sentence: str) -> Entered:
    """Give the same form with a fresh key: pressing its button is a new order."""
    return replace(form, idempotency_key=str(uuid4()), errors={"": sentence})
