"""The routes below /api/v1/."""

from typing import Any

from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.urls import path, resolve
from django.urls.exceptions import Resolver404
from django.views.decorators.csrf import csrf_exempt
from drf_spectacular.renderers import OpenApiJsonRenderer, OpenApiJsonRenderer2, OpenApiYamlRenderer
from drf_spectacular.views import SpectacularAPIView, SpectacularSwaggerSplitView
from rest_framework.routers import SimpleRouter

from catalog.api import BackEndViewSet, OfferingViewSet
from core.views import not_found
from orders.api import OrderViewSet, QuoteViewSet
from provisioning.api import (
    BreakerViewSet,
    BrokerImportViewSet,
    CallbackViewSet,
    OrphanViewSet,
    RunViewSet,
    ServiceInstanceViewSet,
    StepViewSet,
    TaskViewSet,
)

router = SimpleRouter(use_regex_path=False)
router.register("offerings", OfferingViewSet, basename="api-offering")
router.register("back-ends", BackEndViewSet, basename="api-backend")
router.register("back-ends/<slug:slug>/imports", BrokerImportViewSet, basename="api-brokerimport")
router.register("quotes", QuoteViewSet, basename="api-quote")
router.register("orders", OrderViewSet, basename="api-order")
router.register("service-instances", ServiceInstanceViewSet, basename="api-serviceinstance")
router.register("tasks", TaskViewSet, basename="api-task")
router.register("runs", RunViewSet, basename="api-run")
router.register("steps", StepViewSet, basename="api-step")
router.register("orphans", OrphanViewSet, basename="api-orphan")
router.register("breakers", BreakerViewSet, basename="api-breaker")


class SchemaView(SpectacularAPIView):
    """The OpenAPI document: JSON unless YAML is asked for."""

    renderer_classes = [OpenApiJsonRenderer2, OpenApiJsonRenderer, OpenApiYamlRenderer]


class DocsView(SpectacularSwaggerSplitView):
    """The same for people, who may try each route out; a page of our own, since theirs has a style in it."""

    template_name = "core/api_docs.html"


@csrf_exempt
def nowhere(request: HttpRequest, rest: str) -> HttpResponse:
    """Answer where there is no route: 308 to the same address with a slash at its end where that is one, else 404.

    308 keeps method and body, so that an order sent to the address without the slash is still an order.
    """
    if not rest.endswith("/") and _is_route(f"{request.path_info}/"):
        response = HttpResponse(status=308)
        response["Location"] = request.get_full_path(force_append_slash=True)
        return response
    return not_found(request, Resolver404())


def _is_route(address: str) -> bool:
    found: Any = resolve(address)
    return found.func is not nowhere


urlpatterns = [
    path("schema/", SchemaView.as_view(), name="schema"),
    path("docs/", login_required(DocsView.as_view(url_name="schema")), name="docs"),
    path("callbacks/<slug:slug>/", CallbackViewSet.as_view({"post": "receive"}), name="api-callback"),
    *router.urls,
    path("<path:rest>", nowhere, name="api-nowhere"),
]
