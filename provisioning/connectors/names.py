"""What things are called at the back ends: recognizable to people, unique by the instance's id, safe anywhere."""

import re
from uuid import UUID

ID_DIGITS = 8


def name_for(instance_name: str, instance_id: UUID, *, longest: int = 63, separator: str = "_") -> str:
    """Derive the one name that an instance has at a back end, such as `campaign_db_1f2e3d4c`.

    Lower-case ASCII letters, digits and `separator` only, a letter first, `longest` bytes at most. Two
    instances of one name differ by the first digits of their ids.
    """
    words = re.sub(r"[^a-z0-9]+", separator, instance_name.lower()).strip(separator)
    if not words or not words[0].isalpha() or words.startswith("pg_"):  # PostgreSQL keeps pg_ for itself
        words = f"s{separator}{words}".rstrip(separator)
    words = words[: longest - ID_DIGITS - len(separator)].rstrip(separator)
    return f"{words}{separator}{instance_id.hex[:ID_DIGITS]}"
