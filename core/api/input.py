"""What comes in: fields of the right type, no name that nobody knows."""

from typing import Any, NoReturn, TypeVar

from rest_framework import serializers
from rest_framework.request import Request

from core.parameters.bounds import legible, step
from core.problems import Invalid

MAX_UNKNOWN = 20  # one answer names this many unknown fields

Query = TypeVar("Query", bound=serializers.Serializer)


class TextField(serializers.CharField):
    """Text that is text: no number or truth value is taken for one, and white space counts."""

    def __init__(self, **options: Any) -> None:
        options = {"trim_whitespace": False, "allow_blank": True, "max_length": 300} | options
        super().__init__(**options)

    default_error_messages = {
        "invalid": "The {field} must be text.",
        "required": "Enter the {field}.",
        "null": "The {field} must be text.",
        "max_length": "This must be {max_length} characters or fewer.",
    }

    def fail(self, key: str, **values: Any) -> NoReturn:
        """Refuse with the field's name in the sentence. Raises ValidationError."""
        super().fail(key, field=(self.field_name or "text").replace("_", " "), **values)

    def to_internal_value(self, data: Any) -> str:
        """Give the text as it is. Raises ValidationError for anything else."""
        if not isinstance(data, str):
            self.fail("invalid")
        return str(super().to_internal_value(data))


class StrictSerializer(serializers.Serializer[Any]):
    """An object with the declared fields and no others. `refused` says why a known name is not taken yet."""

    refused: dict[str, str] = {}
    default_error_messages = {"invalid": "The body must be a JSON object."}

    def to_internal_value(self, data: Any) -> Any:
        """Give the values. Raises ValidationError with every fault, unknown names among them."""
        found: dict[str, Any] = {}
        values: Any = None
        try:
            values = super().to_internal_value(data)
        except serializers.ValidationError as error:
            found = dict(error.detail)  # type: ignore[arg-type]
        if isinstance(data, dict):
            for name in [name for name in data if name not in self.fields][:MAX_UNKNOWN]:
                found[name] = [self.refused.get(name, f"There is no field named “{name[:60]}”.")]
        if found:
            raise serializers.ValidationError(found)
        return values


def no_body(request: Request) -> None:
    """Refuse a body where none is needed: nothing, or an empty object. Raises Invalid."""
    if request.data != {}:
        names = list(request.data) if isinstance(request.data, dict) else []
        raise Invalid(
            {step("", name): f"There is no field named “{name[:60]}”." for name in names[:MAX_UNKNOWN]}
            or {"": "The body must be an empty JSON object, or no body at all."}
        )


def query_of(request: Request, kind: type[Query], *, also: tuple[str, ...] = ()) -> dict[str, Any]:
    """Read what stands behind the `?` as `kind` says; `also` names parameters that someone else reads.

    Raises Invalid with each parameter that is unknown, stands twice or has no such value.
    """
    given = request.query_params
    errors = {}
    known = set(kind().fields) | set(also)
    for name, values in given.lists():
        if name not in known:
            errors[step("", name)] = f"There is no parameter “{legible(name[:60])}” here." + (
                f" There are: {', '.join(sorted(known))}." if known else ""
            )
        elif len(values) > 1:
            errors[step("", name)] = f"The parameter “{name}” stands twice."
    read = kind(data={name: given[name] for name in given if name in known and name not in also})
    if not read.is_valid():
        errors |= {step("", name): " ".join(map(str, faults)) for name, faults in read.errors.items()}
    if errors:
        raise Invalid(dict(list(errors.items())[:MAX_UNKNOWN]))
    return dict(read.validated_data)
