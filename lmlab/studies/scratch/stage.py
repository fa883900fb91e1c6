"""What all trainings of the study share: from settings, rows and an objective to a trained part."""

from collections.abc import Callable
from dataclasses import dataclass

from lmlab.data.loader import Loader, Rows
from lmlab.engine.contract import Objective, Plan
from lmlab.engine.device import decide
from lmlab.engine.distributed import join
from lmlab.engine.run import Run
from lmlab.engine.schema import TrainConfig
from lmlab.engine.steps import config_steps, step_fingerprints
from lmlab.engine.trainer import train
from lmlab.studies.scratch.config import Config

# Where a stage's weights come from: the nearest of these before it that the configuration has.
DECODERS = ("pretrain", "sft", "dpo")
# Beside them: the decoder at its start, which no stage has trained.
UNTRAINED = "untrained"


@dataclass(frozen=True)
class Stage:
    """One training: of the part `name`, on `rows`, with progress counted in `unit`.

    `objective` is called with the micro-batch size that was decided for this machine.
    """

    name: str
    settings: TrainConfig
    rows: Rows
    unit: str
    objective: Callable[[int], Objective]


def train_stage(config: Config, run: Run, stage: Stage) -> None:
    """Train from the part's newest checkpoint, or from what its objective starts with."""
    part, world = run.part(stage.name), join(config.distributed.timeout_seconds)
    settings, rows = stage.settings, stage.rows
    decided = decide(
        config.device, settings, shard=config.distributed.shard, world=world, part=part
    )
    plan = Plan(
        train=settings,
        decided=decided,
        seed=config.seed,
        fingerprint=step_fingerprints(config_steps(config), config)[stage.name.split("/")[0]],
        unit=stage.unit,
        tracker=config.tracker,
        monitor=config.monitor,
        cost=config.cost,
        world=world,
    )
    with Loader(
        len(rows),
        rows.fetch,
        batch_size=settings.batch_size,
        micro_batch_size=decided.micro_batch_size,
        seed=config.seed,
        workers=1,
        rank=world.rank,
        world_size=world.size,
    ) as loader:
        train(stage.objective(decided.micro_batch_size), loader, plan, run=part)


def arm_of(stage: str) -> str:
    """The arm that a stage's decoder is called in tables; the first is the one that was trained."""
    return "trained" if stage == "pretrain" else stage


def part_of(stage: str) -> str:
    """The part that its decoder belongs to; the untrained one is where pretraining started."""
    return "pretrain" if stage == UNTRAINED else stage


def stages_of(config: Config) -> list[str]:
    """The stages that make a decoder, in their order."""
    return [name for name in DECODERS if getattr(config, name) is not None]


def stage_before(config: Config, name: str) -> str:
    """The stage whose last weights `name` starts from."""
    made = stages_of(config)
    before = made[: made.index(name)] if name in made else made
    return before[-1]
