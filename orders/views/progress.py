"""How far an order has got, in words: read from the database alone, so that the page never says more."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime

from core.templatetags.greenlane import duration
from orders.models import Order
from provisioning.models import Run, ServiceInstance, Step

CSS = {
    Step.State.PENDING: "wait",
    Step.State.READY: "wait",
    Step.State.RUNNING: "active",
    Step.State.POLLING: "active",
    Step.State.RETRY: "active",
    Step.State.WAITING_FOR_PERSON: "person",
    Step.State.OUTCOME_UNKNOWN: "person",
    Step.State.SUCCEEDED: "done",
    Step.State.FAILED: "failed",
    Step.State.COMPENSATION_FAILED: "failed",
    Step.State.SKIPPED: "skipped",
    Step.State.CANCELED: "skipped",
    Step.State.COMPENSATED: "skipped",
}
SHOWN_SECONDS = 0.05  # shorter ones would read as "0.0 s"
LATE = "It takes longer than promised. The work goes on by itself: you need not order again."


@dataclass(frozen=True)
class Row:
    """One line of the timeline."""

    name: str
    css: str
    state_label: str
    detail: str = ""
    seconds: float | None = None
    next_run_at: datetime | None = None


@dataclass(frozen=True)
class Progress:
    """All that the live part of the page says. `done`: nothing will change by itself any more."""

    heading: str
    status_line: str
    tone: str
    done: bool
    steps: list[Row]
    trouble: list[tuple[str, str]] = field(default_factory=list)

    @property
    def steps_done(self) -> int:
        """How many lines of the timeline are behind us."""
        return sum(row.css in {"done", "skipped"} for row in self.steps)

    @property
    def current(self) -> Row | None:
        """What is going on now."""
        return next((row for row in self.steps if row.css in {"active", "person"}), None)

    @property
    def sentence(self) -> str:
        """What a screen reader says: the heading, and what is going on now."""
        return f"{self.heading}. {self.current.name}." if self.current and not self.done else f"{self.heading}."


def progress_of(order: Order, steps: Sequence[Step], now: datetime, *, shows_errors: bool) -> Progress:
    """Put an order with the steps of its runs into words.

    `order` comes with its plan, version, offering, figures, decision and instance; `steps` with their runs,
    oldest run first. `shows_errors` adds what went wrong at the back ends, which is for IT.
    """
    rows = [_decided(order), *(_row(step, shows_errors=shows_errors) for step in steps if _is_setup(step))]
    rows += [_ready(order)] if order.instance else []
    rows += [_row(step, shows_errors=shows_errors) for step in _latest_change(steps)]
    tone, heading = _headline(order, rows)
    is_moving = order.state in Order.OPEN or any(step.run.state in Run.OPEN for step in steps)
    return Progress(
        heading=heading,
        status_line=_status_line(order, rows, now),
        tone=tone,
        done=not is_moving,
        steps=rows,
        trouble=_trouble(order, steps),
    )


def _is_setup(step: Step) -> bool:
    return step.run.kind == Run.Kind.PROVISION


def _latest_change(steps: Sequence[Step]) -> list[Step]:
    """Give the steps of the last run that changed what was delivered, such as a new password."""
    later = [step for step in steps if not _is_setup(step)]
    return [step for step in later if step.run_id == later[-1].run_id]


def _decided(order: Order) -> Row:
    """Say what the rules said, first of all."""
    if order.state == Order.State.DENIED:
        reasons = [reason["message"] for reason in order.decision.reasons if reason["message"]]
        return Row("Order checked", "failed", "Not accepted", " ".join(reasons))
    if order.state == Order.State.AWAITING_APPROVAL:
        return Row("Order checked", "person", "Needs approval", "A person has to approve it.")
    checks = len(order.decision.reasons)
    return Row("Order accepted", "done", "Done", f"Pre-authorized: all {checks} checks passed, no approval needed.")


def _row(step: Step, *, shows_errors: bool) -> Row:
    took = None
    if step.state == Step.State.SUCCEEDED and step.started_at and step.finished_at:
        took = (step.finished_at - step.started_at).total_seconds()
        took = took if took >= SHOWN_SECONDS else None
    detail = step.detail
    if step.state == Step.State.RETRY:
        detail = "It did not work at once."
    if shows_errors and step.error:
        detail = f"{detail} {step.error}".strip()
    again_at = step.next_run_at if step.state == Step.State.RETRY else None
    return Row(step.name, CSS[Step.State(step.state)], step.get_state_display(), detail, took, again_at)


def _ready(order: Order) -> Row:
    instance = order.instance
    if instance and instance.active_at:
        took = (instance.active_at - order.created_at).total_seconds()
        return Row("Ready to use", "done", "Done", seconds=took)
    if order.state in Order.OPEN and not order.cancel_requested_at:
        return Row("Ready to use", "wait", "Waiting")
    return Row("Ready to use", "skipped", "Skipped")


def _headline(order: Order, rows: list[Row]) -> tuple[str, str]:
    """Give the tone and the heading of the page."""
    name = order.name
    if order.state == Order.State.COMPLETED:
        return _delivered_headline(order)
    if order.state == Order.State.FULFILLING:
        if order.cancel_requested_at:
            return "active", f"{name} is being canceled"
        waits = any(row.css == "person" for row in rows)
        return ("person", f"{name} waits for a person") if waits else ("active", f"{name} is being delivered")
    return {
        Order.State.SUBMITTED: ("active", f"{name} is being checked"),
        Order.State.AWAITING_APPROVAL: ("person", f"{name} waits for approval"),
        Order.State.DENIED: ("failed", f"{name} was not accepted"),
        Order.State.FAILED: ("failed", f"{name} could not be delivered"),
        Order.State.CANCELED: ("skipped", f"{name} is canceled"),
    }[Order.State(order.state)]


def _delivered_headline(order: Order) -> tuple[str, str]:
    name, state = order.name, order.instance.state if order.instance else ServiceInstance.State.ACTIVE
    return {
        ServiceInstance.State.ACTIVE: ("done", f"{name} is ready"),
        ServiceInstance.State.UPDATING: ("active", f"{name} is getting a new password"),
        ServiceInstance.State.SUSPENDED: ("person", f"{name} is suspended"),
        ServiceInstance.State.RETIRING: ("active", f"{name} is being removed"),
        ServiceInstance.State.RETIRED: ("skipped", f"{name} was removed"),
        ServiceInstance.State.MISSING: ("failed", f"{name} cannot be found at its back end"),
    }.get(ServiceInstance.State(state), ("failed", f"{name} has failed"))


def _status_line(order: Order, rows: list[Row], now: datetime) -> str:
    if order.state == Order.State.COMPLETED and order.instance and order.instance.active_at:
        took = (order.instance.active_at - order.created_at).total_seconds()
        return f"{order.plan.version.name}, {order.plan.name}. Delivered in {duration(took)}."
    if order.state == Order.State.CANCELED:
        return "What had been made was taken back, and nothing is charged."
    if order.state != Order.State.FULFILLING:
        return f"{order.plan.version.name}, {order.plan.name}."
    if order.cancel_requested_at:
        return "What was made so far is being taken back."
    if any(row.css == "person" for row in rows):
        return "One step is done by a person. You need not wait here: the order stays under My orders."
    return f"{order.plan.version.name}, {order.plan.name}. {_expectation(order, now)}"


def _expectation(order: Order, now: datetime) -> str:
    """Say how long it usually takes, or that it takes longer than that."""
    version = order.plan.version
    figures = getattr(version.offering, "figures", None)
    limit = version.promised_delivery_seconds or (figures.p95_seconds if figures else None)
    if limit and (now - order.created_at).total_seconds() > limit:
        return LATE
    if figures and figures.usual_seconds:
        return f"Usually ready in {duration(figures.usual_seconds)}."
    return f"Promised within {duration(limit)}." if limit else ""


def _trouble(order: Order, steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Say what happened, what we do and what the person can do, where an order came to a bad end."""
    reference = ("Reference", f"Order {order.number}")
    if order.state == Order.State.DENIED:
        return [("What you can do", "Change what the rules refused, and order again."), reference]
    if order.state != Order.State.FAILED:
        return []
    broken = next((step.name for step in steps if step.state == Step.State.FAILED), "")
    happened = f"“{broken}” did not work, however often we tried." if broken else "The delivery did not work."
    left = any(step.run.state == Run.State.COMPENSATION_FAILED for step in steps)
    ours = (
        "Something could not be taken back. An IT admin has to look at it; you need do nothing."
        if left
        else "What had been made was taken back, and nothing is charged. IT admins see the order among the failed ones."
    )
    yours = "Order it again, or ask your IT admins and name the reference."
    return [("What happened", happened), ("What we do", ours), ("What you can do", yours), reference]
