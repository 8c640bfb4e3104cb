"""One run for operators: where it stands and why, every attempt, the log, and what may be done."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any
from uuid import UUID

from django import forms
from django.contrib.auth.decorators import login_required
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.utils import timezone
from django.utils.http import urlencode
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

import provisioning.services as provisioning
from core.permissions import require
from core.problems import Invalid
from core.views import post_only, see_other
from provisioning.forms import FindingForm, ReasonForm, known_outputs
from provisioning.models import Run, Step, StepAttempt, StepLine
from provisioning.services.operations import SKIPPABLE, can_begin_anew
from provisioning.services.shown import attempts_of, rows_of, seen_runs, steps_of, why_of
from provisioning.services.watching import Standing, standings
from provisioning.views.runs import digest

PAGE = "provisioning/run_detail.html"
INVALID = 422
MOST_LINES, SHOWN_ATTEMPTS = 2000, 10
POLL_SECONDS = 2
CSS = {
    Step.State.PENDING: "wait",
    Step.State.READY: "wait",
    Step.State.RUNNING: "active",
    Step.State.POLLING: "active",
    Step.State.RETRY: "active",
    Step.State.WAITING_FOR_PERSON: "person",
    Step.State.OUTCOME_UNKNOWN: "failed",
    Step.State.SUCCEEDED: "done",
    Step.State.FAILED: "failed",
    Step.State.COMPENSATION_FAILED: "failed",
    Step.State.SKIPPED: "skipped",
    Step.State.CANCELED: "skipped",
    Step.State.COMPENSATED: "skipped",
}
# These took as long as they took; a task or a retry is not over.
OVER = {Step.State.SUCCEEDED, Step.State.FAILED, Step.State.COMPENSATED, Step.State.COMPENSATION_FAILED}


@dataclass(frozen=True)
class Line:
    """One step in the timeline, with its last attempts."""

    step: Step
    css: str
    why: str
    seconds: float | None
    attempts: list[tuple[StepAttempt, float | None]]
    has_earlier: bool


@dataclass(frozen=True)
class Offer:
    """One thing that may be done: a button, or, with a `form`, what is asked before."""

    name: str
    title: str
    text: str
    url: str
    form: forms.Form | None = None
    danger: bool = False

    @property
    def is_open(self) -> bool:
        """Whether its form was sent and refused."""
        return bool(self.form and self.form.is_bound)


def _run_of(person: Any, pk: UUID) -> Any:
    """Give the run `pk`, where `person` may look at it. Raises PermissionDenied or Http404."""
    require(person, "provisioning.view_run")
    return get_object_or_404(seen_runs(person), pk=pk)


@login_required
@require_safe
@never_cache
def run_detail(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Show a run; with `?step=` the log of that step alone."""
    return render(request, PAGE, _context(request, _run_of(request.user, pk)))


@login_required
@require_safe
@never_cache
def run_live(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Answer a poll: nothing (204) unless something is new since `seen` and line `log` of the log."""
    sent = request.GET.get("log", "")
    known = int(sent) if sent.isdecimal() and sent.isascii() and len(sent) < len(str(2**63)) else 0
    meaning, _, rest = request.GET.get("seen", "").partition(".")
    detail, _, offers = rest.partition(".")
    context = _context(request, _run_of(request.user, pk), known_line=known)
    if context["seen"] == f"{meaning}.{detail}.{offers}" and not context["log"]:
        return HttpResponse(status=204)
    now_meaning, _, now_offers = context["seen"].split(".")
    # One sentence, and only where its meaning is new; forms are left alone while they still apply.
    context["say"] = f"{context['row'].label}. {context['row'].why}" if meaning != now_meaning else ""
    context["offers_are_new"] = offers != now_offers
    return render(request, f"{PAGE}#live_update", context)


def _context(
    request: HttpRequest, run: Any, *, refused: tuple[str, forms.Form] | None = None, known_line: int = 0
) -> dict[str, Any]:
    """Give all that the page of a run says, in a constant number of queries; of the log what is after `known_line`."""
    person, known = request.user, standings()
    row, steps = rows_of([run], known)[0], steps_of(run)
    lines = _timeline(run, steps, known)
    only = _step_asked_for(request, steps)
    log = _log(run, only, known_line)
    offers = _offers(run, row.step, known, person, refused)
    is_live = run.state in {*Run.OPEN, Run.State.COMPENSATION_FAILED}
    shown = [
        (line.step.pk, line.css, line.why, line.step.detail, line.step.error, len(line.attempts)) for line in lines
    ]
    marks = [digest((row.label, row.why)), digest(shown), digest([(offer.name, offer.url) for offer in offers])]
    seen = ".".join(marks)
    last_line = max([known_line, *(line.pk for line in log)])
    query = {"seen": seen, "log": str(last_line)} | ({"step": str(only.pk)} if only else {})
    return {
        "run": run,
        "row": row,
        "lines": lines,
        "facts": _facts(run),
        "log": log,
        "only": only,
        "offers": offers,
        "refused": refused[1] if refused else None,
        "seen": seen,
        "is_live": is_live,
        "poll_every": POLL_SECONDS if run.state in Run.OPEN else 5 * POLL_SECONDS,
        "poll_url": f"{reverse('provisioning:run_live', kwargs={'pk': run.pk})}?{urlencode(query)}",
    }


def _timeline(run: Any, steps: list[Step], known: dict[str, Standing]) -> list[Line]:
    attempts = attempts_of(run, SHOWN_ATTEMPTS + 1)
    return [
        Line(
            step,
            CSS[Step.State(step.state)],
            why_of(run, step, known),
            _took(step) if step.state in OVER else None,
            [(attempt, _took(attempt)) for attempt in attempts[step.pk][-SHOWN_ATTEMPTS:]],
            len(attempts[step.pk]) > SHOWN_ATTEMPTS,
        )
        for step in steps
    ]


def _took(row: Step | StepAttempt) -> float | None:
    """Give the seconds between start and end, where both are known."""
    return (row.finished_at - row.started_at).total_seconds() if row.started_at and row.finished_at else None


def _step_asked_for(request: HttpRequest, steps: list[Step]) -> Step | None:
    asked = request.GET.get("step", "")
    return next((step for step in steps if str(step.pk) == asked), None)


def _log(run: Run, only: Step | None, known_line: int) -> list[StepLine]:
    """Give the last lines of the technical log; no secret is in them."""
    lines = StepLine.objects.filter(step=only) if only else StepLine.objects.filter(step__run=run)
    newest = lines.filter(pk__gt=known_line).select_related("step").order_by("-id")
    return list(newest[:MOST_LINES])[::-1]


def _facts(run: Run) -> list[tuple[str, str]]:
    version = run.instance.plan.version
    facts = [
        ("Service", version.name),
        ("Plan", run.instance.plan.name),
        ("What", run.get_kind_display()),
        ("Ordered by", run.context.get("requester_name") or str(run.instance.owner)),
        ("Began", _moment(run.created_at)),
    ]
    if run.finished_at:
        facts.append(("Ended", _moment(run.finished_at)))
    if run.reason:
        facts.append(("Reason", run.reason))
    return [*facts, ("Trace", run.trace_id)] if run.trace_id else facts


def _moment(at: datetime) -> str:
    return f"{timezone.localtime(at):%b %-d, %Y, %H:%M:%S}"


def _offers(
    run: Run, step: Step | None, known: dict[str, Standing], person: Any, refused: tuple[str, forms.Form] | None
) -> list[Offer]:
    """Say what `person` may do with the run now; the services judge again."""
    if not person.has_perm("provisioning.operate_run", run):
        return []
    offers = _step_offers(run, step) if step and run.instance.owner_id != person.pk else []
    if _can_retry(run, step, known):
        title = "Try the order again" if run.state == Run.State.COMPENSATED else "Try again now"
        offers.insert(0, _offer("retry", title, "", run))
    if run.state == Run.State.RUNNING and run.kind != Run.Kind.RETIRE:
        text = "What was made so far is taken back, last first."
        offers.append(_offer("undo", "Stop and undo it", text, run, asks=True))
    if run.state in {*Run.OPEN, Run.State.COMPENSATION_FAILED}:
        text = "Nothing more is called. What is left at a back end stays there: clear it by hand."
        offers.append(_offer("abandon", "Abandon the run", text, run, asks=True))
    if refused:
        name, form = refused
        offers = [Offer(o.name, o.title, o.text, o.url, form, o.danger) if o.name == name else o for o in offers]
    return offers


def _can_retry(run: Run, step: Step | None, known: dict[str, Standing]) -> bool:
    if run.state == Run.State.COMPENSATION_FAILED or can_begin_anew(run):
        return True
    if step is None or run.state not in Run.OPEN or step.lease_token is not None:
        return False
    standing = known.get(step.back_end)
    is_silent = bool(standing and standing.is_open)
    waits = {Step.State.FAILED, Step.State.RETRY, Step.State.POLLING} | ({Step.State.READY} if is_silent else set())
    return step.state in waits


def _step_offers(run: Run, step: Step) -> list[Offer]:
    offers = []
    if step.state == Step.State.OUTCOME_UNKNOWN:
        text = "Look at the back end first: a wrong answer makes it twice, or not at all."
        finding = _finding(initial={"outputs": known_outputs(step)})
        offers.append(Offer("resolve", f"Say what became of “{step.name}”", text, _step_url("resolve", step), finding))
    if step.state in SKIPPABLE and step.lease_token is None:
        text = "The run goes on as if it were done; what it would have given is missing."
        form = ReasonForm(auto_id="skip-%s")
        offers.append(Offer("skip", f"Leave out “{step.name}”", text, _step_url("skip", step), form, danger=True))
    return offers


def _finding(*sent: Any, **more: Any) -> FindingForm:
    return FindingForm(*sent, **more, findings=provisioning.Finding.choices, auto_id="resolve-%s")


def _step_url(name: str, step: Step) -> str:
    return reverse(f"provisioning:step_{name}", kwargs={"pk": step.run_id, "step": step.pk})


def _offer(name: str, title: str, text: str, run: Run, *, asks: bool = False) -> Offer:
    url = reverse(f"provisioning:run_{name}", kwargs={"pk": run.pk})
    return Offer(name, title, text, url, ReasonForm(auto_id=f"{name}-%s") if asks else None, danger=asks)


@login_required
@post_only("provisioning:run_detail", "pk")
def run_retry(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Go on with a run from where it stands; lead to the run that goes on."""
    run = provisioning.retry_run(_run_of(request.user, pk), actor=request.user)
    return see_other("provisioning:run_detail", pk=run.pk)


@login_required
@post_only("provisioning:run_detail", "pk")
def run_undo(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Stop a run and undo what it did."""
    run = _run_to_operate(request.user, pk)
    form = ReasonForm(request.POST, auto_id="undo-%s")
    return _done(request, run, "undo", form, lambda given: provisioning.undo_run(run, **given, actor=request.user))


@login_required
@post_only("provisioning:run_detail", "pk")
def run_abandon(request: HttpRequest, pk: UUID) -> HttpResponse:
    """Give a run up."""
    run = _run_to_operate(request.user, pk)
    form = ReasonForm(request.POST, auto_id="abandon-%s")
    return _done(
        request, run, "abandon", form, lambda given: provisioning.abandon_run(run, **given, actor=request.user)
    )


@login_required
@post_only("provisioning:run_detail", "pk")
def step_skip(request: HttpRequest, pk: UUID, step: UUID) -> HttpResponse:
    """Leave a step out."""
    run = _run_to_operate(request.user, pk)
    row, form = get_object_or_404(run.steps, pk=step), ReasonForm(request.POST, auto_id="skip-%s")
    return _done(request, run, "skip", form, lambda given: provisioning.skip_step(row, **given, actor=request.user))


@login_required
@post_only("provisioning:run_detail", "pk")
def step_resolve(request: HttpRequest, pk: UUID, step: UUID) -> HttpResponse:
    """Say what became of a step whose end nobody knew."""
    run = _run_to_operate(request.user, pk)
    row, form = get_object_or_404(run.steps, pk=step), _finding(request.POST)

    def resolve(given: dict[str, Any]) -> object:
        said = {**given, "outputs": form.given_outputs()}
        return provisioning.resolve_unknown(row, said.pop("answer"), **said, actor=request.user)

    return _done(request, run, "resolve", form, resolve)


def _run_to_operate(person: Any, pk: UUID) -> Any:
    """Give the run `pk`, where `person` may act on it. Raises PermissionDenied or Http404."""
    run = _run_of(person, pk)
    require(person, "provisioning.operate_run", run)
    return run


def _done(
    request: HttpRequest, run: Run, name: str, form: ReasonForm, act: Callable[[dict[str, Any]], object]
) -> HttpResponse:
    """Do what was asked; what is refused brings the page again, with what was typed and what is wrong with it."""
    if form.is_valid():
        try:
            act(form.cleaned_data)
        except Invalid as refusal:
            form.refuse(refusal.errors)
        else:
            return see_other("provisioning:run_detail", pk=run.pk)
    return render(request, PAGE, _context(request, run, refused=(name, form)), status=INVALID)
