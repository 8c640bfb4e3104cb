"""How far an order has got, in words: read from the database alone, so that the page never says more."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from math import ceil

from django.utils import timezone

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
ROUNDED = 5  # seconds: nobody needs a new page each second
LATE = "It takes longer than promised. The work goes on by itself: you need not order again."


BROKEN = {Step.State.FAILED, Step.State.COMPENSATION_FAILED}
TONES = {
    Order.State.SUBMITTED: "active",
    Order.State.AWAITING_APPROVAL: "person",
    Order.State.FULFILLING: "active",
    Order.State.COMPLETED: "done",
    Order.State.DENIED: "failed",
    Order.State.FAILED: "failed",
    Order.State.CANCELED: "skipped",
}
HEADINGS = {
    Order.Action.ADD: {
        Order.State.AWAITING_APPROVAL: "{name} waits for approval",
        Order.State.FULFILLING: "{name} is being delivered",
        Order.State.DENIED: "{name} was not accepted",
        Order.State.FAILED: "{name} could not be delivered",
        Order.State.CANCELED: "{name} is canceled",
    },
    Order.Action.MODIFY: {
        Order.State.AWAITING_APPROVAL: "The change of {name} waits for approval",
        Order.State.FULFILLING: "{name} is being changed",
        Order.State.COMPLETED: "{name} is changed",
        Order.State.DENIED: "The change of {name} was not accepted",
        Order.State.FAILED: "{name} could not be changed",
        Order.State.CANCELED: "The change of {name} is canceled",
    },
    Order.Action.DELETE: {
        Order.State.AWAITING_APPROVAL: "The removal of {name} waits for approval",
        Order.State.FULFILLING: "{name} is being removed",
        Order.State.COMPLETED: "{name} is removed",
        Order.State.DENIED: "The removal of {name} was not accepted",
        Order.State.FAILED: "{name} could not be removed",
        Order.State.CANCELED: "The removal of {name} is canceled",
    },
}
CANCELING = {
    Order.Action.ADD: "{name} is being canceled",
    Order.Action.MODIFY: "The change of {name} is being canceled",
    Order.Action.DELETE: "{name} is being removed",
}
WAITING = {
    Order.Action.ADD: "{name} waits for a person",
    Order.Action.MODIFY: "The change of {name} waits for a person",
    Order.Action.DELETE: "The removal of {name} waits for a person",
}
CANCELED = {
    Order.Action.ADD: "What had been made was taken back, and nothing is charged.",
    Order.Action.MODIFY: "It is as it was before.",
    Order.Action.DELETE: "It stays.",
}


@dataclass(frozen=True)
class Row:
    """One line of the timeline."""

    name: str
    css: str
    state_label: str
    detail: str = ""
    seconds: float | None = None
    # Somebody of IT looks at it, and no task of a person who delivers.
    is_in_trouble: bool = False


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
    oldest run first, as many as belong on its page. `shows_errors` adds what went wrong at the back ends, which is
    for IT.
    """
    shown = _Shown(now, shows_errors=shows_errors)
    rows = [_decided(order), *(shown.row(step) for step in _own(order, steps))]
    if order.action == Order.Action.ADD:
        rows += [_ready(order)] if order.instance else []
        rows += [shown.row(step) for step in _latest_change(order, steps)]
    tone, heading = _headline(order, rows, steps)
    is_moving = order.state in Order.OPEN or any(step.run.state in Run.OPEN for step in steps)
    return Progress(
        heading=heading,
        status_line=_status_line(order, rows, now),
        tone=tone,
        done=not is_moving,
        steps=rows,
        trouble=_trouble(order, steps),
    )


def _own(order: Order, steps: Sequence[Step]) -> list[Step]:
    """Give the steps of the order's last run: what an earlier one tried is over."""
    own = [step for step in steps if step.run.order_ref == order.pk]
    return [step for step in own if step.run_id == own[-1].run_id]


def _latest_change(order: Order, steps: Sequence[Step]) -> list[Step]:
    """Give the steps of the last run that changed what was delivered, such as a new password."""
    later = [step for step in steps if step.run.order_ref != order.pk]
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


@dataclass(frozen=True)
class _Shown:
    """How steps become lines: at which time, and whether for IT."""

    now: datetime
    shows_errors: bool

    def row(self, step: Step) -> Row:
        """Put one step into words."""
        took = None
        if step.state == Step.State.SUCCEEDED and step.started_at and step.finished_at:
            took = (step.finished_at - step.started_at).total_seconds()
            took = took if took >= SHOWN_SECONDS else None
        detail = self._detail(step)
        if self.shows_errors and step.error:
            detail = f"{detail} {step.error}".strip()
        is_in_trouble = _is_held(step) or step.state == Step.State.OUTCOME_UNKNOWN
        css = "person" if is_in_trouble else CSS[Step.State(step.state)]
        return Row(step.name, css, _label(step), detail, took, is_in_trouble)

    def _detail(self, step: Step) -> str:
        is_silent = getattr(step, "is_silent", False)
        if is_silent and step.state in {Step.State.READY, Step.State.RETRY}:
            return "What it needs does not answer at the moment. It goes on by itself as soon as that is back."
        if step.state == Step.State.RETRY:
            return f"It did not work at once. {self._again(step)}"
        if step.state == Step.State.OUTCOME_UNKNOWN:
            return "Nobody can say yet whether this happened. An operator finds out, and then it goes on."
        if _is_held(step):
            return "It did not work. An operator looks at it; what was made so far is kept."
        return step.detail

    def _again(self, step: Step) -> str:
        left = (step.next_run_at - self.now).total_seconds() if step.next_run_at else 0.0
        if step.next_run_at is None or left <= 0:
            return "It is being tried again now."
        at = f"{timezone.localtime(step.next_run_at):%H:%M:%S}"
        return f"Will be tried again at {at}, in {duration(ceil(left / ROUNDED) * ROUNDED)}."


def _is_held(step: Step) -> bool:
    """Tell whether a failed step waits for an operator instead of being undone."""
    return step.state == Step.State.FAILED and step.run.state == Run.State.RUNNING


def _label(step: Step) -> str:
    if _is_held(step):
        return str(Step.State.WAITING_FOR_PERSON.label)
    if step.state == Step.State.SKIPPED and step.left_nothing:
        return "Not needed"
    return str(step.get_state_display())


def _ready(order: Order) -> Row:
    instance = order.instance
    if instance and instance.active_at:
        took = (instance.active_at - order.created_at).total_seconds()
        return Row("Ready to use", "done", "Done", seconds=took)
    if order.state in Order.OPEN and not order.cancel_requested_at:
        return Row("Ready to use", "wait", "Waiting")
    return Row("Ready to use", "skipped", "Skipped")


def _headline(order: Order, rows: list[Row], steps: Sequence[Step]) -> tuple[str, str]:
    """Give the tone and the heading of the page."""
    if order.state == Order.State.COMPLETED and order.action == Order.Action.ADD:
        return _delivered_headline(order, steps)
    state = Order.State(order.state)
    tone, words = TONES[state], HEADINGS[Order.Action(order.action)].get(state, "{name} is being checked")
    if order.state == Order.State.FULFILLING:
        if order.cancel_requested_at:
            words = CANCELING[Order.Action(order.action)]
        elif any(row.css == "person" for row in rows):
            tone, words = "person", WAITING[Order.Action(order.action)]
    return tone, words.format(name=order.name)


def _delivered_headline(order: Order, steps: Sequence[Step]) -> tuple[str, str]:
    name, state = order.name, order.instance.state if order.instance else ServiceInstance.State.ACTIVE
    is_rotating = bool(steps) and steps[-1].run.kind == Run.Kind.ROTATE
    return {
        ServiceInstance.State.ACTIVE: ("done", f"{name} is ready"),
        ServiceInstance.State.UPDATING: (
            "active",
            f"{name} is getting a new password" if is_rotating else f"{name} is being changed",
        ),
        ServiceInstance.State.SUSPENDED: ("person", f"{name} is suspended"),
        ServiceInstance.State.RETIRING: ("active", f"{name} is being removed"),
        ServiceInstance.State.RETIRED: ("skipped", f"{name} was removed"),
        ServiceInstance.State.MISSING: ("failed", f"{name} cannot be found at its back end"),
    }.get(ServiceInstance.State(state), ("failed", f"{name} has failed"))


def _status_line(order: Order, rows: list[Row], now: datetime) -> str:
    plan = order.instance.plan if order.instance and order.action == Order.Action.ADD else order.plan
    what = f"{order.plan.version.name}, {plan.name}."
    if order.state == Order.State.COMPLETED and order.action != Order.Action.ADD and order.completed_at:
        return f"{what} Done in {duration((order.completed_at - order.created_at).total_seconds())}."
    if order.state == Order.State.COMPLETED and order.instance and order.instance.active_at:
        took = (order.instance.active_at - order.created_at).total_seconds()
        return f"{what} Delivered in {duration(took)}."
    if order.state == Order.State.CANCELED:
        return CANCELED[Order.Action(order.action)]
    if order.state != Order.State.FULFILLING:
        return what
    if order.cancel_requested_at:
        return "What was done so far is being taken back."
    if any(row.is_in_trouble for row in rows):
        return "An operator looks at it. You need not wait here: the order stays under My orders."
    if any(row.css == "person" for row in rows):
        return "One step is done by a person. You need not wait here: the order stays under My orders."
    return f"{what} {_expectation(order, now)}".strip()


def _expectation(order: Order, now: datetime) -> str:
    """Say how long it usually takes, or that it takes longer than that."""
    if order.action != Order.Action.ADD:
        return ""
    version = order.plan.version
    figures = getattr(version.offering, "figures", None)
    limit = version.promised_delivery_seconds or (figures.p95_seconds if figures else None)
    if limit and (now - order.created_at).total_seconds() > limit:
        return LATE
    if figures and figures.usual_seconds:
        return f"Usually ready in {duration(figures.usual_seconds)}."
    return f"Promised within {duration(limit)}." if limit else ""


def _trouble(order: Order, steps: Sequence[Step]) -> list[tuple[str, str]]:
    """Say what happened, what we do and what the person can do, where an order or service came to a bad end."""
    reference = ("Reference", f"Order {order.number}")
    if order.state == Order.State.DENIED:
        return [("What you can do", "Change what the rules refused, and order again."), reference]
    if order.state == Order.State.COMPLETED and order.action == Order.Action.ADD and _is_missing(order):
        return [*_missing(order), reference]
    if order.state != Order.State.FAILED:
        return []
    own = _own(order, steps)
    broken = next((step.name for step in own if step.state in BROKEN), "")
    happened = f"“{broken}” did not work, however often we tried." if broken else "It did not work."
    left = any(step.run.state in {Run.State.COMPENSATION_FAILED, Run.State.ABANDONED} for step in own)
    ours, yours = _ways_out(order, is_left=left)
    return [("What happened", happened), ("What we do", ours), ("What you can do", yours), reference]


def _is_missing(order: Order) -> bool:
    return bool(order.instance and order.instance.state == ServiceInstance.State.MISSING)


def _missing(order: Order) -> list[tuple[str, str]]:
    looked = order.instance.checked_at if order.instance else None
    at = f" on {timezone.localtime(looked):%b %-d at %H:%M}" if looked else ""
    return [
        ("What happened", f"We looked{at}, and it was not at its back end any more. We did not take it away."),
        (
            "What we do",
            "We look again each hour. It is not made again by itself: what was in it would be lost.",
        ),
        ("What you can do", "Ask your IT admins and name the reference; or remove it here, and order a new one."),
    ]


def _ways_out(order: Order, *, is_left: bool) -> tuple[str, str]:
    """Say what we do about a failed order, and what the person can do."""
    if order.action == Order.Action.DELETE:
        return (
            "An IT admin has to look at it; you need do nothing.",
            "Wait: it goes on once an IT admin has seen to it. If it is urgent, name the reference.",
        )
    if is_left:
        ours = "Something could not be taken back. An IT admin has to look at it; you need do nothing."
    elif order.action == Order.Action.MODIFY:
        ours = "What had been changed was changed back: it is as it was before, and costs what it did."
    else:
        ours = "What had been made was taken back, and nothing is charged. IT admins see it among the failed ones."
    again = "Change it again" if order.action == Order.Action.MODIFY else "Order it again"
    return ours, f"{again}, or ask your IT admins and name the reference."
