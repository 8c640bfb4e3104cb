"""What happens to a site in a round: drawn by seed, begun on time, ended on time."""

import heapq
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from itertools import count

from chaos.far_side import MOODS, Register
from chaos.site import Site, Slot
from chaos.watch import Watch

FREEZE_SECONDS = (3.0, 6.0)
MOOD_SECONDS = (2.0, 5.0)
# How long a kill waits for a worker that is at work: an idle one loses nothing.
BUSY_SECONDS = 1.0
REDIS_AWAY_SECONDS = (0.5, 3.0)
# Of each kind how often it is drawn, relative to the others.
WEIGHTS = {
    "worker_killed": 4,
    "place_killed": 3,
    "worker_frozen": 3,
    "worker_ended": 2,
    "redis_flushed": 2,
    "redis_killed": 2,
    "redis_frozen": 2,
    "postgres_restarted": 2,
    "web_killed": 2,
    **dict.fromkeys((f"far_side_{mood}" for mood in MOODS), 1),
}


@dataclass(order=True)
class Entry:
    """One thing to do at a time."""

    at: float
    number: int
    do: Callable[[], object] = field(compare=False)


class Mischief:
    """The actions of one round. `tick` does what is due; call it from the main thread, often."""

    def __init__(self, site: Site, register: Register, watch: Watch, chance: random.Random) -> None:
        self.site, self.register, self.watch, self.chance = site, register, watch, chance
        self.done: list[str] = []
        self._entries: list[Entry] = []
        self._numbers = count()

    def plan(self, names: list[str], seconds: float) -> None:
        """Begin each of `names` at some time within `seconds` from now."""
        for name in names:
            self._later(self.chance.uniform(0.5, seconds), partial(self._begin, name))

    def tick(self) -> None:
        """Do what is due."""
        while self._entries and self._entries[0].at <= time.monotonic():
            heapq.heappop(self._entries).do()

    def is_over(self) -> bool:
        """Tell whether everything was begun and ended."""
        return not self._entries

    def _later(self, seconds: float, do: Callable[[], object]) -> None:
        heapq.heappush(self._entries, Entry(time.monotonic() + seconds, next(self._numbers), do))

    def _begin(self, name: str) -> None:
        self.done.append(name)
        self.watch.note_disturbance(name, datetime.now(UTC))
        if name.startswith("far_side_"):
            self._far_side(name.removeprefix("far_side_"))
        else:
            getattr(self, f"_{name}")()

    def _worker_killed(self) -> None:
        slot = self._busy_worker()
        held = self.watch.steps_held_by(self.site.pool_of(slot))
        self.site.kill(slot)
        self.watch.note_kill("worker", held)

    def _place_killed(self) -> None:
        slot = self._busy_worker()
        places = self.site.pool_of(slot)
        held = {pid: self.watch.steps_held_by([pid]) for pid in places}
        victim = next((pid for pid in places if held[pid]), None) or (self.chance.choice(places) if places else None)
        if victim:
            self.site.kill_place(victim)
            self.watch.note_kill("place", held[victim])

    def _busy_worker(self) -> Slot:
        """Choose a worker that is at work right now, if one is within a second."""
        slots = self.chance.sample(self.site.workers, len(self.site.workers))
        ends_at = time.monotonic() + BUSY_SECONDS
        while time.monotonic() < ends_at:
            for slot in slots:
                if self.watch.steps_held_by(self.site.pool_of(slot)):
                    return slot
            time.sleep(0.02)
        return slots[0]

    def _worker_frozen(self) -> None:
        slot = self.chance.choice(self.site.workers)
        frozen = slot.process
        self.site.freeze(slot)

        def wake() -> None:
            if slot.process is frozen:
                self.site.wake(slot)

        self._later(self.chance.uniform(*FREEZE_SECONDS), wake)

    def _worker_ended(self) -> None:
        self.site.ask_to_end(self.chance.choice(self.site.workers))

    def _redis_flushed(self) -> None:
        self.watch.note_emptied("flushed", self.watch.steps_due())
        self.site.flush_redis()

    def _redis_killed(self) -> None:
        self.watch.note_emptied("killed", self.watch.steps_due())
        self.site.kill_redis()
        self._later(self.chance.uniform(*REDIS_AWAY_SECONDS), self.site.start_redis)

    def _redis_frozen(self) -> None:
        self.site.signal_redis(signal.SIGSTOP)
        self._later(self.chance.uniform(*FREEZE_SECONDS), lambda: self.site.signal_redis(signal.SIGCONT))

    def _postgres_restarted(self) -> None:
        started = time.monotonic()
        self.site.restart_postgres()
        self.watch.wait_for_service(started)

    def _web_killed(self) -> None:
        self.site.kill(self.site.web)

    def _far_side(self, mood: str) -> None:
        self.register.mood = mood

        def calm_down() -> None:
            if self.register.mood == mood:
                self.register.mood = ""

        self._later(self.chance.uniform(*MOOD_SECONDS), calm_down)


def draw(chance: random.Random, how_many: int, allowed: list[str]) -> list[str]:
    """Draw what happens in a round, by weight, no kind twice as long as there are others."""
    names = list(allowed)
    drawn: list[str] = []
    for _ in range(how_many):
        rest = [name for name in names if name not in drawn] or names
        drawn += chance.choices(rest, [WEIGHTS[name] for name in rest])
    return drawn


def deal(chance: random.Random, names: list[str], rounds: int) -> list[list[str]]:
    """Deal every action out once over so many rounds."""
    shuffled = chance.sample(names, len(names))
    return [shuffled[number::rounds] for number in range(rounds)]
