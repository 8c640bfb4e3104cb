"""What a campaign showed, as tables on the terminal."""

import statistics
from collections import Counter

from rich.console import Console
from rich.table import Table

from chaos.campaign import Result
from chaos.watch import Seen

WIDTH = 132
REDIS_GOAL_SECONDS, POSTGRES_GOAL_SECONDS, DUE_GOAL_SECONDS = 60.0, 30.0, 30.0
console = Console(width=WIDTH, highlight=False, no_color=True)


def say(line: str) -> None:
    """Print one line at once."""
    console.print(line, markup=False)


def tell_round(result: Result) -> None:
    """Print one line for a round, and its violations."""
    states = ", ".join(f"{number} {state}" for state, number in sorted(result.states.items()))
    verdict = "ok" if not result.violations else f"{len(result.violations)} VIOLATIONS"
    say(
        f"round {result.number:>3}: {verdict}; {states}; {result.seconds:.0f} s, quiet {result.quiet_after:.1f} s after"
        f" the last blow; {' '.join(result.actions)}"
    )
    for line in [*result.failed, *result.violations]:
        say(f"    {line}")


def tell_campaign(
    results: list[Result], *, lease: float, hanging: list[str], codes: list[int], far: Counter[str]
) -> bool:
    """Print the tables of a whole campaign; tell whether all held."""
    violations = [violation for result in results for violation in result.violations]
    seen = Seen()
    for result in results:
        seen.add(result.seen)
    late = [seconds for seconds in seen.after_restart_of_postgres if seconds > POSTGRES_GOAL_SECONDS]
    late += [seconds for seconds in seen.after_loss_of_redis if seconds > REDIS_GOAL_SECONDS]
    console.print(_invariants(results, violations))
    console.print(_goals(results, seen, violations, lease))
    console.print(_story(results, far))
    if codes:
        say(f"Workers asked to end: {len(codes)}, exit codes {dict(Counter(codes))}.")
    for line in hanging:
        say(line)
    first = next((result for result in results if result.violations), None)
    if first:
        say(f"Repeat the first bad round: make chaos ROUNDS=1 SEED={first.seed} FROM={first.number}")
    return not violations and not late


def _invariants(results: list[Result], violations: list[str]) -> Table:
    counted = Counter(violation.partition(":")[0] for violation in violations)
    table = Table(title=f"Invariants after {len(results)} rounds", title_justify="left")
    table.add_column("")
    table.add_column("what must hold")
    table.add_column("violations", justify="right")
    for name, text in INVARIANTS.items():
        table.add_row(name, text, "no ledger yet" if name in {"I3", "I7"} else str(counted.pop(name, 0)))
    for name, number in counted.items():
        table.add_row("", name[:100], str(number))
    return table


def _goals(results: list[Result], seen: Seen, violations: list[str], lease: float) -> Table:
    table = Table(title="Goals", title_justify="left")
    for column in ("goal", "wanted", "measured", "held"):
        table.add_column(column)
    lost = len([one for one in violations if "is lost" in one or "nobody took" in one])
    doubled = len([one for one in violations if "several orders" in one or "keys" in one])
    orphans = len([one for one in violations if one.startswith("G2")])
    taken = sum(result.orders for result in results)
    _count(table, f"orders lost, of {taken}", lost)
    _count(table, "duplicate orders or live things", doubled)
    _count(table, "orphans older than 10 minutes", orphans)
    undone = sum(len(result.failed) for result in results)
    table.add_row("orders undone for the mischief, not for their own fault", "told only", str(undone), "-")
    _times(table, "step of a killed worker goes on, nothing else wrong", seen.lonely_recoveries, 2 * lease)
    _times(table, "step of a killed worker goes on, in all the mischief", seen.recoveries, None)
    _times(table, "queued work runs again after Redis lost all", seen.after_loss_of_redis, REDIS_GOAL_SECONDS)
    _times(table, "serving after PostgreSQL restarted", seen.after_restart_of_postgres, POSTGRES_GOAL_SECONDS)
    _times(table, "a due step waits, with Redis and a worker there", [seen.oldest_due_with_all_up], DUE_GOAL_SECONDS)
    _times(table, "a due step waits, outages included", [seen.oldest_due], None)
    return table


def _count(table: Table, goal: str, number: int) -> None:
    table.add_row(goal, "0", str(number), "yes" if number == 0 else "NO")


def _times(table: Table, goal: str, measured: list[float], most: float | None) -> None:
    wanted = f"max {most:.0f} s" if most is not None else "told only"
    if not measured:
        table.add_row(goal, wanted, "did not happen", "-")
        return
    told = f"{len(measured)}: median {statistics.median(measured):.1f} s, max {max(measured):.1f} s"
    told = told if len(measured) > 1 else f"{measured[0]:.1f} s"
    held = "-" if most is None else "yes" if max(measured) <= most else "NO"
    table.add_row(goal, wanted, told, held)


def _story(results: list[Result], far: Counter[str]) -> Table:
    table = Table(title="What happened", title_justify="left")
    table.add_column("what")
    table.add_column("how often")
    sums: dict[str, Counter[str]] = {"mischief": Counter(), "orders ended": Counter(), "answers to clients": Counter()}
    for result in results:
        sums["mischief"].update(result.actions)
        sums["orders ended"].update(result.states)
        sums["answers to clients"].update(result.statuses)
    sums["far side"] = far
    for what, counter in sums.items():
        table.add_row(what, ", ".join(f"{name} {number}" for name, number in sorted(counter.items())))
    return table


INVARIANTS = {
    "I1": "every accepted order has come to its end, once",
    "I2": "what lives at the far sides is what is active here; passwords open it",
    "I3": "consumer side = provider side; one charge a service and slice",
    "I4": "no lease run out for longer than twice its length",
    "I5": "with Redis and a worker there, no due step waits longer than 30 s",
    "I6": "the audit trail is an unbroken chain",
    "I7": "reserved and spent within the limit",
    "I8": "no secret in clear in logs, Redis or the database",
    "I9": "events tell every change of state, and lead to the state of the row",
}
