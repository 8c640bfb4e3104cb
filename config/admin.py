"""The Django admin under our own name and sign-in."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.http import urlencode


class GreenlaneAdminSite(admin.AdminSite):
    """Where IT curates. Styles may be relaxed here, scripts never."""

    site_header = "Greenlane curation"
    site_title = "Greenlane"
    index_title = "Curation"
    enable_nav_sidebar = False

    def login(self, request: HttpRequest, extra_context: Any = None) -> HttpResponse:
        """Send people to the one sign-in page, which knows lock-outs."""
        if request.user.is_authenticated:
            return redirect("catalog:offering_list")
        return redirect(f"{reverse('accounts:sign_in')}?{urlencode({'next': request.get_full_path()})}")
