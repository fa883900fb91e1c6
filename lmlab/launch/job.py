"""What a rented machine is to do: the command, what it needs there, and what it may cost."""

import os
import re
import shlex

from pydantic import Field

from lmlab.engine.config import Resolved
from lmlab.engine.schema import StudyConfig, Values
from lmlab.launch.local import Options

# One name, since it also becomes part of a search query.
_GPU = re.compile(r"[A-Za-z0-9][A-Za-z0-9 ._-]*")
_S3_SECRETS = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")


class Job(Values):
    """Written beside the run, so that the watcher needs neither the preset nor its study.

    Secrets are names: the values stay in the environment, or with the provider.
    """

    study: str
    name: str
    command: tuple[str, ...]
    environment: dict[str, str]
    secrets: tuple[str, ...]
    # Shell lines before the command; they run as they are written.
    setup: tuple[str, ...]
    gpu: str
    num_gpus: int = Field(ge=1)
    disk_gb: int
    image: str
    # The bucket that a new machine resumes from: s3://bucket/prefix.
    mirror: str | None
    endpoint_url: str | None
    max_usd_per_hour: float | None
    budget_usd: float | None

    @property
    def reference(self) -> str:
        """The run that is worked on."""
        return f"{self.study}/{self.name}"

    @property
    def shell_command(self) -> str:
        """The command, quoted for a POSIX shell."""
        return shlex.join(self.command)


def make_job(resolved: Resolved, options: Options, *, name: str) -> Job:
    """What `lmlab run ... --on cloud` means for the run `name`.

    Raises ValueError where no GPU is named, or more than one machine is asked for.
    """
    config = resolved.config
    launch, cloud = config.launch, config.launch.cloud
    if cloud.gpu is None:
        raise ValueError("no GPU is chosen: give launch.cloud.gpu, such as launch.cloud.gpu=H100")
    if not _GPU.fullmatch(cloud.gpu):
        raise ValueError(f"launch.cloud.gpu={cloud.gpu!r} is no name of a GPU, such as RTX_4090")
    if launch.nodes > 1:
        raise ValueError(f"launch.nodes={launch.nodes}: --on cloud rents one machine")
    return Job(
        study=config.study,
        name=name,
        command=_command(resolved, options, name=name),
        environment=_environment(config),
        secrets=_secrets(config),
        setup=(*launch.setup, cloud.install),
        gpu=cloud.gpu,
        num_gpus=max(launch.processes, *launch.gpus.values(), 1),
        disk_gb=cloud.disk_gb,
        image=cloud.image,
        mirror=_mirror(config),
        endpoint_url=config.storage.endpoint_url or os.environ.get("AWS_ENDPOINT_URL"),
        max_usd_per_hour=cloud.max_usd_per_hour,
        budget_usd=config.cost.budget_usd,
    )


def present_secrets(job: Job) -> list[str]:
    """Those of the job's secrets that this environment holds; SkyPilot brings AWS keys itself."""
    return [name for name in job.secrets if os.environ.get(name)]


def _command(resolved: Resolved, options: Options, *, name: str) -> tuple[str, ...]:
    """The same command that was typed, on one machine and under the run's name."""
    asked = ["lmlab", "run", resolved.preset, *resolved.overrides, "--name", name]
    if options.steps:
        asked += ["--steps", ",".join(options.steps)]
    if options.redo is not None:
        asked += ["--redo", options.redo]
    if options.why is not None:
        asked += ["--continue", options.why]
    if resolved.config.launch.processes > 1:
        asked += ["--on", "torchrun"]
    return tuple(asked)


def _environment(config: StudyConfig) -> dict[str, str]:
    """What is said here by the environment, and must be said there too."""
    said = {"DEV_MODE": "True"} if config.dev else {}
    server = os.environ.get("AWS_ENDPOINT_URL")
    return said | ({"AWS_ENDPOINT_URL": server} if server and _mirror(config) else {})


def _secrets(config: StudyConfig) -> tuple[str, ...]:
    wandb = config.tracker.wandb
    tracked = wandb is not None and wandb.mode == "online"
    return (*(_S3_SECRETS if _mirror(config) else ()), *(["WANDB_API_KEY"] if tracked else []))


def _mirror(config: StudyConfig) -> str | None:
    """A folder of this machine is none: the next machine does not see it."""
    to = config.storage.to
    return to if to is not None and to.startswith("s3://") else None
