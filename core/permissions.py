"""Who may do what: one predicate a permission, asked through Django's own `has_perm`.

Beneath them stand django-guardian's object permissions; whichever says yes, has_perm says yes.
"""

from collections.abc import Callable
from typing import Any

from django.core.exceptions import PermissionDenied

Predicate = Callable[[Any, Any], bool]

_rules: dict[str, Predicate] = {}


def rule(*names: str) -> Callable[[Predicate], Predicate]:
    """Register a predicate `(user, obj)` as the rule of the permissions `names` ("app.verb_model")."""

    def register(predicate: Predicate) -> Predicate:
        for name in names:
            if name in _rules:
                raise RuntimeError(f"The permission {name} has a rule already.")
            _rules[name] = predicate
        return predicate

    return register


def known_permissions() -> list[str]:
    """List every permission that has a rule."""
    return sorted(_rules)


def require(actor: Any, permission: str, obj: Any = None) -> None:
    """Raise PermissionDenied unless `actor` may do `permission` to `obj`. The first line of a service."""
    if permission not in _rules:
        raise RuntimeError(f"No rule is written for {permission}.")
    if actor is None or not actor.has_perm(permission, obj):
        raise PermissionDenied("You may not do this. Ask the IT department if you think that you should.")


class RuleBackend:
    """Answers `has_perm` from the rules above. Knows nobody: signing in is another backend's work."""

    def authenticate(self, request: Any, **credentials: Any) -> None:
        """Sign nobody in."""

    def has_perm(self, user: Any, permission: str, obj: Any = None) -> bool:
        """Ask the rule of `permission`; a permission without a rule is not granted here."""
        predicate = _rules.get(permission)
        return bool(predicate and user.is_active and user.is_authenticated and predicate(user, obj))

    def has_module_perms(self, user: Any, app_label: str) -> bool:
        """Tell the admin whether any row of `app_label` may be looked at."""
        return any(
            self.has_perm(user, name)
            for name in _rules
            if name.startswith((f"{app_label}.view_", f"{app_label}.change_"))
        )
