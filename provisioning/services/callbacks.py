"""News that a back end sends of itself, signed as Standard Webhooks says (https://www.standardwebhooks.com)."""

import base64
import binascii
import hashlib
import hmac
import logging
import os
import time
from collections.abc import Iterator, Mapping
from typing import Any

from django.db.models import Q

import catalog.services as catalog
from core import bell, events, secrets
from core.problems import Invalid
from core.transactions import run as in_transaction
from provisioning.models import Callback, Step
from provisioning.services.runs import ClockTimestamp

logger = logging.getLogger(__name__)

TOLERANCE_SECONDS = 300
LONGEST_ID = 200
PREFIX = "whsec_"
TAKEN, REPEATED, UNKNOWN = "taken", "repeated", "unknown"


class NotSigned(Exception):  # noqa: N818 (what the message is)
    """Nobody can say that this comes from the back end."""


def check_signature(slug: str, headers: Mapping[str, str], raw: bytes) -> str:
    """Give the `webhook-id` of a message whose bytes a secret of the back end `slug` has signed lately.

    `headers` are read by their names in lower case; of several signatures, and of several secrets in force, one
    pair must fit. Raises NotSigned, alike for an unknown back end and for a wrong signature.
    """
    message, timestamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    is_fresh = timestamp.isascii() and timestamp.isdigit() and len(timestamp) < 12  # noqa: PLR2004 (seconds since 1970)
    is_fresh = is_fresh and abs(time.time() - int(timestamp)) <= TOLERANCE_SECONDS
    content = f"{message}.{timestamp}.".encode("latin-1", "replace") + raw
    given = [part.partition(",") for part in headers.get("webhook-signature", "").split(" ")[:20]]
    fits = False
    for key in _keys_of(slug):
        expected = base64.b64encode(hmac.new(key, content, hashlib.sha256).digest())
        for version, _, signature in given:
            is_this = hmac.compare_digest(expected, signature.encode("latin-1", "replace"))
            fits = fits or (version == "v1" and is_this)
    if not (message and is_fresh and fits):
        raise NotSigned
    return message


def take_news(slug: str, webhook_id: str, news: Mapping[str, Any]) -> str:
    """Keep what the back end `slug` says of a step, and have the step looked at now.

    `news` has `idempotency_key` or `external_ref`, `status` and, where told, `outputs` and `detail`. Gives
    `taken`, `repeated` for an id that was taken before, or `unknown` where no step waits for it: then nothing is
    kept. Raises Invalid for an id that is too long.
    """
    if len(webhook_id) > LONGEST_ID:
        raise Invalid({"": f"The webhook-id must have at most {LONGEST_ID} characters."})

    def change() -> str:
        if Callback.objects.filter(back_end=slug, webhook_id=webhook_id).exists():
            return REPEATED
        step = _step_of(slug, news)
        if step is None:
            return UNKNOWN
        _, is_new = Callback.objects.get_or_create(
            back_end=slug, webhook_id=webhook_id, defaults={"step": step, "body": _kept(news)}
        )
        if not is_new:
            return REPEATED
        events.record("step.news", step, back_end=slug, status=news["status"])
        Step.objects.filter(pk=step.pk, state=Step.State.POLLING, lease_token=None).update(next_run_at=ClockTimestamp())
        bell.ring(step.pk, step.queue)
        return TAKEN

    return in_transaction(change)


def _step_of(slug: str, news: Mapping[str, Any]) -> Step | None:
    """Find the open step of this back end that the news is about; of several, the newest."""
    rows = Step.objects.filter(back_end=slug, state__in=Step.WORKABLE)
    if news.get("idempotency_key"):
        return rows.filter(idempotency_key=news["idempotency_key"]).first()
    reference = news["external_ref"]
    # While it is polled, where to ask stands before the back end's own name for it.
    while_polled = Q(external_ref__startswith="poll ", external_ref__endswith=f" {reference}")
    return rows.filter(Q(external_ref=reference) | while_polled).order_by("-created_at").first()


def _kept(news: Mapping[str, Any]) -> dict[str, Any]:
    return {name: news[name] for name in ("status", "outputs", "detail") if name in news}


def _keys_of(slug: str) -> Iterator[bytes]:
    """Give the secrets in force, and where there are none one that nobody knows, so that the answer takes as long."""
    written: list[str] = []
    try:
        written = catalog.opened(slug)[1].get("callback_secrets", "").split()
    except LookupError:
        logger.info("News for a back end that is not known.")
    except secrets.Unreadable as error:
        logger.warning("News of the back end %s cannot be checked: %s", slug, error)
    keys = [key for key in map(_key, written) if key]
    yield from keys or [os.urandom(32)]


def _key(written: str) -> bytes:
    try:
        return base64.b64decode(written.removeprefix(PREFIX), validate=True)
    except (binascii.Error, ValueError):
        logger.warning("A callback secret is not of the form %s and base64.", PREFIX)
        return b""
