"""People who order through the API, do not give up, sometimes press twice and sometimes change their mind."""

import http.client
import random
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from chaos.offerings import KINDS, Kind, Shop
from tests.processes import Web

CLIENTS = 4
TWICE, CANCELED = 0.15, 0.15
CANCEL_AFTER_SECONDS = (0.0, 4.0)
GIVE_UP_SECONDS = 90.0
PAUSE_SECONDS = 0.2
CREATED, OK, CONFLICT, UNAVAILABLE, SERVER_FAULT = 201, 200, 409, 503, 500
NO_ANSWER = (OSError, http.client.HTTPException, ValueError)


@dataclass
class Wanted:
    """One order that somebody wants: what was answered to him, each time that he asked."""

    kind: Kind
    key: str
    name: str
    at: float
    twice: bool
    cancel_after: float | None
    ids: set[str] = field(default_factory=set)
    # 200: it is being canceled; 409: it had ended, or an earlier press without an answer had canceled it.
    cancel_status: int = 0
    gave_up: bool = False

    @property
    def order_id(self) -> str:
        """The order that came of it."""
        return next(iter(self.ids), "")


def plan_orders(chance: random.Random, how_many: int, label: str, seconds: float) -> list[Wanted]:
    """Draw what is ordered within `seconds`, by the weights of the kinds."""
    kinds = list(KINDS.values())
    drawn = chance.choices(kinds, [kind.weight for kind in kinds], k=how_many)
    return [
        Wanted(
            kind=kind,
            key=f"{label}-{number}",
            name=f"{label} {number}",
            at=chance.uniform(0, seconds),
            twice=chance.random() < TWICE,
            cancel_after=chance.uniform(*CANCEL_AFTER_SECONDS) if chance.random() < CANCELED else None,
        )
        for number, kind in enumerate(drawn)
    ]


class Traffic:
    """The clients of one round, at work in threads of their own."""

    def __init__(self, web: Web, shop: Shop, wanted: list[Wanted]) -> None:
        self.web, self.shop, self.wanted = web, shop, wanted
        self.statuses: Counter[str] = Counter()
        self.faults: list[str] = []
        self.slowest = 0.0
        self._lock = threading.Lock()
        self._pool = ThreadPoolExecutor(CLIENTS * 4, thread_name_prefix="client")
        self._began = time.monotonic()
        self._running = [self._pool.submit(self._press, one) for one in sorted(wanted, key=lambda one: one.at)]
        self._running += [self._pool.submit(self._press, one) for one in wanted if one.twice]

    def is_over(self) -> bool:
        """Tell whether everyone has his answer or gave up."""
        return all(future.done() for future in self._running)

    def end(self) -> None:
        """Wait for all; raise what a client could not cope with."""
        for future in self._running:
            future.result(timeout=GIVE_UP_SECONDS + 60)
        self._pool.shutdown()

    def _press(self, one: Wanted) -> None:
        """Order, again with the same key while there is no answer; cancel later if so planned."""
        time.sleep(max(0.0, self._began + one.at - time.monotonic()))
        body = self.shop.body(one.kind, one.name)
        status, answer = self._until_answered(one, "/api/v1/orders/", body, {CREATED})
        if not status:
            one.gave_up = True
            return
        with self._lock:
            is_first = not one.ids
            one.ids.add(str(answer["id"]))
        if one.cancel_after is not None and is_first:
            time.sleep(one.cancel_after)
            path = f"/api/v1/orders/{answer['id']}/cancel/"
            one.cancel_status, _ = self._until_answered(one, path, None, {OK, CONFLICT})

    def _until_answered(self, one: Wanted, path: str, body: Any, final: set[int]) -> tuple[int, dict[str, Any]]:
        """Send a POST until it has one of the `final` answers; (0, {}) where there was none in time."""
        ends_at = time.monotonic() + GIVE_UP_SECONDS
        while time.monotonic() < ends_at:
            started = time.monotonic()
            try:
                status, answer = self.web.request("POST", path, body, token=self.shop.token, key=one.key)
            except NO_ANSWER as error:
                self._note(type(error).__name__, started)
                time.sleep(PAUSE_SECONDS)
                continue
            self._note(str(status), started)
            if status in final:
                return status, answer
            if status not in {CONFLICT, UNAVAILABLE}:
                self.faults.append(f"POST {path} answered {status}: {answer}")
                if status < SERVER_FAULT:
                    break
            time.sleep(PAUSE_SECONDS)
        return 0, {}

    def _note(self, what: str, started: float) -> None:
        with self._lock:
            self.statuses[what] += 1
            self.slowest = max(self.slowest, time.monotonic() - started)
