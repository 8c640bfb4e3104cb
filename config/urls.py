"""Every route. Each stands in the table of tests/test_permissions.py too."""

from django.contrib import admin
from django.urls import include, path

from config import health

urlpatterns = [
    path("healthz", health.healthz, name="healthz"),
    path("readyz", health.readyz, name="readyz"),
    path("metrics", health.metrics, name="metrics"),
    path("admin/", admin.site.urls),
    path("api/v1/", include("config.api")),
    path("", include("accounts.urls")),
    path("", include("provisioning.urls")),
    path("", include("orders.urls")),
    path("", include("catalog.urls")),
]

handler400 = "core.views.bad_request"
handler404 = "core.views.not_found"
handler500 = "core.views.server_error"
