"""How a machine shows who it is: `Authorization: Bearer gl_...`, limited by the token's scopes."""

from typing import Any

from django.conf import settings
from django.utils import timezone
from drf_spectacular.extensions import OpenApiAuthenticationExtension
from knox.crypto import hash_token
from rest_framework import authentication, exceptions, permissions
from rest_framework.request import Request

from accounts.models import ApiToken, Scope


class TokenAuthentication(authentication.BaseAuthentication):
    """Knox's hashed tokens, found by their digest in one query."""

    def authenticate(self, request: Request) -> tuple[Any, ApiToken] | None:
        """Give the token's person, or None where no bearer token was sent. Raises AuthenticationFailed."""
        kind, _, text = request.headers.get("Authorization", "").partition(" ")
        if kind.lower() != "bearer":
            return None
        token = (
            ApiToken.objects.select_related("user")
            .filter(digest=hash_token(text.strip()), expiry__gt=timezone.now())
            .first()
        )
        if token is None or not token.user.is_active or token.credentials_version != token.user.credentials_version:
            raise exceptions.AuthenticationFailed("This token is unknown, expired or revoked.")
        return token.user, token

    def authenticate_header(self, request: Request) -> str:
        """Say how to sign in, for the 401."""
        return "Bearer"


class SessionAuthentication(authentication.SessionAuthentication):
    """The browser's session, with its CSRF token; a missing sign-in is 401, not 403."""

    def authenticate_header(self, request: Request) -> str:
        """Say how to sign in, for the 401."""
        return "Bearer"


class HasScope(permissions.BasePermission):
    """Signed in, and, with a token, within its scopes: `read` to look, the view's `scope` to change.

    A view names the scope of its unsafe methods in `scope`, and in `reading_scope` one that looking needs instead.
    """

    def has_permission(self, request: Request, view: Any) -> bool:
        """Decide from the method and the view's declaration."""
        if not request.user or not request.user.is_authenticated:
            return False
        token = request.auth
        if not isinstance(token, ApiToken):
            return True
        needed = self.scope_of(request, view)
        self.message = f"This token lacks the scope “{needed}”. Make one that has it on your profile page."
        return needed in token.scopes

    def scope_of(self, request: Request, view: Any) -> str:
        """Name the scope that this call needs."""
        if request.method in permissions.SAFE_METHODS:
            return str(getattr(view, "reading_scope", Scope.READ))
        return str(getattr(view, "scope", Scope.ADMIN))


class TokenScheme(OpenApiAuthenticationExtension):
    """Describes the bearer token in the OpenAPI document."""

    target_class = "accounts.api.TokenAuthentication"
    name = "token"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Name the scheme as OpenAPI does."""
        return {"type": "http", "scheme": "bearer", "description": "A token of your profile page: gl_..."}


class SessionScheme(OpenApiAuthenticationExtension):
    """Describes the browser's session in the OpenAPI document."""

    target_class = "accounts.api.SessionAuthentication"
    name = "session"

    def get_security_definition(self, auto_schema: Any) -> dict[str, str]:
        """Name the scheme as OpenAPI does."""
        return {
            "type": "apiKey",
            "in": "cookie",
            "name": settings.SESSION_COOKIE_NAME,
            "description": "The session of who is signed in; changes need the header X-CSRFToken too.",
        }
