"""The routes below /api/v1/."""

from rest_framework.routers import SimpleRouter

from catalog.api import OfferingViewSet
from orders.api import OrderViewSet, QuoteViewSet
from provisioning.api import ServiceInstanceViewSet

router = SimpleRouter()
router.register("offerings", OfferingViewSet, basename="api-offering")
router.register("quotes", QuoteViewSet, basename="api-quote")
router.register("orders", OrderViewSet, basename="api-order")
router.register("service-instances", ServiceInstanceViewSet, basename="api-serviceinstance")

urlpatterns = router.urls
