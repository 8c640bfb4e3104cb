"""Forms in front of services: they read what was typed, the services judge it."""

import json
import re
from collections.abc import Mapping
from typing import Any

from django import forms

MAX_JSON_CHARACTERS = 70_000  # a little over what an order form may have, so that its own limit speaks
MAX_JSON_DEPTH = 20
MAX_WHOLE_DIGITS = 40
_UNSTORABLE = re.compile("[\0\ud800-\udfff]")


class ServiceForm(forms.ModelForm):
    """A form whose service may refuse what looked right.

    `refusals` has the service's words, by the form's prefix and then by JSON pointer; `aliases` gives the
    field for a pointer that the service knows under another name.
    """

    refusals: dict[str, Mapping[str, str]] = {}
    aliases: Mapping[str, str] = {}

    def _post_clean(self) -> None:
        super()._post_clean()  # type: ignore[misc]  # Django's hook after the fields
        for pointer, sentence in self.refusals.get(self.prefix or "", {}).items():
            name, _, below = self.aliases.get(pointer, pointer).removeprefix("/").partition("/")
            if name in self.fields:
                self.add_error(name, f"At /{below}: {sentence}" if below else sentence)
            else:
                self.add_error(None, f"{pointer}: {sentence}" if pointer else sentence)


class RowForm(forms.Form):
    """What is asked before something is done with one row."""

    def __init__(self, row: Any, data: Any = None) -> None:
        """Ask about `row`; `data` is what was answered."""
        super().__init__(data)
        self.row = row


class Typed(str):
    """Text as it was typed into a field for JSON: shown again as it is."""

    __slots__ = ()


class JsonField(forms.CharField):
    """A field for JSON: says where it is broken, and shows again what was typed, as it was typed."""

    widget = forms.Textarea(attrs={"class": "json", "spellcheck": "false", "autocomplete": "off"})

    def __init__(self, *, empty: Any = None, rows: int = 4, **kwargs: Any) -> None:
        """Take `empty` for an empty entry; show `rows` lines."""
        super().__init__(required=False, strip=False, initial=empty, **kwargs)
        self.empty = empty
        self.widget.attrs["rows"] = str(rows)

    def to_python(self, value: Any) -> Any:
        """Give the value that the text stands for. Raises ValidationError with line and column."""
        text = value or ""
        if not text.strip():
            return self.empty
        if len(text) > MAX_JSON_CHARACTERS:
            raise forms.ValidationError(f"This has more than {MAX_JSON_CHARACTERS} characters.")
        try:
            found = json.loads(
                text, object_pairs_hook=_distinct, parse_constant=_no_constant, parse_int=_bounded, parse_float=_finite
            )
        except json.JSONDecodeError as error:
            raise forms.ValidationError(
                f"This is not JSON: {error.msg}, line {error.lineno}, column {error.colno}."
            ) from error
        except RecursionError as error:
            raise forms.ValidationError("This is nested too deeply.") from error
        except ValueError as error:
            raise forms.ValidationError(f"This is not JSON: {error}") from error
        _check_storable(found)
        return found

    def validate(self, value: Any) -> None:
        """Leave the meaning to the service."""

    def run_validators(self, value: Any) -> None:
        """Leave the meaning to the service: the validators of a text would look at an object."""

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Keep what was typed."""
        return Typed(data or "")

    def prepare_value(self, value: Any) -> str:
        """Show a value as indented JSON; what was typed as it is."""
        if isinstance(value, Typed):
            return value
        return json.dumps(value, indent=2, ensure_ascii=False)

    def has_changed(self, initial: Any, data: Any) -> bool:
        """Compare values, not how they are written; the order of a form's fields counts."""
        try:
            return json.dumps(self.to_python(data)) != json.dumps(initial)
        except forms.ValidationError:
            return True


def _distinct(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"“{name[:60]}” stands twice in one object.")
        found[name] = value
    return found


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number.")


def _bounded(digits: str) -> int:
    if len(digits) > MAX_WHOLE_DIGITS:
        raise ValueError("a number has too many digits.")
    return int(digits)


def _finite(text: str) -> float:
    number = float(text)
    if number in (float("inf"), float("-inf")):
        raise ValueError("a number is too large.")
    return number


def _check_storable(value: Any) -> None:
    """Refuse what the database cannot hold. Walks with a stack of its own."""
    stack = [(value, 1)]
    while stack:
        item, depth = stack.pop()
        if depth > MAX_JSON_DEPTH:
            raise forms.ValidationError("This is nested too deeply.")
        if isinstance(item, str) and _UNSTORABLE.search(item):
            raise forms.ValidationError(
                "A text has a character that cannot be stored (NUL or half of a surrogate pair)."
            )
        if isinstance(item, dict):
            stack += [(name, depth) for name in item] + [(below, depth + 1) for below in item.values()]
        elif isinstance(item, list):
            stack += [(below, depth + 1) for below in item]
