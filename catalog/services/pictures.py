"""Pictures of offerings: only what really is one, kept in the database."""

import hashlib
import io
from typing import Any

from django.db import transaction
from PIL import Image, UnidentifiedImageError

from catalog.models import Offering
from core import events
from core.models import StoredFile
from core.permissions import require
from core.problems import Invalid

PICTURE_TYPES = {"PNG": "image/png", "JPEG": "image/jpeg", "WEBP": "image/webp"}
MAX_PICTURE_BYTES = 1024 * 1024


@transaction.atomic
def set_picture(offering: Offering, name: str, content: bytes | None, *, actor: Any) -> None:
    """Show a picture with the offering, or none. Raises Invalid unless it really is PNG, JPEG or WebP."""
    require(actor, "catalog.change_offering", offering)
    offering.picture = _stored_picture(name, content) if content is not None else None
    offering.save(update_fields=["picture"])
    events.record("offering.picture_changed", offering, actor=actor, picture=name if content is not None else None)


def _stored_picture(name: str, content: bytes) -> StoredFile:
    if len(content) > MAX_PICTURE_BYTES:
        raise Invalid({"/picture": "The picture must be 1 MiB or less."})
    try:
        with Image.open(io.BytesIO(content), formats=list(PICTURE_TYPES)) as picture:
            kind, (width, height) = picture.format or "", picture.size
            picture.verify()
    except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
        raise Invalid({"/picture": "Choose a PNG, JPEG or WebP picture."}) from error
    if max(width, height) > 4000:  # noqa: PLR2004 (larger than any screen shows a tile)
        raise Invalid({"/picture": "The picture must be at most 4000 pixels wide and high."})
    return StoredFile.objects.create(
        name=name[:200],
        content_type=PICTURE_TYPES[kind],
        sha256=hashlib.sha256(content).hexdigest(),
        content=content,
    )
