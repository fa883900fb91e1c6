"""A stop file and a SLURM job's time ask a run to stop, as a signal does."""

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from lmlab.engine import notices
from lmlab.engine.notices import slurm_seconds, watched
from lmlab.engine.preempt import Notice


@pytest.mark.parametrize(
    ("said", "seconds"),
    [
        ("45", 45.0),
        ("1:30\n", 90.0),
        ("2:00:01", 7201.0),
        ("3-01:00:00", 262_800.0),
        ("UNLIMITED", None),
        ("INVALID", None),
        ("", None),
    ],
)
def test_squeues_time_is_read_in_all_its_forms(said: str, seconds: float | None):
    assert slurm_seconds(said) == seconds


def test_a_stop_file_asks_to_stop_and_an_old_one_is_taken_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(notices, "POLL_SECONDS", 0.01)
    notice = Notice()
    (tmp_path / "stop").touch()
    with watched(notice, tmp_path, seconds_needed=1.0):
        assert not (tmp_path / "stop").exists()
        assert notice.reason is None
        (tmp_path / "stop").touch()
        assert wait_for_reason(notice) == "the file `stop`"
    assert notice.asked_at is not None


@pytest.mark.parametrize(("left", "stopped"), [("0:50", True), ("1:05:00", False)])
def test_a_slurm_job_with_too_little_time_asks_to_stop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, left: str, stopped: bool
):
    program = tmp_path / "squeue"
    program.write_text(f"#!/bin/sh\necho asked >> {tmp_path}/asked\necho {left}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setenv("SLURM_JOB_ID", "17")
    monkeypatch.setattr(notices, "SLURM_EVERY_SECONDS", 0.05)
    notice = Notice()
    with watched(notice, tmp_path, seconds_needed=60.0):
        if stopped:
            assert wait_for_reason(notice) == "50 s left of the SLURM job"
        else:
            wait_until(lambda: (tmp_path / "asked").exists())
            assert notice.reason is None


def test_the_echo_of_a_signal_through_torchrun_is_no_second_one():
    script = (
        "import os, signal\n"
        "from lmlab.engine.preempt import Notice\n"
        "notice = Notice()\n"
        "with notice.installed(), notice.deferred():\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    os.kill(os.getpid(), signal.SIGTERM)\n"
        "    print('still here')\n"
    )
    environment = os.environ | {"TORCHELASTIC_RUN_ID": "17"}
    said = subprocess.run(
        [sys.executable, "-c", script], env=environment, capture_output=True, text=True
    )
    assert (said.returncode, said.stdout) == (0, "still here\n")


def wait_for_reason(notice: Notice) -> str | None:
    """The reason, as soon as there is one."""
    wait_until(lambda: notice.reason is not None)
    return notice.reason


def wait_until(happened) -> None:  # type: ignore[no-untyped-def]
    """Look until it is so; a minute at most."""
    deadline = time.monotonic() + 60
    while not happened():
        assert time.monotonic() < deadline
        time.sleep(0.01)
