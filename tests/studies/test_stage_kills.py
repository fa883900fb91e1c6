"""A run killed in any of its stages goes on to the same bytes as one that was not (B1)."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

SCRIPT = Path(__file__).parents[1] / "kill_stages.py"


def test_a_run_killed_in_every_stage_equals_an_unbroken_one(tmp_path: Path):
    environment = os.environ | {"OMP_NUM_THREADS": "1"}
    environment.pop("DEV_MODE", None)
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path], env=environment, capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert set(found["ended"]) == {"sft", "dpo", "solve", "verifier"}
    for stage, codes in found["ended"].items():
        assert set(codes) == {-signal.SIGKILL}, stage
    assert found["differing"] == []
