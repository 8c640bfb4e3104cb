"""Jobs of AWX (and of the automation controller, which has the same API): launched once, watched, taken back."""

from typing import Any

from core import egress
from core.parameters.bounds import step
from provisioning.connectors import awx_api, awx_survey, calling
from provisioning.connectors.awx_api import Job, Template
from provisioning.connectors.base import Answer, Call, Connector, Done, Failed, Retry, Unknown, Working
from provisioning.connectors.http_answers import found_at

# Variables that every launch carries: the key of its repeats, and whose service it is for.
KEY, INSTANCE = "greenlane_key", "greenlane_instance"
POLL_SECONDS = 5.0
CANCEL_SECONDS = 3.0
# An answer that did not come may still be on its way into AWX's list: look for it a little later.
LOOK_AGAIN_SECONDS = 10.0
# How much further back than the step's own begin its launches are looked for.
BEFORE_SECONDS = 3600.0
UNDOING = "undo:"


class Awx(Connector):
    """Launches a job or workflow template; the variable `greenlane_key` tells a launch that has happened already."""

    idempotency = "lookup"

    def start(self, call: Call) -> Answer:
        """Launch the template, unless it was launched for this step before."""
        return self._ran(call, _launched(call, call.inputs.get("template")))

    def last_operation(self, call: Call) -> Answer:
        """Say how far the job has got. While undoing, what was canceled has to end before it is taken back."""
        if call.operation == "undo" and not call.external_ref.startswith(UNDOING):
            return self.undo(call)
        job = awx_api.job_at(call, call.external_ref.removeprefix(UNDOING))
        if job is None:
            raise Failed(f"AWX has no {_worded(call.external_ref)} any more.")
        return self._undone(call, job) if call.operation == "undo" else self._ran(call, job)

    def update(self, call: Call) -> Answer:
        """Launch the template once more, with the changed variables."""
        return self.start(call)

    def undo(self, call: Call) -> Answer:
        """Cancel what still runs, then launch `undo_template` with the same variables."""
        call.check()
        undo_template = call.inputs.get("undo_template")
        if call.external_ref.startswith(UNDOING):
            return self._undone(call, _launched(call, undo_template))
        made = _made_for(call)
        running = [job for job in made if job.is_running]
        for job in running:
            _cancel(call, job)
        if running:
            return Working(CANCEL_SECONDS, detail="What still runs is being canceled.", external_ref=running[0].ref)
        if not made and not _is_ref(call.external_ref):
            return Done(detail="Nothing was launched: nothing to take back.")
        if not undo_template:
            ref = made[0].ref if made else call.external_ref
            raise Failed(
                f"{_worded(ref).capitalize()} was launched and the workflow names no undo_template: "
                "take back by hand what it has done."
            )
        return self._undone(call, _launched(call, undo_template))

    def describe(self, call: Call) -> Answer:
        """Look how the job ended: that is all that AWX knows of what it made."""
        call.check()
        job = awx_api.job_at(call, call.external_ref) if _is_ref(call.external_ref) else _launched_before(call)
        if job is None:
            raise Failed("AWX has no such job any more, and knows nothing else of what it made.")
        if job.status != "successful":
            raise Failed(f"{_worded(job.ref).capitalize()} is {job.status}.")
        return self._ran(call, job)

    def _ran(self, call: Call, job: Job) -> Answer:
        if job.is_running:
            return Working(POLL_SECONDS, detail=f"AWX is at it: {job.status}.", external_ref=job.ref)
        awx_api.log_of(call, job.ref)
        if job.status != "successful":
            raise Failed(f"{_ending(job)}.")
        artifacts = job.artifacts
        if call.inputs.get("outputs") and job.ref.startswith("workflow_jobs/"):
            artifacts = awx_api.artifacts_of_workflow(call, job.ref) | artifacts
        return Done(_outputs(call, artifacts), detail="AWX has done it.", external_ref=job.ref)

    def _undone(self, call: Call, job: Job) -> Answer:
        if job.is_running:
            return Working(POLL_SECONDS, detail="AWX takes it back.", external_ref=f"{UNDOING}{job.ref}")
        awx_api.log_of(call, job.ref)
        if job.status != "successful":
            raise Failed(f"Taking it back: {_ending(job)}.")
        return Done(detail="AWX has taken it back.")


def _launched(call: Call, template: Any) -> Job:
    """Give the job that this step has launched, launching it where there is none yet.

    A job that has failed counts for the attempts after it; who begins anew, at attempt 1, gets a new one.
    """
    call.check()
    kind = _kind(call)
    if not isinstance(template, str | int) or isinstance(template, bool) or not template:
        raise Failed("The step's input “template” must be the name or number of a template.", left_nothing=True)
    known = awx_api.template_of(call, kind, template)
    found, is_all = awx_api.launches_of(call, known, seconds=call.elapsed + BEFORE_SECONDS)
    own = [job for job, variables in found if variables.get(KEY) == str(call.idempotency_key)]
    if own and not (own[0].status in awx_api.FAILURES and call.attempt <= 1):
        call.log(f"This step has launched {_worded(own[0].ref)} before.")
        return own[0]
    if call.attempt > 1 and not is_all and not own:
        raise Unknown("AWX has launched this template so often since that nobody can tell whether it was for this.")
    return _launch(call, known)


def _launch(call: Call, template: Template) -> Job:
    body = _launch_body(call, awx_api.get(call, f"{template.path}launch/"), template.path)
    call.check()
    try:
        answer = awx_api.post(call, f"{template.path}launch/", body)
    except Retry as error:
        sent = getattr(error.__cause__, "sent", True)
        raise Retry(str(error), after=LOOK_AGAIN_SECONDS if sent else None) from error
    if answer.status == 400:  # noqa: PLR2004 (bad request)
        raise Failed(f"AWX does not launch it: {_refusal(answer)}", left_nothing=True)
    if answer.status != 201:  # noqa: PLR2004 (created)
        raise calling.refusal(call, answer)
    try:
        job = awx_api.job_of({"status": "pending"} | awx_api.body_of(answer), template.kind)
    except Retry as error:
        raise Retry(str(error), after=LOOK_AGAIN_SECONDS) from error
    call.log(f"Launched {_worded(job.ref)}.")
    return job


def _launch_body(call: Call, asks: dict[str, Any], path: str) -> dict[str, Any]:
    """Give what is sent to launch, once it is certain that AWX will neither refuse nor quietly drop any of it."""
    variables, survey = _object(call, "extra_vars"), _object(call, "survey")
    given = variables | survey
    spec: list[dict[str, Any]] = []
    if asks.get("survey_enabled"):
        spec = awx_api.get(call, f"{path}survey_spec/").get("spec") or []
    # An undo template takes the same variables and may ask for fewer of them.
    given = awx_survey.answered(spec, given, {} if call.operation == "undo" else survey) | given
    taken = {str(question.get("variable")) for question in spec}
    if not asks.get("ask_variables_on_launch"):
        dropped = sorted({KEY, *given} - taken)
        if dropped:
            raise Failed(
                f"The AWX template would drop {', '.join(dropped)}: tick “Prompt on launch” at its variables.",
                left_nothing=True,
            )
    marks = {KEY: str(call.idempotency_key), INSTANCE: str(call.instance_id)}
    body: dict[str, Any] = {"extra_vars": given | marks}
    if call.inputs.get("limit"):
        if not asks.get("ask_limit_on_launch"):
            raise Failed("The AWX template takes no limit: tick “Prompt on launch” at it.", left_nothing=True)
        body["limit"] = str(call.inputs["limit"])
    return body


def _made_for(call: Call) -> list[Job]:
    """Give the jobs that were launched to make this service, newest first, also those whose answer was lost."""
    kind = _kind(call)
    made = [awx_api.job_at(call, call.external_ref)] if _is_ref(call.external_ref) else []
    try:
        template = awx_api.template_of(call, kind, call.inputs.get("template"))
    except Failed as error:
        call.log(f"{error} Only the job that is known by its number is looked at.")
    else:
        found, _ = awx_api.launches_of(call, template)
        made += [job for job, variables in found if _is_made(call, variables)]
    return list({job.ref: job for job in made if job is not None}.values())


def _is_made(call: Call, variables: dict[str, Any]) -> bool:
    """Tell whether a launch was for this service; the undoing's own launch was not to make it."""
    return variables.get(INSTANCE) == str(call.instance_id) and variables.get(KEY) != str(call.idempotency_key)


def _launched_before(call: Call) -> Job | None:
    found, _ = awx_api.launches_of(call, awx_api.template_of(call, _kind(call), call.inputs.get("template")))
    own = [job for job, variables in found if variables.get(KEY) == str(call.idempotency_key)]
    return own[0] if own else None


def _cancel(call: Call, job: Job) -> None:
    call.check()
    answer = awx_api.post(call, f"{job.ref}/cancel/", {})
    # 405: it has come to its end in the meantime.
    if answer.status not in {202, 404, 405}:
        raise calling.refusal(call, answer)
    call.log(f"Canceling {_worded(job.ref)}: {answer.status}")


def _kind(call: Call) -> str:
    kind = call.inputs.get("kind") or "job"
    if kind not in awx_api.KINDS:
        raise Failed("The step's input “kind” must be job or workflow.", left_nothing=True)
    return str(kind)


def _object(call: Call, name: str) -> dict[str, Any]:
    value = call.inputs.get(name) or {}
    if not isinstance(value, dict):
        raise Failed(f"The step's input “{name}” must be an object.", left_nothing=True)
    return value


def _outputs(call: Call, artifacts: dict[str, Any]) -> dict[str, Any]:
    """Read the step's outputs from what the job set by set_stats: `{name: JSON pointer}` or a list of names."""
    wanted = call.inputs.get("outputs") or {}
    if isinstance(wanted, list):
        wanted = {str(name): step("", name) for name in wanted}
    found = {}
    for name, pointer in wanted.items():
        try:
            found[name] = found_at(artifacts, pointer if str(pointer).startswith("/") else f"/{pointer}")
        except LookupError:
            raise Failed(f"The job set no “{name}”: its playbook has to by set_stats.") from None
    return found


def _is_ref(text: str) -> bool:
    return text.startswith(("jobs/", "workflow_jobs/"))


def _worded(ref: str) -> str:
    folder, _, number = ref.removeprefix(UNDOING).partition("/")
    return f"workflow job {number}" if folder == "workflow_jobs" else f"job {number}"


def _ending(job: Job) -> str:
    why = f": {' '.join(job.explanation.split())[:300].rstrip('.')}" if job.explanation else ""
    return f"{_worded(job.ref).capitalize()} ended as {job.status}{why}"


def _refusal(answer: egress.Answer) -> str:
    """Say in one line what AWX finds wrong with a launch: an object of lists of sentences."""
    try:
        told = answer.json()
    except egress.BadAnswer:
        return "it does not say why."
    parts = []
    for name, value in told.items() if isinstance(told, dict) else ():
        sentences = value if isinstance(value, list) else [value]
        parts.append(f"{name}: {' '.join(str(one) for one in sentences)}")
    return "; ".join(parts)[:500] or "it does not say why."
