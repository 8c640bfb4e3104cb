"""Three rounds of chaos, as `make chaos` plays them, on servers of their own."""

import os
import subprocess
import sys

import pytest

from tests.processes import ROOT

pytestmark = pytest.mark.processes
# Every action once, over three rounds of the same length.
ROUNDS = 3
ORDERS, SECONDS = 20, 5
GIVE_UP_SECONDS = 300


def test_three_rounds_of_chaos_lose_nothing_and_double_nothing():
    command = [sys.executable, "-m", "chaos", "--rounds", str(ROUNDS), "--deal"]
    command += ["--orders", str(ORDERS), "--seconds", str(SECONDS)]
    done = subprocess.run(
        command, cwd=ROOT, env=os.environ, capture_output=True, text=True, check=False, timeout=GIVE_UP_SECONDS
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert f"after {ROUNDS} rounds" in done.stdout
    assert "VIOLATIONS" not in done.stdout
