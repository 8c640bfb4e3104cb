"""Signing in and out, and what a person keeps for himself: password, preferences, API tokens."""

from typing import Any

from django.conf import settings
from django.contrib.auth import login, logout, update_session_auth_hash
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404, render, resolve_url
from django.utils import timezone
from django.utils.http import url_has_allowed_host_and_scheme
from django.views.decorators.cache import never_cache
from django.views.decorators.debug import sensitive_post_parameters
from django.views.decorators.http import require_http_methods, require_safe

import accounts.services as accounts
from accounts.forms import NewPasswordForm, SignInForm, TokenForm
from accounts.models import ApiToken, CostCenter, SignedInRequest
from core.problems import Invalid
from core.views import SEE_OTHER, post_only, see_other

INVALID = 422


@sensitive_post_parameters("password")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def sign_in(request: HttpRequest) -> HttpResponse:
    """Let a person in, and lead him to where he wanted to go on this site."""
    wanted = _own_address(request)
    if request.method == "POST":
        form = SignInForm(request, data=request.POST)
        if form.is_valid():
            login(request, form.get_user())
            return HttpResponseRedirect(wanted or resolve_url(settings.LOGIN_REDIRECT_URL), status=SEE_OTHER)
        form.describe()
    elif request.user.is_authenticated:
        return HttpResponseRedirect(wanted or resolve_url(settings.LOGIN_REDIRECT_URL), status=SEE_OTHER)
    else:
        form = SignInForm(request)
    context = {"form": form, "next": wanted}
    return render(request, "accounts/sign_in.html", context, status=INVALID if form.errors else 200)


def _own_address(request: HttpRequest) -> str:
    """Give the address asked for in `next`, or nothing where it leads away from this site."""
    wanted = request.POST.get("next") or request.GET.get("next", "")
    is_ours = url_has_allowed_host_and_scheme(
        wanted, allowed_hosts={request.get_host()}, require_https=request.is_secure()
    )
    return wanted if is_ours else ""


@post_only("accounts:sign_in")
def sign_out(request: HttpRequest) -> HttpResponse:
    """End this session."""
    logout(request)
    return see_other("accounts:signed_out")


@require_safe
def signed_out(request: HttpRequest) -> HttpResponse:
    """Say that it has ended."""
    if request.user.is_authenticated:
        return see_other(settings.LOGIN_REDIRECT_URL)
    return render(request, "accounts/signed_out.html")


@login_required
@sensitive_post_parameters("old_password", "new_password1", "new_password2")
@never_cache
@require_http_methods(["GET", "HEAD", "POST"])
def password_change(request: SignedInRequest) -> HttpResponse:
    """Set a new password; this session goes on, all others and the tokens end."""
    form = NewPasswordForm(request.user, data=request.POST if request.method == "POST" else None)
    if form.is_valid():
        accounts.change_password(request.user, form.cleaned_data["new_password1"], actor=request.user)
        update_session_auth_hash(request, request.user)
        return see_other("accounts:password_change_done")
    form.describe()
    status = INVALID if form.errors else 200
    return render(request, "accounts/password_change.html", {"form": form}, status=status)


@login_required
@require_safe
def password_change_done(request: HttpRequest) -> HttpResponse:
    """Say that the new one holds."""
    return render(request, "accounts/password_change_done.html")


@login_required
@require_http_methods(["GET", "HEAD", "POST"])
def profile(request: SignedInRequest) -> HttpResponse:
    """Show who one is and what one may do; keep the preferences."""
    if request.method == "POST":
        wanted = request.POST.get("slash_focuses_search") == "on"
        accounts.change_profile(request.user, slash_focuses_search=wanted, actor=request.user)
        return see_other("accounts:profile")
    return _profile_page(request, TokenForm())


def _profile_page(request: SignedInRequest, form: TokenForm, *, status: int = 200, **extra: Any) -> HttpResponse:
    person = request.user
    form.describe()
    context = {
        "token_form": form,
        "tokens": ApiToken.visible.visible_to(person).filter(
            expiry__gt=timezone.now(), credentials_version=person.credentials_version
        ),
        "memberships": person.memberships.select_related("unit"),
        "cost_centers": CostCenter.objects.usable_by(person),
        **extra,
    }
    return render(request, "accounts/profile.html", context, status=status)


@login_required
@never_cache
@post_only("accounts:profile")
def apitoken_create(request: SignedInRequest) -> HttpResponse:
    """Make an API token and show its text, this once."""
    form = TokenForm(request.POST)
    if form.is_valid():
        try:
            token, text = accounts.create_token(
                request.user,
                label=form.cleaned_data["label"],
                scopes=form.cleaned_data["scopes"],
                expires_in=form.expires_in(),
                actor=request.user,
            )
        except Invalid as refusal:
            for pointer, sentence in refusal.errors.items():
                form.add_error(pointer.strip("/") if pointer.strip("/") in form.fields else None, sentence)
        else:
            return _profile_page(request, TokenForm(), new_token={"label": token.label, "text": text})
    return _profile_page(request, form, status=INVALID)


@login_required
@post_only("accounts:profile")
def apitoken_revoke(request: SignedInRequest, pk: str) -> HttpResponse:
    """End one of one's own tokens at once."""
    token = get_object_or_404(ApiToken.visible.visible_to(request.user), id=pk)
    accounts.revoke_token(token, actor=request.user)
    return see_other("accounts:profile")
