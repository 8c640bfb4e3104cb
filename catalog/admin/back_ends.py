"""The systems that workflows reach. Credentials are entered here; no page shows one again."""

from typing import Any

from django.contrib import admin
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect
from django.urls import reverse
from django.utils.html import format_html, format_html_join
from django.utils.safestring import SafeString

import catalog.services as catalog
from catalog.forms import BackEndAddForm, back_end_form
from catalog.models import BackEnd
from core.admin import ServiceAdmin, badge

# Brokers list what they offer.
IMPORTED_FROM = {"osb"}


@admin.register(BackEnd)
class BackEndAdmin(ServiceAdmin):
    """Back ends: where each is, how one signs in there, how many calls it bears."""

    list_display = ("name", "slug", "connector", "address", "in_use", "limit")
    list_filter = ("is_active", "connector")
    search_fields = ("name", "slug", "address")
    ordering = ("slug",)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 (Django's signature)
        """Ask little for a new one; then for what its connector needs."""
        form = BackEndAddForm if obj is None else back_end_form(obj)
        return super().get_form(request, obj, change=change, **{"form": form, **kwargs})

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> Any:
        """Group what may change; who may only look sees which credentials are set."""
        if obj is None:
            return [(None, {"fields": ("name", "slug", "connector", "address")})]
        changes = self.has_change_permission(request, obj)
        form = back_end_form(obj)
        imports = ["imports"] if obj.connector in IMPORTED_FROM else []
        limits = (None, {"fields": ["slug", "connector", "name", "address", "limit", "is_active", *imports]})
        config = form.names("config") if changes else ["config_shown"]
        credentials = ["credentials_shown", *(form.names("credential") if changes else [])]
        return [limits, ("Settings", {"fields": config}), ("Credentials", {"fields": credentials})]

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Any:
        """Show what never changes, and which credentials are set."""
        return () if obj is None else ("slug", "connector", "imports", "config_shown", "credentials_shown")

    def save(self, row: Any, form: Any, person: Any, *, change: bool) -> BackEnd:
        """Keep a back end."""
        values = form.cleaned_data
        if not change:
            fresh: dict[str, Any] = {"config": {}, "credentials": None, "limit": None, "is_active": True}
            return catalog.save_back_end(None, **fresh, **values, actor=person)
        kept = BackEnd.objects.get(pk=row.pk)
        return catalog.save_back_end(
            kept,
            slug=kept.slug,
            name=values["name"],
            connector=kept.connector,
            address=values["address"],
            config=form.config(kept.config),
            credentials=form.credentials() or None,
            limit=values["limit"],
            is_active=values["is_active"],
            actor=person,
        )

    def response_add(self, request: HttpRequest, obj: Any, post_url_continue: Any = None) -> HttpResponse:
        """Go on to what the connector needs."""
        self.message_user(request, f"{obj.name} is added. Enter how to sign in there.")
        return redirect("admin:catalog_backend_change", obj.pk)

    @admin.display(description="state", ordering="is_active")
    def in_use(self, back_end: BackEnd) -> SafeString:
        """Show whether new workflows may name it."""
        return badge("active", "In use") if back_end.is_active else badge("retired", "Out of use")

    @admin.display(description="services")
    def imports(self, back_end: BackEnd) -> SafeString:
        """Lead to the page on which its services become draft offerings."""
        address = reverse("provisioning:backend_import", kwargs={"slug": back_end.slug})
        return format_html('<a href="{}">Import services</a>', address)

    @admin.display(description="settings")
    def config_shown(self, back_end: BackEnd) -> SafeString | str:
        """Show the settings where they cannot be changed."""
        lines = format_html_join("", '<div class="line"><b>{}</b> {}</div>', sorted(back_end.config.items()))
        return lines or "None"

    @admin.display(description="what is set")
    def credentials_shown(self, back_end: BackEnd) -> SafeString | str:
        """Say of each credential whether it is set, and never what it is."""
        known = catalog.credentials_set(back_end)
        if None in known.values():
            return "Cannot be read any more: the address or the key has changed. Enter them again."
        shown = {True: badge("active", "Set"), False: badge("retired", "Not set")}
        lines = ((name.replace("_", " "), shown[bool(is_set)]) for name, is_set in known.items())
        return format_html_join("", '<div class="line">{} {}</div>', lines) or "The connector needs none."
