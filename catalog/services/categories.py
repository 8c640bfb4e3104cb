"""The shelves of the catalog."""

from typing import Any

from django.core.exceptions import ValidationError
from django.db import transaction

from catalog.models import Category
from core import events
from core.permissions import require
from core.problems import Invalid


@transaction.atomic
def save_category(
    category: Category | None, *, slug: str, name: str, icon: str, color: str, position: int, actor: Any
) -> Category:
    """Put up a shelf (`category` None) or change one. Raises Invalid for a bad or used slug."""
    require(actor, "catalog.change_category" if category else "catalog.add_category", category)
    made = category is None
    row = category or Category()
    row.slug, row.name, row.icon, row.color, row.position = slug, name, icon, color, position
    try:
        row.full_clean()
    except ValidationError as error:
        raise Invalid({f"/{at}": " ".join(texts) for at, texts in error.message_dict.items()}) from error
    row.save()
    events.record("category.added" if made else "category.changed", row, actor=actor, slug=slug, name=name)
    return row
