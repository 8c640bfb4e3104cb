"""What a connector is told about a step: its inputs filled in, earlier outputs, passwords, the back end."""

from typing import Any

from django.conf import settings

import catalog.services as catalog
from core import expressions, secrets, substitution
from provisioning.connectors.base import CALL_SECONDS, BackEnd, Call, Failed, Lease
from provisioning.models import Callback, Run, Secret, Step
from provisioning.services.results import token_of

# What a child process of the queue `long` may take: its task is ended soon after.
LONGEST_WORK_SECONDS = 3400.0
LOOKING_SECONDS = 60.0


def call_for(step: Step, lease: Lease, lines: list[str]) -> Call:
    """Give all that the connector may know for one attempt of a claimed step.

    Raises Failed where an input or the back end cannot be had: trying again would not help.
    """
    news = None
    if step.state == Step.State.POLLING:
        news = Callback.objects.filter(step=step).order_by("-id").values_list("body", flat=True).first()
    return _call(step, lease, lines, fencing_token=token_of(step), news=news)


def call_for_look(step: Step) -> Call:
    """Give what `describe` may know of a step that is done, with no lease: looking changes nothing."""
    return _call(step, Lease(LOOKING_SECONDS), [], fencing_token=0, operation="describe")


def _call(
    step: Step,
    lease: Lease,
    lines: list[str],
    *,
    fencing_token: int,
    operation: str = "",
    news: dict[str, Any] | None = None,
) -> Call:
    run = step.run
    operation = operation or ("describe" if step.look_again else step.operation)
    context, before = _contexts(step)
    outputs = _outputs(step)
    values = values_for(run, context, outputs)
    inputs = {**_limits_for(step, context), **step.inputs}
    return Call(
        step_id=step.pk,
        operation=operation,
        attempt=step.attempt,
        idempotency_key=step.idempotency_key,
        fencing_token=fencing_token,
        instance_id=run.instance_id,
        instance_name=run.instance.name,
        inputs=_filled(step.connector, inputs, values, operation),
        context=context,
        outputs=outputs,
        secrets=_secrets_for(step),
        external_ref=step.external_ref,
        lease=lease,
        step_name=step.name,
        was_done=step.undoes is None or step.undoes.state in {Step.State.SUCCEEDED, Step.State.COMPENSATED},
        back_end=_back_end_for(step),
        trace_id=run.trace_id,
        before=before,
        news=news,
        elapsed=_elapsed(step),
        work_seconds=_work_seconds(step),
        lines=lines,
    )


def is_wanted(step: Step) -> bool:
    """Tell whether the step's condition holds. Raises Failed where it has no answer: then nothing is done."""
    context, _ = _contexts(step)
    try:
        return expressions.holds(step.when, values_for(step.run, context, _outputs(step)))
    except expressions.Unanswered as error:
        raise Failed(f"The condition of this step could not be answered: {error}", left_nothing=True) from error


def values_for(run: Run, context: dict[str, Any], outputs: dict[str, Any]) -> dict[str, Any]:
    """Give what templates and conditions may name; docs/workflows.md lists it."""
    instance = run.instance
    known = {name: context.get(name, "") for name in ("offering", "plan", "purpose", "data_classification")}
    order = {"id": str(context.get("order", "")), "number": context.get("order_number", 0), "name": instance.name}
    return {
        "order": {**order, **known},
        "parameters": context.get("parameters", {}),
        "limits": context.get("limits", {}),
        "requester": {
            "username": context.get("requester", ""),
            "name": context.get("requester_name", ""),
            "email": context.get("requester_email", ""),
        },
        "cost_center": {
            "code": context.get("cost_center", ""),
            "name": context.get("cost_center_name", ""),
            "unit": context.get("unit", ""),
        },
        "instance": {"id": str(instance.pk), "name": instance.name},
        "outputs": outputs,
    }


def _contexts(step: Step) -> tuple[dict[str, Any], dict[str, Any]]:
    """Give what is to be in force and what was, in this order: undoing a change turns them round."""
    context = step.run.context
    before = context.get("before", {})
    if step.run.kind == Run.Kind.UPDATE and step.kind == Step.Kind.COMPENSATE:
        return {**context, **before}, context
    return context, before


def _filled(connector: str, inputs: dict[str, Any], values: dict[str, Any], operation: str) -> dict[str, Any]:
    names = catalog.later_inputs(connector, inputs, operation)
    later = {name: value for name, value in inputs.items() if name in names}
    now = {name: value for name, value in inputs.items() if name not in later}
    try:
        return {**substitution.fill(now, values, paths=settings.CONNECTORS[connector].get("paths", ())), **later}
    except substitution.Unfilled as error:
        raise Failed(str(error), left_nothing=True) from error


def _limits_for(step: Step, context: dict[str, Any]) -> dict[str, object]:
    """The plan's limits that the connector knows as inputs; the workflow's own inputs go before them."""
    known = settings.CONNECTORS[step.connector]["inputs"]
    return {name: value for name, value in context.get("limits", {}).items() if name in known}


def _outputs(step: Step) -> dict[str, Any]:
    """What earlier steps gave; for undoing and looking also what the step itself did."""
    outputs: dict[str, Any] = dict(step.run.instance.outputs)
    if step.kind == Step.Kind.DO and step.seq == 1 and step.attempt == 1:
        return outputs  # nothing can have said anything yet
    rows = Step.objects.filter(run=step.run_id, kind=Step.Kind.DO).exclude(outputs={}).order_by("seq")
    for earlier in rows.values_list("outputs", flat=True):
        outputs |= earlier
    return outputs


def _secrets_for(step: Step) -> dict[str, str]:
    """The passwords to set: the step's own, or else those in force. A connector that declares none sees none."""
    if not settings.CONNECTORS[step.connector]["secrets"]:
        return {}
    rows = Secret.objects.filter(instance=step.run.instance_id, superseded_at__isnull=True).order_by("created_at")
    own = [row for row in rows if row.step_id == step.pk]
    chosen = own or [row for row in rows if row.in_force_at is not None]
    return {row.name: secrets.decrypt(row.ciphertext, bound_to=row.pk) for row in chosen}


def _back_end_for(step: Step) -> BackEnd | None:
    if settings.CONNECTORS[step.connector].get("back_end") != "needed":
        return None
    try:
        row, credentials = catalog.opened(step.back_end)
    except LookupError as error:
        raise Failed(f"There is no back end “{step.back_end}”.", left_nothing=True) from error
    except secrets.Unreadable as error:
        raise Failed(
            f"The credentials of the back end “{step.back_end}” cannot be read; enter them again.", left_nothing=True
        ) from error
    return BackEnd(slug=row.slug, address=row.address, config=row.config, credentials=credentials)


def _elapsed(step: Step) -> float:
    if step.claimed_at is None or step.started_at is None:
        return 0.0
    return max((step.claimed_at - step.started_at).total_seconds(), 0.0)


def _work_seconds(step: Step) -> float:
    return min(LONGEST_WORK_SECONDS, float(step.timeout_seconds)) if step.queue == "long" else CALL_SECONDS
