"""Programs that connectors start: watched while they run, ended with their worker, one at a time in a workspace."""

import os
import signal
import subprocess
import sys
import textwrap
import threading
import time
from pathlib import Path

import pytest

from config.embedded.process import wait_until
from provisioning.connectors import child, child_lock
from provisioning.connectors.base import MAX_LINES, Lease, LeaseLost, Retry
from tests.provisioning.calls import a_call, again

SECONDS = 15.0


@pytest.fixture(autouse=True)
def work(settings, tmp_path):
    """A place of its own for workspaces."""
    settings.WORK_ROOT = str(tmp_path / "work")
    return tmp_path


@pytest.fixture
def started(work):
    """What programs of the test write down: their process ids. None of them is left."""
    yield lambda: [int(line) for line in (work / "pids").read_text().split()] if (work / "pids").exists() else []
    left = [int(line) for line in (work / "pids").read_text().split()] if (work / "pids").exists() else []
    assert wait_until(lambda: not any(lives(pid) for pid in left), SECONDS)


def lives(pid):
    """Tell whether a process runs; one that nobody has buried yet does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0] != "Z"
    except OSError:
        return False


def program(work, text):
    """A program of these lines; `note()` writes its process id down."""
    path = work / "program.py"
    head = f"""
    import os, sys, time, signal, subprocess
    def note():
        with open({str(work / "pids")!r}, "a") as file: file.write(f"{{os.getpid()}}\\n")
    """
    path.write_text(textwrap.dedent(head) + textwrap.dedent(text))
    return [sys.executable, "-I", "-S", str(path)]


def run(work, text, call=None, **options):
    """Run such a program in the workspace of a call."""
    grace = options.pop("grace", 0.5)
    with child.workspace(call or a_call(work_seconds=30.0), "place", grace=grace) as held:
        return held.run(program(work, text), cwd=held.folder, environment=child.environment_for(), **options)


def test_its_lines_reach_the_log_while_it_still_runs(work):
    call = a_call(work_seconds=30.0)
    gate = work / "gate"

    def open_gate():
        assert wait_until(lambda: "first" in call.lines, SECONDS)
        gate.touch()

    other = threading.Thread(target=open_gate)
    other.start()
    ended = run(
        work,
        f"""
        print("first", flush=True)
        while not os.path.exists({str(gate)!r}): time.sleep(0.02)
        print("\\x1b[31mlast\\x1b[0m\\r\\nwithout an end", end="")
        sys.stderr.write("an error\\n")
        sys.exit(3)
        """,
        call,
    )
    other.join()
    assert ended.code == 3
    assert sorted(call.lines) == ["an error", "first", "last", "without an end"]


def test_of_very_much_output_the_first_and_the_last_lines_are_kept(work):
    call = a_call(work_seconds=30.0)
    ended = run(work, "for number in range(20000): print('line', number, 'x' * 2000)", call)
    assert ended.code == 0
    assert len(call.lines) <= MAX_LINES
    assert max(len(line) for line in call.lines) <= 500
    assert call.lines[0].startswith("line 0 ")
    assert call.lines[-1].startswith("line 19999 ")
    assert any(line.endswith("lines left out)") for line in call.lines)


def test_output_that_is_kept_whole_has_an_end_too(work):
    call = a_call(work_seconds=30.0)
    ended = run(work, "sys.stdout.write('x' * 3_000_000); sys.stderr.write('why')", call, keeps_output=True)
    assert len(ended.output) == 1 << 20
    assert call.lines == ["why"]


def test_it_knows_nothing_of_the_workers_environment_but_what_is_passed_on(work, settings, monkeypatch):
    monkeypatch.setenv("CLOUD_TOKEN", "a-token-of-the-cloud")
    monkeypatch.setenv("EMPTY", "")
    settings.CHILD_ENVIRONMENT = ["CLOUD_TOKEN", "EMPTY", "NOT_SET"]
    call = a_call(work_seconds=30.0)
    names = "print(*sorted(os.environ)); print(os.environ['CLOUD_TOKEN']); print(sys.stdin.read() == '')"
    run(work, names, call)
    assert call.lines == ["CLOUD_TOKEN EMPTY GREENLANE_WORK HOME LC_ALL PATH", "***", "True"]


HOLDS = """
note()
signal.signal(signal.SIGTERM, signal.SIG_IGN)
helper = "import os, time; open({pids!r}, 'a').write(f'{{os.getpid()}}\\\\n'); time.sleep(600)"
subprocess.Popen([sys.executable, "-c", helper], start_new_session=True, close_fds=True)
print("holds", flush=True)
time.sleep(600)
"""


def holds(work):
    """A program that will not end, with a helper in a session of its own."""
    return HOLDS.format(pids=str(work / "pids"))


def test_a_lost_lease_ends_it_and_all_that_it_started(work, started):
    lease = Lease(2.0)
    call = a_call(lease=lease, work_seconds=30.0)
    began = time.monotonic()
    with pytest.raises(LeaseLost):
        run(work, holds(work), call)
    assert time.monotonic() - began < 2.0
    assert wait_until(lambda: not any(lives(pid) for pid in started()), SECONDS)


def test_a_lease_that_another_took_over_ends_it_at_once(work, started):
    call = a_call(work_seconds=30.0)

    def take_over():
        assert wait_until(lambda: "holds" in call.lines and len(started()) == 2, SECONDS)
        call.lease.lose()

    other = threading.Thread(target=take_over)
    other.start()
    with pytest.raises(LeaseLost):
        run(work, holds(work), call)
    other.join()
    assert wait_until(lambda: not any(lives(pid) for pid in started()), SECONDS)


def test_it_ends_when_the_time_of_its_call_is_used_up(work, started):
    with pytest.raises(Retry, match="longer than 1 seconds"):
        run(work, holds(work), a_call(work_seconds=1.0))
    assert wait_until(lambda: not any(lives(pid) for pid in started()), SECONDS)


def test_it_is_asked_first_and_may_bring_its_work_to_an_end(work):
    text = f"""
    def end(*_):
        open({str(work / "saved")!r}, "w").close()
        sys.exit(0)
    signal.signal(signal.SIGTERM, end)
    print("holds", flush=True)
    time.sleep(600)
    """
    with pytest.raises(Retry):
        run(work, text, a_call(work_seconds=1.0), grace=10.0)
    assert wait_until((work / "saved").exists, SECONDS)


def test_what_it_leaves_behind_ends_with_it(work, started):
    ended = run(work, holds(work).replace("time.sleep(600)\n", "", 2).replace("'); ", "'); time.sleep(600)"))
    assert ended.code == 0
    assert not any(lives(pid) for pid in started())


def test_a_watcher_can_end_it(work, started):
    class TooMuchError(Exception):
        pass

    def watch():
        raise TooMuchError

    with pytest.raises(TooMuchError):
        run(work, holds(work), watch=watch)


def test_a_killed_program_is_told_by_its_code(work):
    assert run(work, "os.kill(os.getpid(), signal.SIGKILL)").code == 128 + signal.SIGKILL


WORKER = """
import os, sys, time
sys.path.insert(0, {base!r})
from django.conf import settings
settings.configure(WORK_ROOT={root!r}, CHILD_ENVIRONMENT=[])
from tests.provisioning.test_child import holds, program
from tests.provisioning.calls import a_call
from provisioning.connectors import child
from uuid import UUID
from pathlib import Path
work = Path({work!r})
call = a_call(instance_id=UUID({instance!r}), fencing_token=1, work_seconds=600.0)
call.lease.seconds = {lease}
with child.workspace(call, "place", grace=0.5) as held:
    held.run(program(work, holds(work)), cwd=held.folder, environment=child.environment_for())
"""


@pytest.fixture
def worker(work, settings, started):
    """A worker of its own whose program holds; killed with all of its group after the test."""
    processes = []

    def start(call, *, lease=30.0):
        places = {"base": str(settings.BASE_DIR), "work": str(work), "root": settings.WORK_ROOT}
        text = WORKER.format(instance=str(call.instance_id), lease=lease, **places)
        process = subprocess.Popen([sys.executable, "-c", text], start_new_session=True)
        processes.append(process)
        assert wait_until(lambda: len(started()) == 2 or process.poll() is not None, SECONDS)
        assert process.poll() is None
        return process

    yield start
    for process in processes:
        process.kill()
        process.wait(timeout=10)


def keeper_of(worker):
    """The process between a worker and its program."""
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            if int(path.read_text().rpartition(") ")[2].split()[1]) == worker.pid:
                return int(path.parent.name)
        except OSError:
            continue
    raise AssertionError("There is no keeper.")


def test_a_killed_worker_leaves_no_program_behind(worker, started):
    call = a_call()
    os.killpg(worker(call).pid, signal.SIGKILL)
    assert wait_until(lambda: not any(lives(pid) for pid in started()), SECONDS)


def test_a_frozen_worker_is_left_by_its_program(worker, started):
    os.kill(worker(a_call(), lease=1.0).pid, signal.SIGSTOP)
    assert wait_until(lambda: not any(lives(pid) for pid in started()), SECONDS)


def test_the_next_attempt_begins_when_the_last_one_has_ended(work, worker, started):
    call = a_call(work_seconds=30.0)
    os.kill(worker(call).pid, signal.SIGSTOP)
    before = started()
    others = f"print(*[pid for pid in {before} if os.path.exists(f'/proc/{{pid}}')])"
    assert run(work, others, again(call, work_seconds=30.0)).code == 0
    assert not any(lives(pid) for pid in before)


def test_what_a_killed_keeper_left_is_ended_before_the_next_attempt_begins(work, worker, started, monkeypatch):
    monkeypatch.setattr(child_lock, "PATIENCE_SECONDS", 1.0)
    call = a_call(work_seconds=30.0)
    process = worker(call)
    keeper = keeper_of(process)
    os.kill(process.pid, signal.SIGSTOP)
    os.kill(keeper, signal.SIGKILL)
    os.killpg(process.pid, signal.SIGKILL)
    assert any(lives(pid) for pid in started())
    following = again(call, work_seconds=30.0)
    assert run(work, "print('mine')", following).code == 0
    assert following.lines[-1] == "mine"
    assert not any(lives(pid) for pid in started())


def test_who_only_looks_ends_nobodys_program(work, worker, started):
    call = a_call(work_seconds=30.0)
    process = worker(call)
    with pytest.raises(Retry, match="Another program still works"):
        run(work, "print('mine')", again(call, "describe", fencing_token=0))
    assert process.poll() is None
    assert all(lives(pid) for pid in started())


def test_a_process_that_only_has_the_number_of_an_earlier_one_is_left_alone(work):
    call = a_call()
    with subprocess.Popen(["sleep", "600"]) as stranger, child.workspace(call, "place") as held:
        held.lock.note(stranger.pid)
        facts = held.lock.path.read_text()
        held.lock.path.write_text(facts.replace(child_lock.started_at(stranger.pid), "7"))
        lately = again(call)
        # It waits, finds no program of the earlier attempt's, and takes over; the stranger lives.
        assert run(work, "print('mine')", lately).code == 0
        assert stranger.poll() is None
        stranger.kill()


def test_who_was_taken_over_starts_nothing_more(work):
    call = a_call()
    with child.workspace(call, "place") as held:
        assert run(work, "print('mine')", again(call)).code == 0
        with pytest.raises(LeaseLost):
            held.run(program(work, "print('late')"), cwd=held.folder, environment=child.environment_for())
    assert "late" not in call.lines


def test_a_folder_that_cannot_be_used_is_tried_again_later(work, settings):
    (work / "file").touch()
    settings.WORK_ROOT = str(work / "file" / "below")
    with pytest.raises(Retry, match="work folder cannot be used"):
        run(work, "print('mine')")
