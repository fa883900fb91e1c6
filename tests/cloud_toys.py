"""Machines to rent, a job for one, and a stand-in for the command that runs there."""

from pathlib import Path

from lmlab.engine.config import load_preset
from lmlab.launch import cloud
from lmlab.launch.job import Job, make_job
from lmlab.launch.local import Options

RTX_4090 = {
    "id": 42,
    "machine_id": 7,
    "gpu_name": "RTX 4090",
    "num_gpus": 1,
    "disk_space": 100.0,
    "min_bid": 0.16,
    "dph_total": 0.18,
    "total_flops": 80.0,
}
DEARER = RTX_4090 | {"id": 43, "machine_id": 8, "min_bid": 0.24, "dph_total": 0.26}
JOB = Job(
    study="scratch",
    name="rented",
    command=("lmlab", "run", "scratch/demo", "--name", "rented"),
    environment={},
    secrets=(),
    setup=("true",),
    gpu="RTX_4090",
    num_gpus=1,
    disk_gb=50,
    image="pytorch/pytorch:latest",
    mirror="s3://bucket/runs",
    endpoint_url=None,
    max_usd_per_hour=0.5,
    budget_usd=None,
)
# Records its arguments, leaves a run behind, and waits while there is a file `hold`.
STAND_IN = """#!/bin/sh
mkdir -p "$LMLAB_RUNS/scratch/rented/cloud"
for one in "$@"; do printf '%s\\n' "$one"; done > "$LMLAB_RUNS/scratch/rented/arguments"
echo '{"of": "the machine"}' > "$LMLAB_RUNS/scratch/rented/cloud/state.json"
while [ -e "$HOME/../hold" ]; do sleep 0.05; done
"""


def add_program(folder: Path, name: str, text: str) -> None:
    """An executable to be put first on the PATH."""
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(text)
    (folder / name).chmod(0o755)


def make_job_of(*overrides: str, check: bool = False) -> Job:
    """The job of scratch/demo with settings."""
    resolved = load_preset("scratch/demo", overrides, dev=False)
    job = make_job(resolved, Options(), name="rented")
    if check:
        cloud._check(job, resolved.config.launch.cloud.provider)
    return job


def files(folder: Path) -> list[Path]:
    """Every file below."""
    return [path for path in folder.rglob("*") if path.is_file()]


def read(path: Path) -> str:
    """Text of any file."""
    return path.read_bytes().decode(errors="replace")
