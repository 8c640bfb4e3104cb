"""The Django admin under our own name and sign-in."""

from typing import Any

from django.conf import settings
from django.contrib import admin
from django.contrib.auth.views import LogoutView
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import reverse
from django.utils.http import urlencode

from catalog.models import OfferingVersion

# Django's shortcut to a row's page faults on ids that are none, and no row here has such a page.
NOT_OURS = {"view_on_site", "password_change_done"}
# What is curated stands first, what is only looked at below it.
ORDER = ["catalog", "accounts", "orders", "provisioning", "approvals", "core"]


class GreenlaneAdminSite(admin.AdminSite):
    """Where IT curates. It holds the same strict content security policy as every other page."""

    site_header = "Greenlane curation"
    site_title = "Greenlane"
    index_title = "Curation"
    enable_nav_sidebar = False

    def get_urls(self) -> list[Any]:
        """Leave out what this site has no use for."""
        return [route for route in super().get_urls() if getattr(route, "name", None) not in NOT_OURS]

    def get_app_list(self, request: HttpRequest, app_label: str | None = None) -> list[Any]:
        """List the apps in the order of the work."""
        apps = super().get_app_list(request, app_label)
        place = {label: position for position, label in enumerate(ORDER)}
        return sorted(apps, key=lambda app: place.get(app["app_label"], len(ORDER)))

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Send people to the one sign-in page, which knows lock-outs."""
        if request.user.is_authenticated:
            return redirect("catalog:offering_list")
        return redirect(f"{reverse('accounts:sign_in')}?{urlencode({'next': request.get_full_path()})}")

    def logout(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # type: ignore[override]  # a redirect will do
        """Sign out, and show the sign-in page."""
        return LogoutView.as_view(next_page=settings.LOGOUT_REDIRECT_URL)(request)

    def password_change(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:  # type: ignore[override]  # a redirect will do
        """Send people to the one page that also ends their tokens."""
        return redirect("accounts:password_change")

    def index(self, request: HttpRequest, extra_context: Any = None) -> TemplateResponse:
        """Show what can be curated, and beside it the drafts that wait for somebody."""
        drafts: list[OfferingVersion] = []
        if request.user.has_perm("catalog.view_offeringversion"):
            open_drafts = OfferingVersion.objects.filter(state=OfferingVersion.State.DRAFT)
            drafts = list(open_drafts.defer("parameters_schema", "document").order_by("-created_at")[:20])
        return super().index(request, {**(extra_context or {}), "drafts": drafts})
