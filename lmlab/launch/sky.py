"""A managed spot job of SkyPilot: the task file, and the `sky jobs` commands around it.

SkyPilot's controller does the rest: it finds a machine, sees that it was lost, and starts the same
command on another, which resumes from the bucket.
"""

import subprocess
from pathlib import Path
from typing import Literal

import yaml
from pydantic import Field, ValidationError

from lmlab.engine.preempt import EXIT_CODE
from lmlab.engine.run import Run, write_text
from lmlab.engine.schema import Values
from lmlab.launch.job import Job, present_secrets
from lmlab.launch.program import find_program

# Where the bucket can be looked at on the machine.
MOUNT_AT = "/lmlab-mirror"
# What `sky jobs launch` and `sky jobs logs` answer; 101 is a job that goes on.
STATES = {0: "done", 100: "failed", 101: "submitted", 103: "cancelled"}


class JobRecovery(Values):
    """When SkyPilot starts the command again, and where it looks for the next machine."""

    strategy: Literal["EAGER_NEXT_REGION"] = "EAGER_NEXT_REGION"
    max_restarts_on_errors: Literal[0] = 0
    recover_on_exit_codes: tuple[int, ...] = (EXIT_CODE,)


class Resources(Values):
    """The machine."""

    accelerators: dict[str, int]
    use_spot: Literal[True] = True
    job_recovery: JobRecovery = JobRecovery()
    disk_size: int = Field(ge=1)
    image_id: str = Field(pattern="^docker:")
    max_hourly_cost: float | None = Field(default=None, gt=0)


class Mount(Values):
    """A bucket as a folder, through which nothing of ours is written."""

    source: str = Field(pattern="^s3://")
    mode: Literal["MOUNT"] = "MOUNT"


class Task(Values):
    """Exactly the keys of a SkyPilot task file that are written here."""

    name: str = Field(pattern="^[A-Za-z0-9._-]+$")
    resources: Resources
    envs: dict[str, str]
    # Name -> nothing: a value never lies in the file.
    secrets: dict[str, None]
    file_mounts: dict[str, Mount]
    setup: str
    run: str


def render(job: Job) -> str:
    """The task file's text. Raises ValueError where the results would be lost with the machine.

    The bucket is mounted so that SkyPilot refuses a bucket that is not there, or not open to us,
    before it rents anything. Runs are mirrored by the engine itself: a mount uploads when it
    likes, so a checkpoint's manifest could arrive before its files.
    """
    if job.mirror is None:
        raise ValueError(
            "SkyPilot gives a machine back when its job ends, and the results with it: "
            "give storage.to=s3://BUCKET/PREFIX, or launch.cloud.provider=vast"
        )
    # Buckets that are not Amazon's are not reached by this address.
    mounted = job.endpoint_url is None
    task = _checked(
        {
            "name": job_name(job),
            "resources": {
                "accelerators": {job.gpu: job.num_gpus},
                "disk_size": job.disk_gb,
                "image_id": f"docker:{job.image}",
                "max_hourly_cost": job.max_usd_per_hour,
            },
            "envs": job.environment,
            "secrets": dict.fromkeys(present_secrets(job)),
            "file_mounts": {MOUNT_AT: {"source": job.mirror}} if mounted else {},
            "setup": "\n".join(["set -e", *job.setup]),
            "run": job.shell_command,
        }
    )
    values = task.model_dump(mode="json")
    if task.resources.max_hourly_cost is None:
        del values["resources"]["max_hourly_cost"]
    values = {key: value for key, value in values.items() if value != {}}
    return yaml.safe_dump(values, sort_keys=False)


def write_task(job: Job, run: Run) -> Path:
    """Render `cloud/task.yaml` of the run."""
    path = run.cloud / "task.yaml"
    path.parent.mkdir(exist_ok=True)
    write_text(path, render(job))
    return path


def launch_command(job: Job, task: Path, *, detach: bool) -> list[str]:
    """`sky jobs launch`; secrets are given by name, and read from the environment by `sky`."""
    secrets = [part for name in present_secrets(job) for part in ("--secret", name)]
    ending = ["--detach-run"] if detach else []
    return ["sky", "jobs", "launch", "--yes", "--name", job_name(job), *secrets, *ending, str(task)]


def launch(job: Job, task: Path, *, detach: bool) -> int:
    """Hand the job to SkyPilot, and follow it unless detached; `sky`'s exit code."""
    return _sky(launch_command(job, task, detach=detach))


def follow(job: Job) -> int:
    """What the job says, until it ends."""
    return _sky(["sky", "jobs", "logs", "--name", job_name(job)])


def cancel(job: Job) -> None:
    """End the job; SkyPilot gives the machine back. Raises RuntimeError where it did not."""
    code = _sky(["sky", "jobs", "cancel", "--yes", "--name", job_name(job)])
    if code != 0:
        raise RuntimeError(f"sky jobs cancel answered {code}; look at `sky jobs queue`")


def job_name(job: Job) -> str:
    """SkyPilot's name of the job."""
    return f"{job.study}-{job.name}"


def client() -> str:
    """SkyPilot's command. Raises ValueError where it is not installed."""
    return find_program("sky", install="pipx install 'skypilot[aws]'")


def _sky(command: list[str]) -> int:
    return subprocess.run([client(), *command[1:]], check=False).returncode


def _checked(values: dict[str, object]) -> Task:
    try:
        return Task.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        raise ValueError(f"no SkyPilot task can be made: {where}: {first['msg']}") from None
