"""The Django admin as this house uses it: it shows rows, and whatever changes one is a service.

What a service refuses stands at its field, and what was typed stays; the history of a row is the
audit trail's. Nothing can be deleted, and there are no actions on many rows at once.
"""

import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from typing import Any

from django.contrib import admin, messages
from django.contrib.admin.utils import unquote
from django.contrib.admin.widgets import AutocompleteSelect, RelatedFieldWidgetWrapper
from django.core.exceptions import PermissionDenied
from django.core.paginator import Paginator
from django.db import IntegrityError, transaction
from django.db.models import ForeignKey, Model, Q
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import redirect
from django.template.response import TemplateResponse
from django.urls import URLPattern, path, reverse

from core.forms import RowForm, ServiceForm
from core.models import Event
from core.problems import Conflict, Invalid
from core.states import IllegalMove
from core.transactions import UNIQUE_VIOLATION, sqlstate

MOST_FORMS = 80  # of one kind on one page, with those that somebody only claims to have sent


class Refused(Exception):  # noqa: N818 (a state, as the services' own)
    """A service refused what a form asked for: the transaction ends, the form is shown again."""


class CappedPaginator(Paginator):
    """Counts no further than anybody pages: a count of millions of rows would take seconds."""

    MOST = 10_000

    @cached_property
    def count(self) -> int:
        """How many rows there are, or `MOST` where there are more."""
        rows: Any = self.object_list
        return int(rows[: self.MOST].count())


class PickOne(AutocompleteSelect):
    """Django's search-as-you-type, which takes any text as chosen and then asks the database for it."""

    def optgroups(self, name: str, value: Sequence[str], attrs: dict[str, Any] | None = None) -> Any:
        """Give the chosen row alone, and none for what cannot be the id of one."""
        return super().optgroups(name, [one for one in value if is_uuid(one)], attrs)


def is_uuid(text: object) -> bool:
    """Tell whether `text` can be the id of a row."""
    try:
        uuid.UUID(str(text))
    except ValueError:
        return False
    return True


@dataclass(frozen=True)
class Action:
    """One thing to do with one row, as a button above it.

    `shown` says whether the button stands there for a person and a row; the service judges again. `run`
    takes row, person and the form's values, and gives the row to go on with. With a `question` it is asked
    on a page of its own, with the fields of `form`.
    """

    name: str
    label: str
    run: Callable[[Any, Any, dict[str, Any]], Model]
    shown: Callable[[Any, Any], bool]
    done: str
    question: str = ""
    form: type[RowForm] = RowForm
    template: str = "admin/action.html"
    context: Callable[[Any, Any], dict[str, Any]] = field(default=lambda _row, _person: {})


class ServiceInline:
    """Mix-in of an inline whose rows are saved and removed by services. Call `save` and `remove`."""

    extra = 0
    max_num: int | None = 60
    after = ""  # the section below which it stands; empty: below all

    def get_formset(self, request: HttpRequest, obj: Any = None, **kwargs: Any) -> Any:
        """Tell each form what was refused, and the parent's admin who saves."""
        # Nobody makes the server build a thousand forms by sending a number.
        formset = super().get_formset(request, obj, **{"absolute_max": MOST_FORMS, **kwargs})  # type: ignore[misc]
        formset.form.refusals = getattr(request, "refusals", {})
        formset.inline = self
        return formset

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer no windows to add or change what is chosen."""
        return _without_popups(super().formfield_for_dbfield(db_field, request, **kwargs))  # type: ignore[misc]

    def in_order(self, parts: list[Any]) -> list[Any]:
        """Give the forms in the order in which they are saved: as they stand on the page."""
        return parts

    def save(self, form: Any, person: Any) -> None:
        """Have the service add or change the row of `form`."""
        raise NotImplementedError

    def remove(self, row: Any, person: Any) -> None:
        """Have the service take `row` away."""
        raise NotImplementedError


def _without_popups(formfield: Any) -> Any:
    if formfield and isinstance(formfield.widget, RelatedFieldWidgetWrapper):
        formfield.widget = formfield.widget.widget
    return formfield


class ServiceAdmin(admin.ModelAdmin):
    """The admin of a model whose rows change through services: see `save`."""

    actions = None
    form = ServiceForm
    paginator = CappedPaginator
    list_per_page = 50
    show_full_result_count = False
    show_facets = admin.ShowFacets.NEVER
    view_on_site = False
    object_history_template = "admin/event_history.html"
    object_actions: Sequence[Action] = ()

    class Media:
        js = ("admin.js",)

    def save(self, row: Any, form: Any, person: Any, *, change: bool) -> Model:
        """Have the services write what `form` changed; give the row as it is now."""
        raise NotImplementedError

    # --- who may: rules are asked about the very row -------------------------------------------------

    def has_view_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask the rule."""
        return self._may(request, "view", obj)

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Ask the rule."""
        return self._may(request, "change", obj)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Nothing is deleted here: it is retired, closed or revoked."""
        return False

    def _may(self, request: HttpRequest, verb: str, obj: Any) -> bool:
        return request.user.has_perm(f"{self.opts.app_label}.{verb}_{self.opts.model_name}", obj)

    # --- saving --------------------------------------------------------------------------------------

    def changeform_view(
        self,
        request: HttpRequest,
        object_id: str | None = None,
        form_url: str = "",
        extra_context: dict[str, Any] | None = None,
    ) -> HttpResponse:
        """Show or save; what a service refused brings the same form back, with the reason at its field."""
        request.refusals = {}  # type: ignore[attr-defined]
        try:
            return super().changeform_view(request, object_id, form_url, extra_context)
        except Refused:
            return super().changeform_view(request, object_id, form_url, extra_context)

    def get_form(self, request: HttpRequest, obj: Any = None, change: bool = False, **kwargs: Any) -> Any:  # noqa: FBT001, FBT002 (Django's signature)
        """Tell the form what was refused."""
        form = super().get_form(request, obj, change=change, **kwargs)
        form.refusals = getattr(request, "refusals", {})  # type: ignore[attr-defined]
        return form

    def save_model(self, request: HttpRequest, obj: Any, form: Any, change: bool) -> None:  # noqa: FBT001 (Django's signature)
        """Let the service write the row, not the admin."""

        def write() -> None:
            row = self.save(obj, form, request.user, change=change)
            obj.pk = row.pk

        self._attempt(request, form, write)
        if not change:  # without the row there is nothing to hang others below
            _stop_if_refused(request)

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:  # noqa: FBT001 (Django's signature)
        """Let the services write the rows below it; all that they refuse is shown at once."""
        for formset in formsets:
            for part in formset.forms:
                if part in formset.deleted_forms and not part.instance._state.adding:
                    self._attempt(request, part, partial(formset.inline.remove, part.instance, request.user))
            for part in formset.inline.in_order(formset.forms):
                # Django does not validate rows that are only shown; with a forged id one looks new and is empty.
                if part not in formset.deleted_forms and part.has_changed() and part.cleaned_data:
                    self._attempt(request, part, partial(formset.inline.save, part, request.user))
        _stop_if_refused(request)

    def _attempt(self, request: HttpRequest, form: Any, change: Callable[[], None]) -> None:
        """Run `change`; keep the words of what is refused for the form's next showing."""
        refused: Mapping[str, str] = {}
        try:
            with transaction.atomic():
                change()
        except Invalid as error:
            refused = error.errors
        except (Conflict, IllegalMove) as error:
            refused = {"": str(error)}
        except IntegrityError as error:
            if sqlstate(error) != UNIQUE_VIOLATION:
                raise
            refused = {"": "This exists already: somebody else has just made it."}
        if refused:
            request.refusals[form.prefix or ""] = refused  # type: ignore[attr-defined]

    def construct_change_message(self, request: HttpRequest, form: Any, formsets: Any, add: bool = False) -> Any:  # noqa: FBT001, FBT002 (Django's signature)
        """Say nothing: the services write the audit trail."""
        return []

    def log_addition(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """Write no second trail, which could be changed."""

    def log_change(self, request: HttpRequest, obj: Any, message: Any) -> None:  # type: ignore[override]
        """Write no second trail, which could be changed."""

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Take nothing from the address: any link could fill in a form."""
        return {}

    def formfield_for_dbfield(self, db_field: Any, request: HttpRequest, **kwargs: Any) -> Any:
        """Offer no windows to add or change what is chosen."""
        return _without_popups(super().formfield_for_dbfield(db_field, request, **kwargs))

    def formfield_for_foreignkey(self, db_field: ForeignKey, request: HttpRequest, **kwargs: Any) -> Any:
        """Search as you type, where the admin asks for it."""
        if db_field.name in self.get_autocomplete_fields(request):
            kwargs["widget"] = PickOne(db_field, self.admin_site)
        return super().formfield_for_foreignkey(db_field, request, **kwargs)

    # --- what can be done with one row ---------------------------------------------------------------

    def get_urls(self) -> list[URLPattern]:
        """Add an address for each action."""
        own = [
            path(
                f"<path:object_id>/{action.name}/",
                self.admin_site.admin_view(partial(self.action_view, action=action)),
                name=self._route(action.name),
            )
            for action in self.object_actions
        ]
        return own + super().get_urls()

    def _route(self, name: str) -> str:
        return f"{self.opts.app_label}_{self.opts.model_name}_{name.replace('-', '_')}"

    def render_change_form(
        self, request: HttpRequest, context: dict[str, Any], *args: Any, **kwargs: Any
    ) -> HttpResponse:
        """Put the row's actions, and each inline below its section."""
        row = context.get("original")
        context["object_actions"] = [
            {"action": action, "url": reverse(f"admin:{self._route(action.name)}", args=[row.pk])}
            for action in self.object_actions
            if row is not None and action.shown(request.user, row)
        ]
        return super().render_change_form(request, context, *args, **kwargs)

    def action_view(self, request: HttpRequest, object_id: str, *, action: Action) -> HttpResponse:
        """Ask, then do it. What a service refuses is told; it is never a fault."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        if not self.has_view_permission(request, row):
            raise PermissionDenied
        form = action.form(row, request.POST if request.method == "POST" else None)
        if request.method == "POST" and form.is_valid():
            answer = self._run(request, row, action, form)
            if answer is not None:
                return answer
        elif request.method != "POST" and not (action.question and action.shown(request.user, row)):
            self.message_user(request, f"“{action.label}” is not possible here now.", messages.WARNING)
            return self._to_row(row)
        context = {
            **self.admin_site.each_context(request),
            "title": action.label,
            "subtitle": str(row),
            "opts": self.opts,
            "original": row,
            "action": action,
            "form": form,
            **action.context(row, request.user),
        }
        return TemplateResponse(request, action.template, context)

    def _run(self, request: HttpRequest, row: Any, action: Action, form: RowForm) -> HttpResponse | None:
        """Do it; None where the form has to be shown again."""
        try:
            shown = action.run(row, request.user, form.cleaned_data)
        except Invalid as error:
            for pointer, sentence in error.errors.items():
                name = pointer.removeprefix("/")
                form.add_error(name if name in form.fields else None, sentence)
            return None
        except (Conflict, IllegalMove) as error:
            self.message_user(request, str(error), messages.ERROR)
            return self._to_row(row)
        self.message_user(request, action.done.format(row=shown), messages.SUCCESS)
        return self._to_row(shown)

    def _to_row(self, row: Any) -> HttpResponseRedirect:
        return redirect(f"admin:{row._meta.app_label}_{row._meta.model_name}_change", row.pk)

    # --- history -------------------------------------------------------------------------------------

    def history_of(self, row: Any) -> Q:
        """Say which events tell the history of `row`."""
        return Q(subject_type=self.opts.model_name, subject_id=row.pk)

    def history_view(
        self, request: HttpRequest, object_id: str, extra_context: dict[str, Any] | None = None
    ) -> HttpResponse:
        """Tell who did what to the row, from the audit trail."""
        row = self.get_object(request, unquote(object_id))
        if row is None:
            return self._get_obj_does_not_exist_redirect(request, self.opts, object_id)  # type: ignore[attr-defined]
        if not self.has_view_or_change_permission(request, row):
            raise PermissionDenied
        told = Paginator(Event.objects.filter(self.history_of(row)).order_by("-id"), 100)
        context = {
            **self.admin_site.each_context(request),
            "title": f"History: {row}",
            "opts": self.opts,
            "object": row,
            "page": told.get_page(request.GET.get("p")),
        }
        return TemplateResponse(request, self.object_history_template, context)


def _stop_if_refused(request: HttpRequest) -> None:
    if request.refusals:  # type: ignore[attr-defined]
        raise Refused
