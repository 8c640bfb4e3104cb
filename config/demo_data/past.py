"""What is known of an order of the past."""

from dataclasses import dataclass, field
from typing import Any

MINUTE, HOUR = 60.0, 3_600.0


@dataclass(frozen=True)
class Past:
    """One order of the past.

    `days_ago` and `at` (UTC) say when it was placed, `took` how many seconds its delivery lasted, and `kept`
    for how many days the service was used (None: it still is). `ended` is the order's last state; "open"
    is one that waits for a person, placed `hours_ago`.
    """

    name: str
    who: str
    plan: str
    cost_center: str
    purpose: str
    data: str
    days_ago: int = 0
    at: str = "09:00"
    took: float = 1.0
    kept: int | None = None
    ended: str = "completed"
    hours_ago: float = 0.0
    outputs: dict[str, str] = field(default_factory=dict)
    parameters: dict[str, Any] = field(default_factory=dict)
    why: str = ""
