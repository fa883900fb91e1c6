"""Runs on a real SLURM: jobs in order, failures, arrays, preemption, time limits, cancelling."""

import json
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import slurm_cluster
import tiny
from commands import type_command
from slurm_cluster import wait_until

from lmlab.engine.checkpoint import checkpoints
from lmlab.engine.config import load_preset
from lmlab.engine.run import Run
from lmlab.launch.local import Options, choose_run
from lmlab.launch.slurm import jobs, submit_array

pytestmark = pytest.mark.slurm

PATIENCE_SECONDS = 150
STEPS = ("prepare", "pretrain", "evaluate")
# Runs until somebody stops it.
ENDLESS = ("pretrain.max_steps=1000000", "pretrain.checkpoint.save_every=100")


@pytest.fixture(scope="module")
def cluster() -> Iterator[dict[str, str]]:
    """The environment in which SLURM's commands reach a cluster of this module's own."""
    missing = slurm_cluster.missing()
    if missing:
        pytest.skip(f"no SLURM: {', '.join(missing)} missing; `make services` installs it")
    with slurm_cluster.running_cluster() as environment:
        yield environment


@pytest.fixture
def root(
    cluster: dict[str, str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Path]:
    """Where runs lie: a folder whose name would do harm where it is not quoted."""
    root = tmp_path / "100% runs; touch harm; $(touch harm)"
    for name, value in {**cluster, "LMLAB_RUNS": str(root), "OMP_NUM_THREADS": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("DEV_MODE", raising=False)
    monkeypatch.chdir(tmp_path)
    yield root
    assert not (tmp_path / "harm").exists()
    subprocess.run(["scancel", "--full", "--me"], check=True)
    wait_until(lambda: not says("squeue", "--noheader"), what="an empty queue")


def test_steps_are_jobs_that_wait_for_one_another(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    monkeypatch.setenv("WANDB_API_KEY", "the-secret-of-somebody")
    run = submit(root)
    assert [(job.steps, job.state) for job in jobs(run)][1:] == [
        (("pretrain",), "PENDING"),
        (("evaluate",), "PENDING"),
    ]
    before = run.jobs_path.read_bytes()
    for where in ("slurm", "local"):
        capsys.readouterr()
        command = ("run", tiny.PRESET, *tiny.OVERRIDES, "--name", "tiny", "--on", where)
        assert type_command(monkeypatch, *command) == 0
        assert "queued (Dependency)" in capsys.readouterr().out
    assert run.jobs_path.read_bytes() == before

    wait_for_end(run)
    states = run.status()["steps"]
    assert [states[step]["state"] for step in STEPS] == ["done"] * 3
    assert run.report_path.is_file()
    assert states["prepare"]["finished"] <= states["pretrain"]["started"]
    assert states["pretrain"]["finished"] <= states["evaluate"]["started"]
    files = [path for path in run.folder.rglob("*") if path.is_file()]
    assert [path for path in files if b"the-secret-of-somebody" in path.read_bytes()] == []

    assert type_command(monkeypatch, "status", "scratch/tiny") == 0
    said = capsys.readouterr().out
    assert [f"{step}: completed" in said for step in STEPS] == [True] * 3
    assert type_command(monkeypatch, "logs", "scratch/tiny") == 0
    assert "evaluate: done" in capsys.readouterr().out

    # Without accounting SLURM forgets; the run's own status stays.
    noted = json.loads(before)
    forgotten = {step: {**entry, "job_id": "999999"} for step, entry in noted.items()}
    run.jobs_path.write_text(json.dumps(forgotten))
    assert type_command(monkeypatch, "status", "scratch/tiny") == 0
    said = capsys.readouterr().out
    assert "SLURM does not know it" in said
    assert "scratch/tiny: done" in said


def test_a_failing_step_stops_those_that_wait_for_it(
    root: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
):
    run = submit(root, "pretrain.optim.learning_rate=1e30")
    wait_for_end(run)
    assert [job.state for job in jobs(run)] == ["COMPLETED", "FAILED", "CANCELLED"]
    assert {step: entry["state"] for step, entry in run.status()["steps"].items()} == {
        "prepare": "done",
        "pretrain": "failed",
    }
    capsys.readouterr()
    assert type_command(monkeypatch, "status", "scratch/tiny") == 0
    said = capsys.readouterr().out
    assert "pretrain: failed (NonZeroExitCode)" in said
    assert "evaluate: cancelled" in said


def test_an_impossible_job_leaves_none_queued(root: Path, monkeypatch: pytest.MonkeyPatch):
    asked = ("run", tiny.PRESET, *tiny.OVERRIDES, "--name", "tiny", "--on", "slurm")
    assert type_command(monkeypatch, *asked, "launch.gpus.pretrain=5") == 64
    run = Run(root, "scratch", "tiny")
    wait_for_end(run)
    assert [(job.steps, job.state) for job in jobs(run)] == [(("prepare",), "CANCELLED")]


def test_an_array_runs_its_cells_and_no_more_at_once_than_it_may(root: Path, tmp_path: Path):
    cells = []
    for seed in (1, 2):
        overrides = (*tiny.OVERRIDES, f"seed={seed}", "launch.concurrent=1")
        resolved = load_preset(tiny.PRESET, overrides)
        cells.append((choose_run(resolved, Options(name=f"cell-{seed}")).run, resolved))
    folder = root / "sweeps" / "seeds"
    folder.mkdir(parents=True)
    assert len(submit_array(cells, folder=folder)) == 2
    assert submit_array(cells, folder=folder) == ["every cell is queued already"]
    for run, _ in cells:
        wait_for_end(run)
    times = [run.status()["steps"] for run, _ in cells]
    assert [[steps[step]["state"] for step in STEPS] for steps in times] == [["done"] * 3] * 2
    first, second = times
    assert first["evaluate"]["finished"] <= second["prepare"]["started"]


def test_two_ranks_that_are_preempted_end_as_undisturbed_ones(root: Path):
    longer = ("pretrain.max_steps=600", "pretrain.checkpoint.save_every=100")
    trained = (*longer, "--steps", "prepare,pretrain")
    run = submit(root, *trained, "launch.nodes=2", "launch.cpus=2", "launch.partition=low")
    wait_until(lambda: saved(run) >= 100, what="a save", seconds=PATIENCE_SECONDS)
    high = says("sbatch", "--parsable", "-p", "high", "-w", "n2", "-c", "4", "-o", "/dev/null",
                "--wrap", "sleep 1").strip()  # fmt: skip
    wait_until(lambda: state(run, "pretrain") == "preempted", what="the save", seconds=30)
    # SIGTERM, or a notice to another process: the ranks are not signalled at one moment.
    found = re.search(r"at step (\d+)", run.status()["steps"]["pretrain"]["error"])
    assert found is not None
    assert saved(run) == int(found[1])
    wait_for_end(run)
    assert field(high, "JobState") == "COMPLETED"
    assert {job.state for job in jobs(run)} == {"COMPLETED"}
    assert field(number_of(run, "pretrain"), "Restarts") == "1"
    assert run.status()["steps"]["pretrain"]["attempt"] == 2

    command = ("run", tiny.PRESET, *tiny.OVERRIDES, *trained, "--name", "tiny")
    beside = ("--on", "torchrun", "launch.processes=2")
    local = tiny.start(*command, *beside, runs=root / "undisturbed")
    said, _ = local.communicate(timeout=PATIENCE_SECONDS)
    assert local.returncode == 0, said
    undisturbed = Run(root / "undisturbed", "scratch", "tiny")
    assert undisturbed.status()["steps"]["pretrain"]["attempt"] == 1
    assert tensors(undisturbed) == tensors(run)


def test_out_of_time_a_job_is_queued_again_and_cancelled_it_is_not(
    root: Path, monkeypatch: pytest.MonkeyPatch
):
    run = submit(root, *ENDLESS, "launch.time_limit=0:01:00", "launch.signal_seconds=40")
    # SLURM may signal up to a minute early, before a step listens: then it is only queued again.
    wait_until(
        lambda: "SIGUSR1 at step" in error(run, "pretrain"),
        what="the time limit",
        seconds=2 * PATIENCE_SECONDS,
    )
    stopped_at = saved(run)
    assert state(run, "pretrain") == "preempted"
    assert f"SIGUSR1 at step {stopped_at}" in error(run, "pretrain")
    wait_until(lambda: saved(run) > stopped_at, what="more steps", seconds=PATIENCE_SECONDS)
    restarts = field(number_of(run, "pretrain"), "Restarts")
    assert int(restarts) >= 1

    assert type_command(monkeypatch, "cancel", "scratch/tiny") == 0
    wait_for_end(run)
    assert [job.state for job in jobs(run)] == ["COMPLETED", "CANCELLED", "CANCELLED"]
    assert state(run, "pretrain") == "preempted"
    assert f"SIGTERM at step {saved(run)}" in error(run, "pretrain")
    assert field(number_of(run, "pretrain"), "Restarts") == restarts


def submit(root: Path, *arguments: str) -> Run:
    """Give the tiny run to SLURM."""
    with pytest.MonkeyPatch.context() as patch:
        command = ("run", tiny.PRESET, *tiny.OVERRIDES, *arguments, "--name", "tiny")
        assert type_command(patch, *command, "--on", "slurm") == 0
    return Run(root, "scratch", "tiny")


def wait_for_end(run: Run) -> None:
    """Until no job of the run waits or works; on failure what the jobs said is shown."""

    def ended() -> bool:
        return not any(job.is_active for job in jobs(run))

    try:
        wait_until(ended, what=run.reference, seconds=PATIENCE_SECONDS, every=0.3)
    except TimeoutError:
        said = [path.read_text() for path in (run.folder / "logs").glob("slurm-*.out")]
        pytest.fail("\n".join([*(job.line for job in jobs(run)), *said]))


def tensors(run: Run) -> dict[str, str]:
    """sha256 of what the last save holds of weights, optimizer and random numbers."""
    found = tiny.contents(run.folder, f"pretrain/checkpoints/step_{saved(run):08}/")
    return {name: value for name, value in found.items() if name.endswith(".safetensors")}


def error(run: Run, step: str) -> str:
    """Why a step stopped; empty where it has not."""
    return run.status()["steps"].get(step, {}).get("error") or ""


def number_of(run: Run, step: str) -> str:
    """The job that works on a step."""
    return next(job.id for job in jobs(run) if step in job.steps)


def field(number: str, name: str) -> str:
    """What SLURM itself says of a job."""
    found = re.search(rf"{name}=(\S+)", says("scontrol", "show", "job", number))
    assert found is not None
    return found[1]


def says(*command: str) -> str:
    """What a command prints."""
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout


def state(run: Run, step: str) -> str | None:
    """What `status.json` says of a step; None before it begins."""
    return run.status()["steps"].get(step, {}).get("state")


def saved(run: Run) -> int:
    """The newest step that was saved; 0 before the first."""
    found = checkpoints(run.folder / "pretrain" / "checkpoints")
    return found[0][0] if found else 0
