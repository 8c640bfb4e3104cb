"""A campaign: round after round of orders under mischief, then silence, then the questions."""

import contextlib
import random
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from django.db import DatabaseError, InterfaceError, connection

from chaos import canaries, invariants
from chaos.far_side import Register
from chaos.mischief import Mischief, draw
from chaos.offerings import Shop
from chaos.site import Site
from chaos.traffic import Traffic, plan_orders
from chaos.watch import Seen, Watch
from orders.models import Order
from provisioning.connectors.names import name_for
from provisioning.models import Breaker, Step
from provisioning.services.runs import ClockTimestamp

# Of the time in which mischief begins, how much is for ordering.
ORDERING = 0.8
ACTIONS = (4, 7)
CALM_EVERY, DEATHS = 5, ("worker_killed", "place_killed")
# How long all may take to end once nothing goes wrong any more.
QUIET_SECONDS = 60.0
# After so long what only waits for its back-off is made due: a round shall not last minutes.
PATIENCE_SECONDS = 3.0
TICK_SECONDS = 0.05


@dataclass
class Result:
    """What one round showed."""

    number: int
    seed: str
    actions: list[str]
    states: Counter[str] = field(default_factory=Counter)
    orders: int = 0
    # Orders that could have succeeded and were undone, with the reason: told, since a back end may be away for long.
    failed: list[str] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    seconds: float = 0.0
    quiet_after: float = 0.0
    statuses: Counter[str] = field(default_factory=Counter)
    seen: Seen = field(default_factory=Seen)


class Campaign:
    """All rounds on one site."""

    def __init__(
        self, site: Site, shop: Shop, register: Register, *, seed: int, seconds: float, database_url: str
    ) -> None:
        self.site, self.shop, self.register = site, shop, register
        self.seed, self.seconds, self.database_url = seed, seconds, database_url
        self.cleared: set[str] = set()

    def play(self, number: int, *, orders: int, allowed: list[str], dealt: list[str] | None = None) -> Result:
        """Play round `number` and check; what happens is `dealt`, or drawn from the `allowed` actions."""
        chance = random.Random(f"{self.seed}/{number}")  # noqa: S311 (chance by seed is the point)
        self.site.chance = chance
        began, label = time.monotonic(), f"r{number}"
        wanted = plan_orders(chance, orders, label, self.seconds * ORDERING)
        names = dealt or self._drawn(chance, number, allowed)
        watch = Watch(self.database_url, self.site.client)
        mischief = Mischief(self.site, self.register, watch, chance)
        mischief.plan(names, self.seconds)
        traffic = Traffic(self.site.client(), self.shop, wanted)
        result = Result(number, str(self.seed), names, orders=orders)
        self._go_wrong(mischief, traffic, watch)
        result.violations += self._become_quiet(result, watch)
        traffic.end()
        result.statuses, result.seen = traffic.statuses, watch.conclude()
        result.violations += traffic.faults
        round_ = invariants.read_round(label, wanted, result.seen)
        result.states.update(order.state for order in round_.orders.values())
        result.failed = [
            f"{one.key}: {why_failed(round_.orders[one.order_id])}"
            for one in wanted
            if one.kind.succeeds and one.order_id in round_.orders
            if round_.orders[one.order_id].state == Order.State.FAILED
        ]
        result.violations += self._questions(round_)
        result.seconds = time.monotonic() - began
        return result

    def _drawn(self, chance: random.Random, number: int, allowed: list[str]) -> list[str]:
        """Draw what happens; in every fifth round a single death, so that its recovery is measured alone."""
        deaths = [name for name in DEATHS if name in allowed]
        if deaths and number % CALM_EVERY == 0:
            return [chance.choice(deaths)]
        return draw(chance, chance.randint(*ACTIONS), allowed)

    def _go_wrong(self, mischief: Mischief, traffic: Traffic, watch: Watch) -> None:
        """Do mischief while people order, until both are over."""
        while not (mischief.is_over() and traffic.is_over()):
            mischief.tick()
            self.site.supervise()
            watch.sample(is_up=self.site.can_work())
            time.sleep(TICK_SECONDS)

    def _become_quiet(self, result: Result, watch: Watch) -> list[str]:
        """Wait until all is done; say what is not."""
        self.register.mood = ""
        started = time.monotonic()
        connection.close()  # the database may be another process by now
        while time.monotonic() < started + QUIET_SECONDS:
            self.site.supervise()
            watch.sample(is_up=self.site.can_work())
            if self.site.is_up() and invariants.is_quiet():
                result.quiet_after = time.monotonic() - started
                return []
            if time.monotonic() > started + PATIENCE_SECONDS:
                hurry()
            time.sleep(TICK_SECONDS * 4)
        result.quiet_after = QUIET_SECONDS
        return [f"I1: not quiet within {QUIET_SECONDS:.0f} s: {left}" for left in invariants.what_is_left()]

    def _questions(self, round_: invariants.Round) -> list[str]:
        """Ask everything that must hold."""
        instances = round_.instances
        needles = [self.register.canary, self.register.token, self.shop.token, *canaries.drawn_for(instances)]
        redis_url = self.site.redis.url if self.site.redis else ""
        answers = [
            invariants.no_order_is_lost_or_doubled(round_),
            invariants.what_lives_is_what_is_active(round_, self.register),
            invariants.passwords_open_what_was_delivered(round_),
            invariants.no_lease_is_left_behind(),
            invariants.nothing_due_waits(round_),
            invariants.the_chain_is_whole(),
            invariants.no_orphan_is_old(),
            invariants.events_tell_the_states(round_),
            canaries.found_in_clear(needles, self._logs(), redis_url),
            invariants.nothing_came_back(self.cleared),
        ]
        violations = [sentence for answer in answers for sentence in answer]
        if not violations:
            invariants.clear(round_)
            self.cleared |= {name_for(instance.name, instance.pk) for instance in instances}
            self.site.forget_old_logs()
        return violations

    def _logs(self) -> list[Path]:
        return [*self.site.logs(), *self.site.server_logs()]


def hurry() -> None:
    """Make due what only waits for its back-off, as an operator's “try again now” does."""
    with contextlib.suppress(DatabaseError, InterfaceError):
        Step.objects.filter(state=Step.State.RETRY, lease_token__isnull=True, next_run_at__gt=ClockTimestamp()).update(
            next_run_at=ClockTimestamp()
        )
        Breaker.objects.filter(state=Breaker.State.OPEN).update(probe_at=ClockTimestamp())


def why_failed(order: Order) -> str:
    """Say what the engine gives as the reason."""
    run = order.instance.runs.order_by("created_at").first() if order.instance else None
    return run.reason if run else "it was never begun"
