"""Batch scripts without a cluster: what the shell makes of them, and what is refused.

SLURM's commands are small programs of the test's own that write down what they are told.
"""

import os
import subprocess
import time
from pathlib import Path

import pytest

from lmlab.engine.run import Run
from lmlab.engine.schema import LaunchConfig
from lmlab.engine.steps import Step
from lmlab.launch import ended
from lmlab.launch.sbatch import array_script, first_node, step_script, time_seconds
from lmlab.launch.slurm import Job

TRAINING = Step("pretrain", "study:pretrain", reads=(), needs=("prepare",), parts=("pretrain",))
NASTY = "data.text='x; touch y' $(touch z) `touch z` \"\\\n#"


def test_no_value_is_taken_for_shell(tmp_path: Path):
    root = tmp_path / "runs; touch y"
    said = act(tmp_path, step_script(TRAINING, run_in(root), LaunchConfig(), overrides=(NASTY,)))
    assert said["srun"][-4:] == ["step", "scratch/tiny", "pretrain", NASTY]
    cells = [["run", "scratch/demo", NASTY, "--name", "a"], ["run", "b"]]
    script = array_script(cells, root=root, folder=root / "sweep", launch=LaunchConfig())
    for index, cell in enumerate(cells):
        said = act(tmp_path, script, SLURM_ARRAY_TASK_ID=str(index))
        assert said["srun"][-len(cell) :] == cell
    assert [path for path in tmp_path.rglob("*") if path.name in ("y", "z")] == []


@pytest.mark.parametrize(
    ("code", "job_state", "requeue_code", "requeued", "expected"),
    [
        (0, "RUNNING", 0, False, 0),
        (1, "RUNNING", 0, False, 1),
        (75, "RUNNING", 0, True, 0),
        # Ended by USR1 or TERM itself, while it was starting; by KILL is by somebody else.
        (138, "RUNNING", 0, True, 0),
        (143, "RUNNING", 0, True, 0),
        (137, "RUNNING", 0, False, 137),
        (75, "RUNNING", 143, True, 0),
        # SLURM says no: a job that is not done must not let those start that wait for it.
        (75, "RUNNING", 1, True, 75),
        (75, "COMPLETING", 0, False, 75),
    ],
)
def test_only_a_running_job_that_heard_a_notice_asks_for_its_requeue(
    tmp_path: Path, code: int, job_state: str, requeue_code: int, requeued: bool, expected: int
):
    script = step_script(TRAINING, run_in(tmp_path / "runs"), LaunchConfig(), overrides=())
    codes = {"SRUN_CODE": str(code), "JOB_STATE": job_state, "REQUEUE_CODE": str(requeue_code)}
    said = act(tmp_path, script, expected=expected, **codes)
    assert said.get("scontrol") == (["requeue", "17"] if requeued else None)


@pytest.mark.parametrize(("state", "expected"), [("preempted", 0), ("failed", 1)])
def test_under_torchrun_the_runs_own_status_tells_how_a_step_ended(
    tmp_path: Path, state: str, expected: int
):
    run = run_in(tmp_path / "runs")
    run.folder.mkdir(parents=True)
    run.set_status("pretrain", state=state, finished=time.time() + 60)
    script = step_script(TRAINING, run, LaunchConfig(processes=2), overrides=())
    said = act(tmp_path, script, expected=expected, SRUN_CODE="1", JOB_STATE="RUNNING")
    assert (said.get("scontrol") == ["requeue", "17"]) == (state == "preempted")


def test_a_preemption_of_an_earlier_start_does_not_count(tmp_path: Path):
    run = run_in(tmp_path)
    run.folder.mkdir(parents=True)
    assert ended.exit_code(run, "pretrain", since=100.0) == 1
    run.set_status("pretrain", state="preempted", finished=99.0)
    assert ended.exit_code(run, "pretrain", since=100.0) == 1
    run.set_status("pretrain", state="preempted", finished=101.0)
    assert ended.exit_code(run, "pretrain", since=100.0) == 75


@pytest.mark.parametrize(
    "launch",
    [
        LaunchConfig(partition="low; touch y"),
        LaunchConfig(account="lab\n#SBATCH --uid=0"),
        LaunchConfig(nodelist="'n1'"),
        LaunchConfig(qos=""),
        LaunchConfig(time_limit="soon"),
        LaunchConfig(time_limit="0:01:00", signal_seconds=60),
    ],
)
def test_a_setting_that_slurm_would_misread_is_refused(launch: LaunchConfig):
    with pytest.raises(ValueError, match=r"SLURM can read|time_limit"):
        step_script(TRAINING, run_in(Path("/runs")), launch, overrides=())


@pytest.mark.parametrize(
    ("written", "seconds"),
    [
        ("30", 1800), ("30:15", 1815), ("1:30:15", 5415),
        ("2-3", 183600), ("2-3:4", 183840), ("2-3:4:5", 183845),
    ],
)  # fmt: skip
def test_time_limits_are_read_as_slurm_reads_them(written: str, seconds: int):
    assert time_seconds(written) == seconds


@pytest.mark.parametrize(
    ("nodelist", "first"),
    [
        ("n1", "n1"), ("n1,n2", "n1"), ("gpu[03-05,9],x", "gpu03"),
        ("gpu[7,9]", "gpu7"), ("r[1-2]n[05-08]", "r1n05"),
    ],
)  # fmt: skip
def test_the_first_node_of_a_list(nodelist: str, first: str):
    assert first_node(nodelist) == first


def test_a_job_says_what_it_waits_for_where_it_runs_and_how_it_ended():
    queued = Job("7", ("pretrain",), "PENDING", reason="Resources")
    running = Job("7_1", ("prepare", "pretrain"), "RUNNING", nodes="n1")
    failed = Job("7", ("pretrain",), "FAILED", reason="NonZeroExitCode")
    assert [job.is_active for job in (queued, running, failed)] == [True, True, False]
    assert queued.line.endswith("pretrain: queued (Resources)")
    assert running.line.endswith("prepare, pretrain: running on n1")
    assert failed.line.endswith("pretrain: failed (NonZeroExitCode)")


def run_in(root: Path) -> Run:
    """A run that need not be there."""
    return Run(root, "scratch", "tiny")


def act(
    tmp_path: Path, script: str, *, expected: int = 0, **environment: str
) -> dict[str, list[str]]:
    """Run a script; what it told each of SLURM's commands, as that command's own arguments."""
    programs = tmp_path / "programs"
    programs.mkdir(exist_ok=True)
    answers = {
        "srun": "exit ${SRUN_CODE:-0}",
        "squeue": 'echo "$JOB_STATE"',
        "scontrol": '[ "$1" = requeue ] || rm "$0.said"; exit ${REQUEUE_CODE:-0}',
    }
    for name, answer in answers.items():
        (programs / f"{name}.said").unlink(missing_ok=True)
        program = programs / name
        program.write_text(f'#!/bin/bash\nprintf \'%s\\0\' "$@" > "$0.said"\n{answer}\n')
        program.chmod(0o755)
    path = tmp_path / "job.sbatch"
    path.write_text(script)
    slurm = {"SLURM_JOB_ID": "17", "SLURMD_NODENAME": "n1"}
    search = {"PATH": f"{programs}:{os.environ['PATH']}"}
    done = subprocess.run(
        ["bash", str(path)], env=os.environ | slurm | search | environment, cwd=tmp_path
    )
    assert done.returncode == expected
    said = {name: programs / f"{name}.said" for name in answers}
    return {name: file.read_text().split("\0")[:-1] for name, file in said.items() if file.exists()}
