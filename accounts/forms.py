"""Forms of the pages on which people sign in and keep what is theirs."""

from datetime import timedelta
from typing import Any

from django import forms
from django.contrib.auth.forms import AuthenticationForm, PasswordChangeForm

from accounts.models import Scope


class _Described(forms.BaseForm):
    """Ties each field to its hint and its error, where our pages put them, and marks what is wrong."""

    def describe(self) -> None:
        """Call once the form has been judged, before it is shown."""
        for name, field in self.fields.items():
            box = self[name]
            parts = [f"{box.auto_id}_helptext"] if field.help_text else []
            if name in self.errors:
                parts.append(f"{box.auto_id}_error")
            if parts:
                field.widget.attrs["aria-describedby"] = " ".join(parts)


class SignInForm(_Described, AuthenticationForm):
    """Who one is, and the proof."""

    error_messages = {
        "invalid_login": "The sign-in name or the password is wrong.",
        "inactive": "This account is switched off. Ask your platform admin.",
    }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["username"].label = "Sign-in name"
        self.fields["username"].error_messages["required"] = "Enter your sign-in name."
        self.fields["password"].error_messages["required"] = "Enter your password."
        for field in self.fields.values():
            # The browser's own focus would fight with the error summary's.
            field.widget.attrs.pop("autofocus", None)


class NewPasswordForm(_Described, PasswordChangeForm):
    """The old password once, the new one twice."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["old_password"].label = "Your password now"
        self.fields["new_password2"].label = "New password again"
        self.fields["new_password2"].help_text = ""
        self.fields["old_password"].error_messages["required"] = "Enter your password."
        self.fields["new_password1"].error_messages["required"] = "Enter a new password."
        self.fields["new_password2"].error_messages["required"] = "Enter the new password again."
        self.fields["old_password"].widget.attrs.pop("autofocus", None)


class TokenForm(_Described, forms.Form):
    """What a new API token is called, may do, and how long it lives."""

    label = forms.CharField(
        max_length=100,
        help_text="So that you know it again, for example “nightly report”.",
        error_messages={"required": "Enter a label."},
    )
    scopes = forms.MultipleChoiceField(
        choices=Scope,
        widget=forms.CheckboxSelectMultiple,
        help_text="Never more than you may do yourself.",
        error_messages={"required": "Choose at least one scope."},
    )
    days = forms.TypedChoiceField(
        label="Lives for",
        choices=[(1, "1 day"), (7, "7 days"), (30, "30 days"), (90, "90 days"), (365, "1 year")],
        coerce=int,
        initial=30,
    )

    def expires_in(self) -> timedelta:
        """Give how long it shall live; only of a valid form."""
        return timedelta(days=self.cleaned_data["days"])
