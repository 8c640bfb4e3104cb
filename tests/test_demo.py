"""`make demo` as a stranger runs it: in a copy of this checkout, from the first word to the delivered database."""

import contextlib
import http.client
import http.cookiejar
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request
import uuid
from pathlib import Path

import psycopg2
import pytest

from config import embedded
from config.embedded import records
from config.embedded.process import free_port, is_free, wait_until

CHECKOUT = Path(__file__).resolve().parent.parent
START_SECONDS = 120
# What a stranger's shell has; nothing of this test run's own settings gets through.
KEPT = ("PATH", "HOME", "LANG", "TMPDIR")
# They share one running demo and stop it last, so one worker runs the whole file, in this order (`--dist loadfile`).
pytestmark = [
    pytest.mark.processes,
    pytest.mark.skipif(not shutil.which("make"), reason="make is not installed"),
]


class Demo:
    """A copy of the checkout with its running demo."""

    def __init__(self, folder):
        self.folder = folder
        self.port = free_port()
        self.environment = {
            name: value for name, value in os.environ.items() if name in KEPT or name.startswith("PIP_")
        }
        # The packages of this run serve the copy too; only a run outside an environment makes one there.
        self.venv = Path(sys.prefix if sys.prefix != sys.base_prefix else folder / ".venv")
        self.log = folder / "demo.log"
        self.process = None

    def start(self):
        with self.log.open("w") as output:
            self.process = subprocess.Popen(
                ["make", "demo", f"PORT={self.port}", f"VENV={self.venv}"],
                cwd=self.folder,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(lambda: "Ctrl-C stops it" in self.said() or self.process.poll() is not None, START_SECONDS)
        assert "Ctrl-C stops it" in self.said(), self.said()

    def said(self):
        return self.log.read_text()

    def press_ctrl_c(self):
        """Send what a terminal sends: SIGINT to make and all in its foreground."""
        os.killpg(self.process.pid, signal.SIGINT)
        self.process.wait(60)

    def processes(self):
        """Return the command lines of all processes that work for this copy."""
        found = []
        for entry in Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                line = (entry / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
                if (entry / "cwd").resolve().is_relative_to(self.folder) or str(self.folder) in line:
                    found.append(line)
        return found

    def manage(self, *arguments):
        done = subprocess.run(
            [self.venv / "bin" / "python", "manage.py", *arguments],
            cwd=self.folder,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout

    def url(self, path):
        return f"http://127.0.0.1:{self.port}{path}"


class Api:
    """The API with a token, as a script uses it."""

    def __init__(self, demo, token):
        self.demo, self.token = demo, token

    def get(self, path):
        return self._send("GET", path, None, {})

    def post(self, path, body, **headers):
        return self._send("POST", path, json.dumps(body), headers)

    def _send(self, method, path, body, headers):
        headers |= {"Authorization": f"Bearer {self.token}", "Content-Type": "application/json"}
        with contextlib.closing(http.client.HTTPConnection("127.0.0.1", self.demo.port, timeout=30)) as connection:
            connection.request(method, f"/api/v1/{path}", body, headers)
            answer = connection.getresponse()
            text = answer.read().decode()
        assert answer.status < 300, f"{answer.status} from {path}: {text}"
        return json.loads(text)

    def order_database(self, name):
        """Order a database and wait for it; return its outputs with the password."""
        offering = self.get("offerings/postgresql-database/")
        body = {
            "action": "add",
            "plan": "postgresql-database/small",
            "name": name,
            "cost_center": "4100",
            "parameters": {},
            "terms_hash": offering["terms"]["hash"],
            "purpose": "development",
            "data_classification": "internal",
        }
        order = self.post("orders/", body, **{"Idempotency-Key": str(uuid.uuid4())})
        path = f"orders/{order['id']}/"
        wait_until(lambda: self.get(path)["state"] not in {"submitted", "fulfilling"}, 60)
        order = self.get(path)
        assert order["state"] == "completed", order
        instance = f"service-instances/{order['service_instance']}/"
        return self.get(instance)["outputs"] | self.post(f"{instance}credentials/", {})["credentials"]


@pytest.fixture(scope="module")
def demo():
    listed = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "--cached", "--others", "--exclude-standard", "-z"],
        cwd=CHECKOUT,
        capture_output=True,
        text=True,
        check=False,
    )
    if listed.returncode != 0:
        pytest.skip("this folder is no Git checkout, so its files cannot be told from others")
    folder = Path(tempfile.mkdtemp(prefix="greenlane-demo-"))
    folder.chmod(0o755)
    for name in filter(None, listed.stdout.split("\0")):
        if (CHECKOUT / name).is_file():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(CHECKOUT / name, folder / name)
    copy = Demo(folder)
    try:
        copy.start()
        yield copy
    finally:
        if copy.process and copy.process.poll() is None:
            copy.press_ctrl_c()
        embedded.reset(folder)
        shutil.rmtree(folder)


def connect(outputs, database):
    return psycopg2.connect(
        host=outputs["host"],
        port=outputs["port"],
        dbname=database,
        user=outputs["username"],
        password=outputs["password"],
        connect_timeout=5,
    )


@pytest.fixture(scope="module")
def api(demo):
    """The API as `business`, with a token made by a command that joins the running demo."""
    said = demo.manage("create_token", "--user", "business", "--expires-in", "1h", "--scopes", "read,order")
    return Api(demo, re.search(r"gl_\S+", said)[0])


def test_it_says_what_it_does_and_where_it_serves(demo):
    said = demo.said()
    stages = ["1/4  Starting PostgreSQL and Redis", "2/4  Bringing the database up to date"]
    stages += ["3/4  Seeding the demo organization", "4/4  Starting web, worker and beat"]
    stages += [f"Greenlane is ready: http://127.0.0.1:{demo.port}"]
    places = [said.find(stage) for stage in stages]
    assert -1 not in places
    assert places == sorted(places)


def test_the_printed_password_lets_a_business_user_in(demo):
    password = re.search(r"^business +(\S+) ", demo.said(), re.MULTILINE)[1]
    browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar()))
    with browser.open(demo.url("/"), timeout=30) as page:
        address, text = page.url, page.read().decode()
    token = re.search(r'name="csrfmiddlewaretoken" value="([^"]+)"', text)[1]
    form = {"username": "business", "password": password, "csrfmiddlewaretoken": token}
    with browser.open(address, urllib.parse.urlencode(form).encode(), timeout=30) as page:
        assert page.status == 200
        assert "Sign out" in page.read().decode()


def test_an_ordered_database_opens_to_its_credentials_and_no_other_does(api):
    mine, other = api.order_database("shop-data"), api.order_database("mail-data")
    with contextlib.closing(connect(mine, mine["database"])) as connection, connection.cursor() as cursor:
        cursor.execute("CREATE TABLE visits (id int); INSERT INTO visits VALUES (1)")
        connection.commit()
    for database in (other["database"], "postgres", "template1"):
        with pytest.raises(psycopg2.OperationalError, match="permission denied for database"):
            connect(mine, database)


def test_each_process_writes_its_id(demo):
    for role in ("web", "worker", "beat"):
        pid = (demo.folder / "var" / "run" / f"{role}.pid").read_text().strip()
        assert Path(f"/proc/{pid}").exists()


def test_a_killed_web_process_is_back_in_seconds(demo):
    pid_file = demo.folder / "var" / "run" / "web.pid"
    first = pid_file.read_text()
    os.kill(int(first), signal.SIGKILL)
    time.sleep(0.5)
    with urllib.request.build_opener().open(demo.url("/healthz"), timeout=30) as answer:
        assert answer.status == 200
    assert pid_file.read_text() != first
    assert "The web process ended" in demo.said()


def test_a_second_demo_in_the_same_folder_is_told_so_in_one_sentence(demo):
    command = ["make", "demo", f"PORT={demo.port}", f"VENV={demo.venv}"]
    done = subprocess.run(command, cwd=demo.folder, env=demo.environment, capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert done.stderr.startswith(f"The demo of this folder runs already (http://127.0.0.1:{demo.port}, process ")


def test_ctrl_c_stops_everything_and_the_next_run_goes_on_with_the_same_data(demo, api):
    servers = embedded.find(demo.folder)
    assert len(servers) == 4
    orders = {order["id"] for order in api.get("orders/")["results"]}
    before = records.read_env(demo.folder)
    assert orders
    demo.press_ctrl_c()
    assert "\nStopped.\n" in demo.said()
    assert demo.processes() == []
    assert all(is_free(port) for port in (demo.port, *(server.port for server in servers)))
    assert "DATABASE_URL" not in records.read_env(demo.folder)
    demo.start()
    assert records.read_env(demo.folder) == before
    assert {order["id"] for order in api.get("orders/")["results"]} >= orders


def test_status_lists_the_servers_and_reset_stops_the_demo_and_removes_its_data(demo):
    command = [demo.venv / "bin" / "python", "-m", "config.embedded", "status"]
    said = subprocess.run(command, cwd=demo.folder, env=demo.environment, capture_output=True, text=True, check=True)
    assert [line.split(" on port ")[0] for line in said.stdout.splitlines()] == [
        "PostgreSQL (postgres)",
        "Redis (redis)",
        "PostgreSQL (backends/postgres)",
        "Redis (backends/redis)",
    ]
    command = ["make", "reset", f"VENV={demo.venv}"]
    subprocess.run(command, cwd=demo.folder, env=demo.environment, check=True)
    demo.process.wait(10)
    assert demo.processes() == []
    assert not (demo.folder / "var").exists()


# --- What the Makefile checks first -----------------------------------------------------------------


@pytest.fixture
def machine(tmp_path):
    """A folder to prepare and a PATH on which only chosen programs lie; gives a function that runs the check."""
    programs = tmp_path / "programs"
    programs.mkdir()
    for name in ("sh", "env", "git", "mktemp", "rmdir", "mkdir", "cat", "cksum", "basename", "rm", "flock"):
        if shutil.which(name):
            (programs / name).symlink_to(shutil.which(name))
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    (checkout / "requirements.txt").write_text("# nothing\n")

    def prepare(**scripts):
        for name, text in scripts.items():
            script = programs / name.replace("_", ".")
            script.write_text(f"#!/bin/sh\n{text}\n")
            script.chmod(0o755)
        return subprocess.run(
            [CHECKOUT / ".ci" / "prepare", ".venv", "requirements.txt"],
            cwd=checkout,
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=False,
        )

    return prepare


def test_without_a_python_that_fits_one_line_names_the_packages(machine):
    done = machine(python3="echo Python 3.9.1; exit 1", python3_13="exit 127")
    assert done.returncode == 1
    assert done.stdout == ""
    assert re.fullmatch(
        r"Greenlane needs Python 3.11 to 3.13 .*: apt-get install python3 python3-venv git\n", done.stderr
    )


def test_a_stand_in_that_does_not_run_is_passed_over_for_a_python_that_does(machine):
    done = machine(python3="exit 127", python3_12=f'exec "{sys.executable}" "$@"')
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("Making the virtual environment .venv with Python 3.")
    assert machine().stdout == ""
