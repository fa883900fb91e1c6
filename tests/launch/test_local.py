"""Runs that are killed, stopped and watched from outside, as processes of their own."""

import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import tiny
from commands import type_command

import lmlab
from lmlab.engine.checkpoint import checkpoints
from lmlab.engine.lock import DEAD_AFTER_SECONDS
from lmlab.engine.run import Run

STEPS = "pretrain.max_steps=90"
COMMAND = ("run", tiny.PRESET, *tiny.OVERRIDES, STEPS, "--name", "tiny")
PATIENCE_SECONDS = 60


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    """scratch/tiny, not begun."""
    monkeypatch.delenv("DEV_MODE", raising=False)
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return Run(tmp_path / "runs", "scratch", "tiny")


def test_a_run_killed_in_every_step_ends_as_an_unbroken_one(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    kill(run, signal.SIGKILL, when=lambda: state(run, "prepare") == "running")
    assert state(run, "prepare") == "running"

    # A second process finds the first alive and leaves; SIGTERM then asks the first to save.
    first = begin(run, until=lambda: saved(run) >= 3)
    first.send_signal(signal.SIGSTOP)
    before = tiny.contents(run.folder)
    assert type_command(monkeypatch, *COMMAND) == 0
    assert "scratch/tiny is running: lmlab logs scratch/tiny -f" in capsys.readouterr().out
    assert tiny.contents(run.folder) == before
    first.send_signal(signal.SIGTERM)
    first.send_signal(signal.SIGCONT)
    said, _ = first.communicate(timeout=PATIENCE_SECONDS)
    assert first.returncode == 75, said
    assert "stopped by SIGTERM at step" in said
    assert state(run, "pretrain") == "preempted"
    stopped_at = saved(run)
    assert f"SIGTERM at step {stopped_at}" in run.status()["steps"]["pretrain"]["error"]

    kill(run, signal.SIGKILL, when=lambda: saved(run) > stopped_at)
    assert stopped_at < saved(run) < 90
    assert state(run, "pretrain") == "running"

    kill(run, signal.SIGKILL, when=lambda: state(run, "evaluate") == "running")
    assert state(run, "evaluate") == "running"

    started = time.monotonic()
    assert type_command(monkeypatch, *COMMAND) == 0
    # By its heartbeat alone it would count as alive for so long.
    assert time.monotonic() - started < DEAD_AFTER_SECONDS, "a dead lock is taken over at once"
    assert {state(run, step) for step in ("prepare", "pretrain", "evaluate")} == {"done"}
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "unbroken"))
    unbroken = lmlab.run(tiny.PRESET, *tiny.OVERRIDES, STEPS, name="tiny").reference.run
    assert unbroken.status()["steps"]["pretrain"]["attempt"] == 1
    ends = ("pretrain/checkpoints/step_00000090/model.safetensors", "data/", "tokenizer/", "items/")
    assert tiny.contents(run.folder, *ends) == tiny.contents(unbroken.folder, *ends)
    assert [(one.id, one.value, one.interval, one.weights) for one in run.records()] == [
        (one.id, one.value, one.interval, one.weights) for one in unbroken.records()
    ]


@pytest.mark.slow
def test_a_run_killed_at_any_moment_goes_on_with_the_same_command(
    run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Kills spread over the whole of a start, imports and the making of the folder included."""
    for tenths in range(1, 100, 7):
        process = tiny.start(*COMMAND, runs=run.root)
        time.sleep(tenths / 10)
        process.send_signal(signal.SIGKILL)
        said, _ = process.communicate(timeout=PATIENCE_SECONDS)
        assert "error" not in said
    assert type_command(monkeypatch, *COMMAND) == 0
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "unbroken"))
    unbroken = lmlab.run(tiny.PRESET, *tiny.OVERRIDES, STEPS, name="tiny").reference.run
    end = "pretrain/checkpoints/step_00000090/model.safetensors"
    assert tiny.contents(run.folder, end) == tiny.contents(unbroken.folder, end)


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
@pytest.mark.parametrize("step", ["prepare", "evaluate"])
def test_a_signal_outside_the_training_stops_at_once_and_the_run_goes_on(
    run: Run, monkeypatch: pytest.MonkeyPatch, number: signal.Signals, step: str
):
    process = begin(run, until=lambda: state(run, step) == "running")
    process.send_signal(number)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 75, said
    assert "Traceback" not in said
    assert state(run, step) == "preempted"
    assert type_command(monkeypatch, *COMMAND) == 0
    assert state(run, "evaluate") == "done"


def begin(run: Run, *, until: Callable[[], bool]) -> subprocess.Popen[str]:
    """The command in a process of its own, once something has come true of its run."""
    process = tiny.start(*COMMAND, runs=run.root)
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not until():
        if process.poll() is not None or time.monotonic() > deadline:
            process.kill()
            pytest.fail(f"it ended before its time: {process.communicate()[0]}")
        time.sleep(0.002)
    return process


def kill(run: Run, number: signal.Signals, *, when: Callable[[], bool]) -> None:
    """Start the command and end it by a signal that nobody can handle."""
    process = begin(run, until=when)
    process.send_signal(number)
    process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == -number


def state(run: Run, step: str) -> str | None:
    """What `status.json` says of a step; None before it begins."""
    return run.status()["steps"].get(step, {}).get("state")


def saved(run: Run) -> int:
    """The newest step that was saved; 0 before the first."""
    found = checkpoints(run.folder / "pretrain" / "checkpoints")
    return found[0][0] if found else 0
