"""Runs as SLURM jobs: each step one job that waits for the one before; sweeps as job arrays.

`jobs.json` beside a run says which jobs work on it. Their state is asked of squeue, then of sacct;
a cluster without accounting forgets a job soon after its end, and then the run's status must do.
"""

import os
import subprocess
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmlab.engine.config import Resolved
from lmlab.engine.lock import locked
from lmlab.engine.run import Run, read_json, runs_root, write_json, write_text
from lmlab.engine.steps import Step, choose_steps, config_steps, forget, step_states, study_steps
from lmlab.launch.local import Chosen, Options, find_run, new_name
from lmlab.launch.sbatch import array_script, step_script

ENDED = {
    "BOOT_FAIL", "CANCELLED", "COMPLETED", "DEADLINE", "FAILED", "NODE_FAIL", "OUT_OF_MEMORY",
    "PREEMPTED", "REVOKED", "TIMEOUT",
}  # fmt: skip
# SLURM does not know the job any more, or this machine does not know SLURM.
UNKNOWN = "UNKNOWN"


@dataclass(frozen=True)
class Job:
    """A job of a run and what SLURM says of it; an array's task works on several steps."""

    id: str
    steps: tuple[str, ...]
    state: str
    reason: str = ""
    nodes: str = ""

    @property
    def is_active(self) -> bool:
        """Whether it waits or works."""
        return self.state not in ENDED and self.state != UNKNOWN

    @property
    def line(self) -> str:
        """As `lmlab status` prints it."""
        reason = f" ({self.reason})" if self.reason not in ("", "None") else ""
        match self.state:
            case "PENDING":
                said = f"queued{reason}"
            case "RUNNING":
                said = f"running on {self.nodes}"
            case "UNKNOWN":
                said = "SLURM does not know it here"
            case state:
                said = f"{state.lower()}{reason}"
        return f"job      {self.id:<10} {', '.join(self.steps)}: {said}"


def plan(resolved: Resolved, options: Options) -> list[str]:
    """The scripts that `submit` would hand over; nothing is made or submitted."""
    found = find_run(resolved, options)
    new = Run(runs_root(), resolved.config.study, new_name(resolved, options))
    run = found.run if found else new
    lines, waits = [], ""
    for step in _left(resolved, run, options):
        lines += [f"# {run.reference}: {step.name}{waits}", _script(step, run, resolved)]
        waits = f", after {step.name}"
    return lines


def submit(resolved: Resolved, chosen: Chosen, options: Options) -> list[str]:
    """Queue a job for each step that is not done, one after the other: only one may hold the run.

    Raises ValueError where SLURM takes one of them for impossible: then none is left queued.
    """
    run = chosen.run
    if options.redo is not None:
        steps = config_steps(resolved.config)
        with locked(run.lock_path):
            forget(options.redo, steps, run)
    left = _left(resolved, run, options)
    scripts = {step.name: _script(step, run, resolved) for step in left}
    made: dict[str, str] = {}
    try:
        for step in left:
            path = _jobs_folder(run.folder) / f"{step.name}.sbatch"
            write_text(path, scripts[step.name])
            after = list(made.values())[-1:]
            made[step.name] = _sbatch(path, after=after)
            _note(run, {step.name: made[step.name]})
    except ValueError:
        _scancel(made.values())
        raise
    return [f"{step}: job {number}" for step, number in made.items()]


def submit_array(cells: Sequence[tuple[Run, Resolved]], *, folder: Path) -> list[str]:
    """Queue one array whose task i runs every step of cell i, `launch.concurrent` at once.

    A cell whose job waits or works already is left out. The script and what the tasks say lie in
    `folder`.
    """
    free = [(run, resolved) for run, resolved in cells if not active_lines(run)]
    if not free:
        return ["every cell is queued already"] if cells else []
    script = array_script(
        [_cell_command(run, resolved) for run, resolved in free],
        root=free[0][0].root,
        folder=folder,
        launch=free[0][1].config.launch,
    )
    path = _jobs_folder(folder) / "cells.sbatch"
    write_text(path, script)
    number = _sbatch(path, after=[])
    for index, (run, resolved) in enumerate(free):
        steps = _left(resolved, run, Options())
        _note(run, {step.name: f"{number}_{index}" for step in steps})
    return [f"{run.reference}: job {number}_{index}" for index, (run, _) in enumerate(free)]


def jobs(run: Run) -> list[Job]:
    """Every job of the run's last submissions, with its state now."""
    noted = read_json(run.jobs_path)
    if not noted:
        # Also of a run whose study is no code here, such as imported results.
        return []
    cluster = _cluster()
    steps: dict[str, list[str]] = {}
    known: list[str] = []
    for step in [step.name for step in study_steps(run.study) if step.name in noted]:
        entry = noted[step]
        steps.setdefault(entry["job_id"], []).append(step)
        known += [entry["job_id"]] if entry["cluster"] == cluster else []
    said = _states(known) if known else {}
    return [Job(one, tuple(names), *said.get(one, (UNKNOWN,))) for one, names in steps.items()]


def active_lines(run: Run) -> list[str]:
    """The jobs that wait or work for the run, apart from the array's task that asks."""
    own = "_".join(os.environ.get(f"SLURM_ARRAY_{which}_ID", "") for which in ("JOB", "TASK"))
    return [job.line for job in jobs(run) if job.is_active and job.id != own]


def job_lines(run: Run) -> list[str]:
    """The run's jobs, for people; empty where it was never given to SLURM."""
    return [job.line for job in jobs(run)]


def cancel(run: Run) -> list[str]:
    """End the run's jobs: one that trains is asked to save first, within the cluster's KillWait."""
    active = [job.id for job in jobs(run) if job.is_active]
    _scancel(active)
    return [f"cancelled job {number}" for number in active]


def _left(resolved: Resolved, run: Run, options: Options) -> list[Step]:
    """The steps to do. Raises ValueError for one that needs what is neither done nor asked for."""
    config = resolved.config
    steps = config_steps(config)
    # A step that is misspelt there would run without its GPUs.
    choose_steps(steps, tuple(config.launch.gpus))
    wanted = choose_steps(steps, options.steps) if options.steps else list(steps)
    states = step_states(steps, config, run)
    left = [step for step in wanted if states[step.name] != "done"]
    names = {step.name for step in left}
    for step in left:
        missing = [name for name in step.needs if states[name] != "done" and name not in names]
        if missing:
            raise ValueError(f"step {step.name} needs {', '.join(missing)}: add it to --steps")
    return left


def _script(step: Step, run: Run, resolved: Resolved) -> str:
    return step_script(step, run, resolved.config.launch, overrides=resolved.overrides)


def _cell_command(run: Run, resolved: Resolved) -> list[str]:
    several = ["--on", "torchrun"] if resolved.config.launch.processes > 1 else []
    return ["run", resolved.preset, *resolved.overrides, "--name", run.name, *several]


def _jobs_folder(folder: Path) -> Path:
    """Where scripts lie; SLURM makes no folder for what jobs say, so that is made here too."""
    for name in ("jobs", "logs"):
        (folder / name).mkdir(exist_ok=True)
    return folder / "jobs"


def _note(run: Run, numbers: Mapping[str, str]) -> None:
    common = {"submitted": time.time(), "cluster": _cluster()}
    new = {step: {"job_id": number, **common} for step, number in numbers.items()}
    write_json(run.jobs_path, read_json(run.jobs_path) | new)


def _sbatch(script: Path, *, after: Sequence[str]) -> str:
    """The job's number. Raises ValueError with what SLURM says against it."""
    waits = [f"--dependency=afterok:{':'.join(after)}", "--kill-on-invalid-dep=yes"]
    command = ["sbatch", "--parsable", *(waits if after else []), str(script)]
    done = _ask(command)
    if done is None:
        raise ValueError("sbatch is not installed: --on slurm is for a machine of a cluster")
    if done.returncode != 0:
        raise ValueError(f"SLURM refuses {script}: {done.stderr.strip()}")
    return done.stdout.strip().split(";")[0]


def _scancel(numbers: Iterable[str]) -> None:
    given = list(numbers)
    if not given:
        return
    done = _ask(["scancel", *given])
    if done is None or done.returncode != 0:
        said = done.stderr.strip() if done else "scancel is not installed"
        raise RuntimeError(f"jobs {', '.join(given)} are not cancelled: {said}")


def _states(numbers: Sequence[str]) -> dict[str, tuple[str, str, str]]:
    """job -> (state, reason, nodes) of those that SLURM remembers."""
    listed = ",".join(numbers)
    queue = ["squeue", "--noheader", "--array", "--states=all", f"--jobs={listed}"]
    found = _table(_ask([*queue, "--format=%i|%T|%N|%r"]))
    if not set(numbers) <= set(found):
        past = ["sacct", "--noheader", "--parsable2", "--allocations", f"--jobs={listed}"]
        found = _table(_ask([*past, "--format=JobID,State,NodeList,Reason"])) | found
    return found


def _table(done: subprocess.CompletedProcess[str] | None) -> dict[str, tuple[str, str, str]]:
    """Rows of job|state|nodes|reason; none where SLURM answers with an error.

    squeue calls a forgotten job an error, sacct the lack of accounting.
    """
    if done is None or done.returncode != 0:
        return {}
    found = {}
    for line in done.stdout.splitlines():
        number, state, nodes, reason = line.split("|", 3)
        # "CANCELLED by 1000"
        found[number] = (state.split()[0], reason, nodes)
    return found


def _cluster() -> str:
    """The name of the cluster that this machine belongs to; empty where there is none."""
    done = _ask(["scontrol", "show", "config"])
    lines = done.stdout.splitlines() if done is not None else []
    return next(
        (line.split("=")[1].strip() for line in lines if line.startswith("ClusterName")), ""
    )


def _ask(command: Sequence[str]) -> subprocess.CompletedProcess[str] | None:
    """What a command of SLURM's says; None where it is not installed."""
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=60)
    except FileNotFoundError:
        return None
