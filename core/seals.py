"""The chain over the audit trail: every sealed event's hash covers all before it, so that no edit hides."""

import hashlib
from collections.abc import Callable, Iterator

from django.db import connection

from core.models import Event, EventSeal

SEAL_LOCK = 4_102_002
START = "0" * 64
TELL_EVERY = 5_000
# An array, not joined text: nothing can be moved from one column into the next without being seen.
CONTENT = """
    encode(sha256(convert_to(jsonb_build_array(event.id, extract(epoch FROM event.at), event.actor_id, event.actor,
           event.name, event.subject_type, event.subject_id, event.facts)::text, 'UTF8')), 'hex')
"""


def seal_events(limit: int = 5000, lookback: int = 20_000) -> int:
    """Seal committed events that have no seal yet, in order; give how many. Needs an open transaction.

    Ids are drawn before they are committed, so a lower one may come late: looked for `lookback` ids behind.
    """
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s)", [SEAL_LOCK])
        cursor.execute(
            f"""SELECT event.id, {CONTENT} FROM core_event AS event
                WHERE event.id > (SELECT coalesce(max(event_id), 0) FROM core_eventseal) - %s
                  AND NOT EXISTS (SELECT 1 FROM core_eventseal AS seal WHERE seal.event_id = event.id)
                ORDER BY event.id LIMIT %s""",  # noqa: S608 (a constant, no input)
            [lookback, limit],
        )
        unsealed = cursor.fetchall()
    last = EventSeal.objects.order_by("-seq").first()
    seq, previous = (last.seq, last.row_hash) if last else (0, START)
    seals = []
    for event_id, content in unsealed:
        seq += 1
        row_hash = link(seq, previous, content)
        seals.append(EventSeal(seq=seq, event_id=event_id, prev_hash=previous, row_hash=row_hash))
        previous = row_hash
    EventSeal.objects.bulk_create(seals, batch_size=1000)
    return len(seals)


def link(seq: int, previous: str, content: str) -> str:
    """Hash one link of the chain: its place, the link before, and what it seals."""
    return hashlib.sha256(f"{seq}|{previous}|{content}".encode()).hexdigest()


def faults(walked: Callable[[int], None] = lambda _seq: None) -> Iterator[str]:
    """Walk the whole chain; yield a sentence for each edited, missing or inserted row.

    `walked` is told how far it got, every so often: a long chain takes a while. It is read in chunks.
    """
    expected, previous = 0, START
    with connection.chunked_cursor() as cursor:
        cursor.execute(
            f"""SELECT seal.seq, seal.event_id, seal.prev_hash, seal.row_hash, event.id IS NOT NULL, {CONTENT}
                FROM core_eventseal AS seal LEFT JOIN core_event AS event ON event.id = seal.event_id
                ORDER BY seal.seq"""  # noqa: S608 (a constant, no input)
        )
        for seq, event_id, prev_hash, row_hash, exists, content in cursor:
            expected += 1
            if seq != expected:
                yield f"Seal {expected} is missing."
                expected = seq
            if not exists:
                yield f"Event {event_id} was deleted (seal {seq})."
            elif prev_hash != previous or row_hash != link(seq, prev_hash, content):
                yield f"Event {event_id} or its seal {seq} was changed."
            previous = row_hash
            if seq % TELL_EVERY == 0:
                walked(seq)


def unsealed_count() -> int:
    """Count the events that no seal covers yet."""
    return Event.objects.filter(seal__isnull=True).count()
