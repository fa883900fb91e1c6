"""The values that every study's configuration is made of: frozen, typed, and free of torch."""

from collections.abc import Iterator
from typing import Annotated, Any, Literal, get_args

from pydantic import (
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    JsonValue,
    PlainSerializer,
    ValidationError,
    model_validator,
)
from pydantic_core import InitErrorDetails, PydanticCustomError

from lmlab.engine.durations import Duration, Interval, parse_duration, parse_interval

Steps = Annotated[Duration, BeforeValidator(parse_duration), PlainSerializer(str)]
SaveEvery = Annotated[Interval, BeforeValidator(parse_interval), PlainSerializer(str)]


# A free field changes no trained weight: it may differ when a run goes on.
FREE: dict[str, JsonValue] = {"free": True}
_NO_NUMBER = PydanticCustomError("boolean", "a number is wanted, not true or false")


# Above what uses them: a default below is a group of settings that is checked on import.
def _is_number(annotation: Any) -> bool:
    """Whether numbers are wanted there; groups of settings check their own."""
    return any(one in (int, float) for one in _types_in(annotation))


def _types_in(annotation: Any) -> Iterator[Any]:
    """`dict`, `str` and `int` of `dict[str, int]`."""
    yield annotation
    for inner in get_args(annotation):
        yield from _types_in(inner)


def _holds_boolean(value: Any) -> bool:
    match value:
        case dict():
            return any(map(_holds_boolean, value.values()))
        case list() | tuple():
            return any(map(_holds_boolean, value))
        case _:
            return isinstance(value, bool)


class Values(BaseModel):
    """A frozen group of settings in which an unknown key is an error."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True)

    @model_validator(mode="before")
    @classmethod
    def _no_boolean_for_a_number(cls, values: Any) -> Any:
        """pydantic would read `true` as 1."""
        given = values if isinstance(values, dict) else {}
        wrong = [
            InitErrorDetails(type=_NO_NUMBER, loc=(name,), input=given[name])
            for name, field in cls.model_fields.items()
            if _holds_boolean(given.get(name)) and _is_number(field.annotation)
        ]
        if wrong:
            raise ValidationError.from_exception_data(cls.__name__, wrong)
        return values


class ScheduleConfig(Values):
    """A learning-rate factor over steps, with warm-up for every kind (see `engine.optim`)."""

    kind: Literal[
        "constant", "linear", "cosine", "cosine_with_restarts", "polynomial", "exponential"
    ] = "cosine"
    warmup: Steps = Duration(0, "steps")
    warmup_start_factor: float = Field(default=0.01, ge=0, le=1)
    end_factor: float = Field(default=0.0, ge=0, le=1)
    restart_steps: int = Field(default=500, ge=1)
    restart_growth: int = Field(default=2, ge=1)
    power: float = Field(default=1.0, gt=0)
    gamma: float = Field(default=0.95, gt=0, le=1)


class ValueScheduleConfig(Values):
    """A number that changes over training; `duration` includes the constant steps at the start."""

    kind: Literal["constant", "linear", "cosine", "exponential"]
    start: float
    end: float | None = None
    duration: Steps = Duration(-1, "steps")
    constant_steps: int = Field(default=0, ge=0)


class OptimConfig(Values):
    """AdamW over named parameter groups."""

    learning_rate: float = Field(gt=0)
    weight_decay: float = Field(default=0.1, ge=0)
    betas: tuple[float, float] = (0.9, 0.95)
    eps: float = Field(default=1e-8, gt=0)
    grad_clip: float | None = Field(default=1.0, gt=0)
    # Parameters whose name starts with the key get their own factor on the learning rate.
    multipliers: dict[str, float] = {}
    schedule: ScheduleConfig = ScheduleConfig()


class CheckpointConfig(Values):
    """When training is saved, and which saves are kept."""

    save_every: SaveEvery = Interval(steps=Duration(500, "steps"), seconds=None)
    keep_last: int = Field(default=2, ge=1)
    keep_best: int = Field(default=1, ge=0)
    best_metric: str | None = None
    best_mode: Literal["min", "max"] = "min"
    # From a notice to the kill: what a provider grants. Save and upload are to be done by then.
    grace_seconds: float = Field(default=30.0, gt=0)


class TrainConfig(Values):
    """One training: how long, how large a batch, how it is saved and watched."""

    max_steps: int | None = Field(default=None, ge=0)
    num_epochs: float | None = Field(default=None, gt=0)
    batch_size: int = Field(ge=1)
    # Decided at the first start and kept, so that a resumed run adds its sums in the same order.
    micro_batch_size: int | None = Field(default=None, ge=1, json_schema_extra=FREE)
    optim: OptimConfig
    checkpoint: CheckpointConfig = Field(default=CheckpointConfig(), json_schema_extra=FREE)
    eval_every: Steps = Field(default=Duration(0, "steps"), json_schema_extra=FREE)
    log_every: int = Field(default=10, ge=1, json_schema_extra=FREE)
    nonfinite: Literal["stop", "skip"] = "stop"
    freeze: dict[str, Steps] = {}

    @model_validator(mode="after")
    def _one_length(self) -> "TrainConfig":
        if (self.max_steps is None) == (self.num_epochs is None):
            raise ValueError("give exactly one of max_steps and num_epochs")
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} is no multiple of "
                f"micro_batch_size {self.micro_batch_size}"
            )
        return self


class DeviceConfig(Values):
    """Where the numbers are computed; decided once at a training's first start and kept."""

    kind: Literal["auto", "cpu", "cuda"] = "auto"
    precision: Literal["auto", "float32", "bfloat16", "float16"] = "auto"
    # `auto` compiles where there is a C++ compiler; worth it for trainings of some minutes.
    compile: bool | Literal["auto"] = False
    tf32: bool = True
    threads: int | None = Field(default=None, ge=1)
    deterministic: bool = True


class WandbConfig(Values):
    """Weights & Biases: asked for by a project; `id` continues a run begun elsewhere."""

    project: str
    mode: Literal["online", "offline"] = "online"
    id: str | None = None


class TrackerConfig(Values):
    """Where the numbers of a training go beside metrics.jsonl."""

    tensorboard: bool = True
    wandb: WandbConfig | None = None


class MonitorConfig(Values):
    """How often system.csv gets a row."""

    every_seconds: float = Field(default=10.0, gt=0)


class CostConfig(Values):
    """What an hour of this machine costs, and all that may be spent; absent where nobody said."""

    hourly_rate_usd: float | None = Field(default=None, ge=0)
    budget_usd: float | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _budget_needs_a_rate(self) -> "CostConfig":
        if self.budget_usd is not None and self.hourly_rate_usd is None:
            raise ValueError("budget_usd needs hourly_rate_usd: nothing is known to cost anything")
        return self


class StorageConfig(Values):
    """Where a run is mirrored, so that it outlives its machine."""

    # s3://bucket/prefix, or a folder.
    to: str | None = None
    # Of an S3 server that is not Amazon's; AWS_ENDPOINT_URL does the same.
    endpoint_url: str | None = None


class DistributedConfig(Values):
    """How a training is spread over processes."""

    # none: every process holds the whole model (DDP). zero2: gradients and optimizer state are
    # sharded, zero3: the weights too (FSDP2).
    shard: Literal["none", "zero2", "zero3"] = "none"
    timeout_seconds: float = Field(default=600.0, gt=0)


class CloudConfig(Values):
    """What is rented with --on cloud."""

    provider: Literal["sky", "vast"] = "sky"
    gpu: str | None = None
    max_usd_per_hour: float | None = Field(default=None, gt=0)
    disk_gb: int = Field(default=50, ge=10)
    image: str = "pytorch/pytorch:latest"
    # How a fresh machine gets this package.
    install: str = "pip install 'lmlab[s3]'"


class LaunchConfig(Values):
    """What a job asks for, with --on torchrun, slurm or cloud."""

    nodes: int = Field(default=1, ge=1)
    # Processes a node; one a GPU.
    processes: int = Field(default=1, ge=1)
    # step -> GPUs a node.
    gpus: dict[str, int] = {}
    cpus: int | None = Field(default=None, ge=1)
    memory_gb: int | None = Field(default=None, ge=1)
    # SLURM's own form: H:M:S, D-H:M:S or minutes; in quotes in a file, where YAML reads 1:00:00
    # as 3600.
    time_limit: str | None = Field(default=None, coerce_numbers_to_str=True)
    partition: str | None = None
    account: str | None = None
    qos: str | None = None
    nodelist: str | None = None
    # Notice before the time limit; SLURM's clock is coarse by tens of seconds.
    signal_seconds: int = Field(default=120, ge=10)
    # Cells of a sweep that run at once: array tasks, or local worker processes.
    concurrent: int = Field(default=1, ge=1)
    # Independent phases of a run at once, each in a process of its own.
    workers: int = Field(default=1, ge=1)
    # Shell lines before the command: modules, environments. They run as they are written.
    setup: tuple[str, ...] = ()
    cloud: CloudConfig = CloudConfig()


class StudyConfig(Values):
    """What every study's `Config` shares."""

    study: str
    seed: int = 42
    dev: bool = False
    device: DeviceConfig = DeviceConfig()
    tracker: TrackerConfig = TrackerConfig()
    monitor: MonitorConfig = MonitorConfig()
    cost: CostConfig = CostConfig()
    storage: StorageConfig = StorageConfig()
    distributed: DistributedConfig = DistributedConfig()
    launch: LaunchConfig = LaunchConfig()

    def describe(self) -> tuple[str, str]:
        """(data, model) in a few letters, for a run's default name."""
        return "", ""

    def estimate(self) -> dict[str, str]:
        """What it will take, as `lmlab show` prints it; empty where a study cannot tell."""
        return {}

    def estimate_lines(self) -> list[str]:
        """The estimate, its names above one another."""
        found = self.estimate()
        width = max(map(len, found), default=0)
        return [f"{name:<{width}}  {value}" for name, value in found.items()]
