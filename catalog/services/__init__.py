"""The verbs of the catalog: what a version costs, and how one comes to be."""

from catalog.services.back_ends import (
    credentials_set,
    opened,
    rotate_keys,
    save_back_end,
)
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
from catalog.services.workflows import back_end_of, idempotency_of, later_inputs, nameable, queue_of, secret_names

__all__ = [
    "Line",
    "Quote",
    "add_offering",
    "back_end_of",
    "change_offering",
    "credentials_set",
    "disentitle",
    "document_of",
    "entitle",
    "hash_of",
    "hash_of_text",
    "idempotency_of",
    "later_inputs",
    "missing",
    "nameable",
    "new_draft",
    "opened",
    "pause",
    "publish",
    "queue_of",
    "quote",
    "remove_part",
    "resume",
    "retire",
    "retire_plan",
    "rotate_keys",
    "save_back_end",
    "save_category",
    "save_draft",
    "save_part",
    "secret_names",
    "set_picture",
]
