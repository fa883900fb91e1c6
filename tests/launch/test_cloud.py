"""`--on cloud`: what is said before renting, what a machine runs, and the command that attaches."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import tiny
import yaml
from cloud_toys import JOB, STAND_IN, add_program, files, make_job_of, read
from commands import PATIENCE_SECONDS, type_command, until
from services.fake_vast import KEY, Market

from lmlab.engine.config import load_preset
from lmlab.engine.run import Run, read_json
from lmlab.launch import cloud, remote, rental, sky
from lmlab.launch.local import Options

VAST = (
    *tiny.OVERRIDES,
    "launch.cloud.provider=vast",
    "launch.cloud.gpu=RTX_4090",
    "launch.cloud.max_usd_per_hour=0.5",
    "launch.cloud.install=':'",
)
COMMAND = ("run", "scratch/demo", *VAST, "--name", "rented", "--on", "cloud")


def test_a_dry_run_rents_nothing_and_neither_does_a_command_without_yes(
    market: Market, run: Run, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run.cloud.rmdir()
    run.folder.rmdir()
    assert type_command(monkeypatch, *COMMAND, "--dry-run") == 0
    said = capsys.readouterr().out
    assert "price: 0.220 USD an hour now (offer 42: bid 0.2, disk 0.020)" in said
    assert "at most 0.5 USD an hour" in said
    assert "USD for 0.00 h of training, at 40% of the offer's 80 TFLOPS" in said
    assert "without notice" in said
    assert "storage.to=s3://" in said
    assert type_command(monkeypatch, *COMMAND) == 64
    assert "nothing is rented without --yes" in capsys.readouterr().out
    assert market.calls("create") == []
    assert not run.folder.exists()


def test_a_price_that_cannot_be_asked_for_is_unknown(
    market: Market, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    monkeypatch.setattr(sys, "executable", "/nowhere/python")
    assert type_command(monkeypatch, *COMMAND, "--dry-run") == 0
    assert "price: unknown (vastai is not installed" in capsys.readouterr().out


def test_detached_it_outlives_the_command_and_the_same_command_attaches(
    market: Market, run: Run, tmp_path: Path
):
    hold(market, run, tmp_path)
    said = start_command("--yes", "--detach")
    assert "Host lmlab-scratch-rented\n    HostName 127.0.0.1\n    Port 20701\n" in said
    watching = psutil.Process(read_json(run.lock_path)["pid"])
    assert os.getsid(watching.pid) == watching.pid, "a log-out ends its session, not others"

    # A watcher that dies leaves the machine; the same command finds it by its label.
    watching.kill()
    until(lambda: not run.is_running())
    start_command("--yes", "--detach")
    assert len(market.calls("create")) == 1
    assert "Host lmlab-scratch-rented" in start_command("--detach"), "to follow costs nothing"

    (tmp_path / "hold").unlink()
    assert "done: the command ended with 0" in start_command("--yes")
    assert market.instances == {}
    assert (run.folder / "arguments").read_text().split("\n")[:-1] == list(COMMAND[:-2])
    state = rental.read_state(run)
    assert state is not None
    assert (state.state, state.machines) == ("done", 1)
    assert [path for path in files(run.root) if KEY in read(path)] == [], "a key lies nowhere"


def test_a_cancel_ends_the_watcher_too(market: Market, run: Run, tmp_path: Path):
    hold(market, run, tmp_path)
    start_command("--yes", "--detach")
    assert cloud.cancel(run) == ["scratch/rented: gave instance 701 back"]
    (tmp_path / "hold").unlink()
    until(lambda: not run.is_running())
    assert (market.instances, len(market.calls("create"))) == ({}, 1)


def test_nothing_typed_is_run_by_a_shell(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    hostile = ["x; touch y", "$(touch y)", "`touch y`", "'\"; touch y #", "a: b\n- c"]
    command = ("lmlab", "run", *hostile, "--name", "rented")
    add_program(tmp_path / "bin", "lmlab", STAND_IN)
    path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
    job = JOB.model_copy(update={"command": command, "environment": {"DEV_MODE": "x; touch y"}})
    task = yaml.safe_load(sky.render(job))
    for script in (task["run"], remote.start_script(job)):
        home = tmp_path / str(len(script))
        (home / "lmlab").mkdir(parents=True)
        environment = {"HOME": str(home), "PATH": path, "LMLAB_RUNS": str(home / "lmlab" / "runs")}
        subprocess.run(["sh", "-c", script], cwd=home, env=environment, check=True)
        written = home / "lmlab" / "runs" / "scratch" / "rented" / "arguments"
        until(written.exists)
        until(lambda written=written: written.read_text().endswith("--name\nrented\n"))
        assert written.read_text() == "\n".join([*command[1:], ""])
    assert list(tmp_path.rglob("y")) == []
    for gpu in ("H100 num_gpus=8; x", "$(touch y)", "--help"):
        with pytest.raises(ValueError, match="no name of a GPU"):
            make_job_of(f"launch.cloud.gpu='{gpu}'")
    with pytest.raises(ValueError, match="is no name for a run"):
        cloud.launch(
            load_preset("scratch/demo", [*VAST]),
            Options(name="x; touch y"),
            yes=True,
            dry_run=False,
            detach=True,
            say=lambda _: None,
        )


def test_the_start_script_leaves_the_exit_code_of_what_failed_first_at_every_start(tmp_path: Path):
    job = JOB.model_copy(update={"setup": ("echo installing", "exit 3", "touch never")})
    environment = {"HOME": str(tmp_path), "PATH": os.environ["PATH"]}
    subprocess.run(["sh", "-c", remote.start_script(job)], env=environment, check=True)
    until((tmp_path / "lmlab" / "exit").exists)
    assert (tmp_path / "lmlab" / "exit").read_text() == "3\n"
    assert (tmp_path / "lmlab" / "log").read_text() == "installing\n"
    assert not (tmp_path / "lmlab" / "never").exists()
    # A machine that is started again has not ended because it once did.
    (tmp_path / "hold").touch()
    job = JOB.model_copy(update={"setup": ("while [ -e ../hold ]; do sleep 0.05; done", "exit 0")})
    subprocess.run(["sh", "-c", remote.start_script(job)], env=environment, check=True)
    assert not (tmp_path / "lmlab" / "exit").exists()
    (tmp_path / "hold").unlink()
    until((tmp_path / "lmlab" / "exit").exists)
    assert (tmp_path / "lmlab" / "exit").read_text() == "0\n"


def hold(market: Market, run: Run, tmp_path: Path) -> None:
    """Machines that come up, and a command on them that waits; of the run there is nothing yet."""
    run.cloud.rmdir()
    run.folder.rmdir()
    (tmp_path / "hold").touch()
    with market.edit() as values:
        values["boots"] = True


def start_command(*more: str) -> str:
    """What the command says in a process of its own, which ends well and before the machine."""
    done = subprocess.run(
        [sys.executable, "-m", "lmlab.cli", *COMMAND, *more],
        capture_output=True,
        text=True,
        check=False,
        timeout=PATIENCE_SECONDS,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout
