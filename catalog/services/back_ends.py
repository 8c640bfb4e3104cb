"""The systems that workflows reach. Their credentials go in, are used by workers, and are shown to nobody."""

import json
import re
from collections.abc import Mapping
from typing import Any

from django.conf import settings
from django.core.exceptions import ValidationError
from django.db import transaction

from catalog.models import BackEnd
from core import egress, events, secrets
from core.parameters.bounds import legible
from core.parameters.bounds import step as pointer
from core.permissions import require
from core.problems import Invalid

MAX_VALUE = 20_000  # characters of one value: a chain of certificates fits
PORTS = {"http": 80, "https": 443, "ldap": 389, "ldaps": 636}
_ADDRESS = re.compile(
    r"(?:(?P<scheme>[a-z][a-z0-9+.-]*)://)?(?P<host>[a-z0-9._-]+|\[[0-9a-f:.]+\])(?::(?P<port>[0-9]{1,5}))?(?P<rest>/.*)?",
    re.IGNORECASE,
)


@transaction.atomic
def save_back_end(
    back_end: BackEnd | None,
    *,
    slug: str,
    name: str,
    connector: str,
    address: str,
    config: Mapping[str, Any],
    credentials: Mapping[str, str] | None,
    limit: int | None,
    is_active: bool,
    actor: Any,
) -> BackEnd:
    """Keep a system that workflows reach (`back_end` None: a new one). `limit` is calls at a time, None for no limit.

    `credentials` are those to set, by name, an empty text takes one away; the others stay, all of them where it is
    None. They belong to the scheme, host and port of the address: where that changes, all have to be entered again,
    so that nobody learns them by sending them elsewhere. Slug and connector never change. Raises Invalid.
    """
    require(actor, "catalog.change_backend" if back_end else "catalog.add_backend", back_end)
    row = BackEnd.objects.select_for_update().get(pk=back_end.pk) if back_end else BackEnd(slug=slug)
    _check_kept(row, slug=slug, connector=connector)
    address = address.strip()
    entered = {at: value for at, value in (credentials or {}).items() if isinstance(value, str)}
    declared = _declared(connector)
    errors = _refused_address(address) | _refused_config(declared, config)
    errors |= _refused_credentials(declared, credentials or {}) | ({} if limit != 0 else {"/limit": "Enter 1 or more."})
    held = {} if row._state.adding or errors else _held(row, address, entered, errors)
    if errors:
        raise Invalid(errors)
    row.name, row.connector, row.address, row.config = name.strip(), connector, address, dict(config)
    row.limit, row.is_active = limit, is_active
    if credentials is not None:
        kept = {at: value for at, value in (held | entered).items() if value}
        row.credentials = _locked(row, kept) if kept else None
    try:
        row.full_clean()
    except ValidationError as error:
        raise Invalid({f"/{at}": " ".join(texts) for at, texts in error.message_dict.items()}) from error
    row.save()
    events.record(
        "backend.saved",
        row,
        actor=actor,
        slug=row.slug,
        connector=row.connector,
        address=row.address,
        in_use=row.is_active,
        limit=row.limit,
        config=sorted(row.config),
        credentials_entered=sorted(entered),
    )
    return row


def opened(slug: str) -> tuple[BackEnd, dict[str, str]]:
    """Give a back end with its credentials in the clear, for workers about to call it; nobody is asked for leave.

    One that is out of use is given too: what was delivered there must still be changed and taken away. Raises
    LookupError where there is none, core.secrets.Unreadable where its credentials have to be entered again.
    """
    row = BackEnd.objects.filter(slug=slug).first()
    if row is None:
        raise LookupError(slug)
    credentials = _unlocked(row)
    for value in credentials.values():
        secrets.remember(value)
    return row, credentials


def credentials_set(back_end: BackEnd) -> dict[str, bool | None]:
    """Say of each credential that its connector knows whether it is set; None where that cannot be read any more."""
    names = settings.CONNECTORS.get(back_end.connector, {}).get("credentials", [])
    try:
        held = _unlocked(back_end)
    except secrets.Unreadable:
        return dict.fromkeys(names)
    return {name: name in held for name in names}


def rotate_keys() -> int:
    """Encrypt the credentials of all back ends anew with the first of ENCRYPTION_KEYS; give how many rows were.

    Raises core.secrets.Unreadable where no key opens one; what was done stays done.
    """
    done = 0
    for key in list(BackEnd.objects.filter(credentials__isnull=False).values_list("pk", flat=True)):
        with transaction.atomic():
            row = BackEnd.objects.select_for_update().filter(pk=key).only("credentials").get()
            if row.credentials is not None:
                row.credentials = secrets.rotate(row.credentials)
                row.save(update_fields=["credentials"])
                done += 1
    return done


def _check_kept(row: BackEnd, *, slug: str, connector: str) -> None:
    if row._state.adding:
        return
    if slug != row.slug:
        raise Invalid({"/slug": "Workflows name it by its slug, which never changes."})
    if connector != row.connector:
        raise Invalid({"/connector": "The connector never changes. Make another back end."})


def _declared(connector: str) -> dict[str, Any]:
    known = [name for name, declared in settings.CONNECTORS.items() if declared.get("back_end") == "needed"]
    if connector not in known:
        sentence = f"“{connector[:60]}” is no connector that needs a back end. Known: {', '.join(known)}."
        raise Invalid({"/connector": sentence})
    return settings.CONNECTORS[connector]


def _refused_address(address: str) -> dict[str, str]:
    try:
        origin_of(address)
    except ValueError as error:
        return {"/address": str(error)}
    return {}


def origin_of(address: str) -> str:
    """Give scheme, host and port of an address: where its credentials go. Raises ValueError with a sentence."""
    found = _ADDRESS.fullmatch(address)
    if found is None:
        raise ValueError("Enter an address such as https://host:8443/path or host:53, without name and password.")
    scheme = (found["scheme"] or "").lower()
    if scheme in {"http", "https"}:
        try:
            return "{}://{}:{}".format(*egress.parse(address).origin)
        except egress.Refused as error:
            raise ValueError(str(error)) from error
    return f"{scheme}://{found['host'].lower().removesuffix('.')}:{found['port'] or PORTS.get(scheme, '')}"


def _refused_config(declared: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, str]:
    if not isinstance(config, dict):
        return {"/config": "This must be a JSON object."}
    errors = _unknown("/config", config, declared.get("config", []))
    for name, value in config.items():
        if not isinstance(value, str | int | float) or not _is_text(str(value)):
            errors[pointer("/config", name)] = f"Enter text of at most {MAX_VALUE} characters, or a number."
    return errors


def _refused_credentials(declared: Mapping[str, Any], credentials: Mapping[str, Any]) -> dict[str, str]:
    errors = _unknown("/credentials", credentials, declared.get("credentials", []))
    for name, value in credentials.items():
        if not isinstance(value, str) or not _is_text(value):
            errors[pointer("/credentials", name)] = f"Enter text of at most {MAX_VALUE} characters."
    return errors


def _is_text(value: str) -> bool:
    return len(value) <= MAX_VALUE and legible(value) == value


def _unknown(at: str, given: Mapping[str, Any], known: list[str]) -> dict[str, str]:
    takes = f"It takes: {', '.join(known)}." if known else "It takes none."
    return {pointer(at, name): f"This connector takes no “{name[:60]}”. {takes}" for name in given if name not in known}


def _held(row: BackEnd, address: str, entered: Mapping[str, str], errors: dict[str, str]) -> dict[str, str]:
    """Give the credentials that stay; writes into `errors` those that have to be entered again."""
    if row.credentials is None:
        return {}
    try:
        held = _unlocked(row)
    except secrets.Unreadable:
        # Whoever enters one has to enter all: what the others were, nobody can read.
        return {}
    if origin_of(address) != origin_of(row.address):
        for name in held:
            if name not in entered:
                errors[pointer("/credentials", name)] = "The address has another host: enter this again."
        return {}
    return held


def _locked(row: BackEnd, credentials: Mapping[str, str]) -> bytes:
    return secrets.encrypt(json.dumps(credentials), bound_to=_bound_to(row))


def _unlocked(row: BackEnd) -> dict[str, str]:
    if row.credentials is None:
        return {}
    try:
        found = json.loads(secrets.decrypt(row.credentials, bound_to=_bound_to(row)))
    except ValueError as error:
        raise secrets.Unreadable("The address of this back end is none any more.") from error
    return dict(found)


def _bound_to(row: BackEnd) -> str:
    return f"{row.pk} {origin_of(row.address)}"
