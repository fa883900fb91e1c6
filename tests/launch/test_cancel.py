"""Cancelling a run that works on this machine, and one that does not work at all."""

import os
import time
from pathlib import Path

import pytest
import tiny

from lmlab.engine.checkpoint import checkpoints
from lmlab.engine.run import Run, create_run
from lmlab.launch.cancel import cancel

PATIENCE_SECONDS = 60


def test_a_training_is_asked_to_save_before_it_stops(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    endless = ("pretrain.max_steps=1000000", "--name", "tiny")
    process = tiny.start("run", tiny.PRESET, *tiny.OVERRIDES, *endless, runs=tmp_path)
    run = Run(tmp_path, "scratch", "tiny")
    saves = run.folder / "pretrain" / "checkpoints"
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not checkpoints(saves):
        assert process.poll() is None
        assert time.monotonic() < deadline
        time.sleep(0.05)
    assert cancel(run) == [f"asked process {process.pid} to save and stop"]
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 75, said
    step = run.status()["steps"]["pretrain"]
    assert step["state"] == "preempted"
    assert step["error"] == f"SIGTERM at step {checkpoints(saves)[0][0]}"


def test_a_run_that_nothing_works_on_cannot_be_cancelled(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    run = create_run("scratch", "still", config={"study": "scratch"}, manifest={}, unique=True)
    with pytest.raises(ValueError, match="still is not running"):
        cancel(run)
    # Its process is gone: nothing else of that number may be signalled.
    dead = {"host": os.uname().nodename, "pid": os.getpid(), "started": 1.0, "token": "x"}
    run.lock_path.write_text(str(dead).replace("'", '"'))
    with pytest.raises(ValueError, match="still is not running"):
        cancel(run)
