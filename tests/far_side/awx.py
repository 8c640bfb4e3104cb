"""AWX as connectors see it: templates with surveys, launches, jobs that go through their states, their output.

Like the real one it lets nobody filter by variables, drops the variables that a template does not ask for, and, as
newer ones do, leaves variables out of lists unless `include` asks for them.
"""

import datetime as dt
import json
import re

from tests.far_side.json_server import JsonServer, Said

TOKEN = "awx-token-of-greenlane"
FOLDERS = {"job_templates": "jobs", "workflow_job_templates": "workflow_jobs"}


class AwxServer(JsonServer):
    """Jobs in memory. `script[template]` lists the states that a job of it goes through, one a question."""

    def __init__(self, *, leaves_out_variables=False, **options):
        self.leaves_out_variables = leaves_out_variables
        self.templates = {}
        self.jobs = {}
        self.script = {}
        self.artifacts = {}
        self.output = ["PLAY [all]", "ok: [db1]", "PLAY RECAP"]
        super().__init__(**options)

    def add_template(self, number, name, *, folder="job_templates", survey=None, asks_variables=True, asks_limit=False):
        """Make a template; `survey` is its list of questions."""
        self.templates[folder, number] = {
            "id": number,
            "name": name,
            "survey": survey or [],
            "ask_variables_on_launch": asks_variables,
            "ask_limit_on_launch": asks_limit,
        }
        self.script[number] = ["pending", "running", "successful"]

    def launched(self, number=None):
        """List the jobs so far, of all templates or of one."""
        return [job for job in self.jobs.values() if number in (None, job["template"])]

    def variables(self, job):
        """The variables of a job."""
        return json.loads(job["extra_vars"])

    def act(self, heard):
        """Answer as AWX does."""
        if heard.headers.get("authorization") != f"Bearer {TOKEN}":
            return Said(401, {"detail": "Authentication credentials were not provided."})
        if "extra_vars" in " ".join(heard.query):
            return Said(403, {"detail": "Filtering on extra_vars is not allowed."})
        found = re.fullmatch(r"/api/(?:controller/)?v2/(\w+)/(?:(\d+)/)?(?:(\w+)/)?", heard.path)
        if found is None:
            return Said(404, {"detail": "Not found."})
        folder, number, below = found[1], int(found[2] or 0), found[3]
        if folder in FOLDERS:
            return self._template(heard, folder, number, below)
        return self._job(heard, folder, number, below)

    def _template(self, heard, folder, number, below):
        if not number:
            rows = [
                one
                for (kind, _), one in self.templates.items()
                if kind == folder and one["name"] == heard.query.get("name", one["name"])
            ]
            return Said(200, {"count": len(rows), "next": None, "results": rows})
        template = self.templates.get((folder, number))
        if template is None:
            return Said(404, {"detail": "Not found."})
        if below == "launch" and heard.method == "POST":
            return self._launch(heard, folder, template)
        if below == "launch":
            asked = {name: template[name] for name in template if name.startswith("ask_")}
            return Said(200, asked | {"survey_enabled": bool(template["survey"])})
        if below == "survey_spec":
            return Said(200, {"name": "", "description": "", "spec": template["survey"]})
        if below == FOLDERS[folder]:
            return self._launches(heard, number)
        return Said(200, template)

    def _launches(self, heard, number):
        rows = sorted((job for job in self.jobs.values() if job["template"] == number), key=lambda job: -job["id"])
        rows = [job for job in rows if job["created"] > heard.query.get("created__gt", "")]
        size, page = int(heard.query.get("page_size", 25)), int(heard.query.get("page", 1))
        some = rows[(page - 1) * size : page * size]
        if self.leaves_out_variables and heard.query.get("include") != "extra_vars":
            some = [{name: value for name, value in job.items() if name != "extra_vars"} for job in some]
        is_last = page * size >= len(rows)
        return Said(200, {"count": len(rows), "next": None if is_last else "/more", "results": some})

    def _launch(self, heard, folder, template):
        given = heard.body.get("extra_vars", {})
        questions = {question["variable"]: question for question in template["survey"]}
        missing = [name for name, question in questions.items() if question.get("required") and name not in given]
        if missing:
            return Said(400, {"variables_needed_to_start": [f"'{name}' value missing" for name in missing]})
        kept = given if template["ask_variables_on_launch"] else {n: v for n, v in given.items() if n in questions}
        number = len(self.jobs) + 1
        job = {
            "id": number,
            "template": template["id"],
            "status": "pending",
            "created": dt.datetime.now(dt.UTC).isoformat(),
            "job_explanation": "",
            "extra_vars": json.dumps(kept),
            "limit": heard.body.get("limit", "") if template["ask_limit_on_launch"] else "",
            "artifacts": {},
            "left": list(self.script[template["id"]]),
        }
        self.jobs[FOLDERS[folder], number] = job
        name = FOLDERS[folder].removesuffix("s")
        return Said(201, {name: number, "id": number, "status": "pending", "ignored_fields": {}})

    def _job(self, heard, folder, number, below):
        job = self.jobs.get((folder, number))
        if job is None:
            return Said(404, {"detail": "Not found."})
        if below == "cancel":
            if not job["left"]:
                return Said(405, {"detail": "Method not allowed."})
            job["left"], job["status"] = ["canceled"], "running"
            return Said(202, {})
        if below == "job_events":
            rows = [{"counter": at, "stdout": line} for at, line in enumerate(self.output)]
            return Said(200, {"next": None, "results": rows[::-1]})
        if below == "workflow_nodes":
            jobs = [one for (kind, _), one in self.jobs.items() if kind == "jobs"]
            rows = [
                {"id": one["id"], "summary_fields": {"job": {"id": one["id"], "name": "a", "status": one["status"]}}}
                for one in jobs
            ]
            return Said(200, {"next": None, "results": [*rows, {"id": 99, "summary_fields": {}}]})
        if job["left"]:
            job["status"] = job["left"].pop(0)
        if job["status"] == "successful":
            job["artifacts"] = self.artifacts.get(job["template"], {})
        return Said(200, job)
