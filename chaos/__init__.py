"""Chaos: orders by the dozen while workers, servers and back ends are killed, frozen and made to misbehave.

`python -m chaos --rounds N --seed S` runs on throw-away servers of its own, checks after every round what must
never be otherwise, and counts at the far side itself what is there. docs/reliability.md says what is checked.
"""
