"""The verbs of the catalog: what a version costs, and how one comes to be."""

from catalog.services.categories import save_category
from catalog.services.curation import (
    add_offering,
    change_offering,
    disentitle,
    entitle,
    missing,
    new_draft,
    pause,
    publish,
    remove_part,
    resume,
    retire,
    retire_plan,
    save_draft,
    save_part,
)
from catalog.services.documents import document_of, hash_of, hash_of_text
from catalog.services.pictures import set_picture
from catalog.services.quotes import Line, Quote, quote
from catalog.services.workflows import idempotency_of, secret_names

__all__ = [
    "Line",
    "Quote",
    "add_offering",
    "change_offering",
    "disentitle",
    "document_of",
    "entitle",
    "idempotency_of",
    "hash_of",
    "hash_of_text",
    "missing",
    "new_draft",
    "pause",
    "publish",
    "quote",
    "remove_part",
    "resume",
    "retire",
    "retire_plan",
    "save_category",
    "save_draft",
    "save_part",
    "secret_names",
    "set_picture",
]
