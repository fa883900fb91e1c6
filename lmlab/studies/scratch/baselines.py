"""Public models as baselines: some trained for the task, some prompted, all on the same items."""

import logging
from collections.abc import Sequence

from lmlab.engine import checkpoint
from lmlab.engine.distributed import join
from lmlab.engine.items import write_items
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Part, Run, write_json
from lmlab.models.adapt import Adapted, adapt, save_adapted
from lmlab.models.pretrained import Pretrained
from lmlab.studies.scratch.adapting import Adapting, task_rows
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.outcomes import STEP, Arm, arm_errors, arm_items, arm_records
from lmlab.studies.scratch.prompting import load_records, question
from lmlab.studies.scratch.result_files import write_errors, write_tables
from lmlab.studies.scratch.stage import Stage, train_stage
from lmlab.studies.scratch.trial import Trial, load_base

log = logging.getLogger(__name__)


def baselines(config: Config, run: Run) -> None:
    """Train what is to be trained, then score every arm."""
    settings = config.baselines
    assert settings is not None
    if config.distributed.shard != "none":
        raise ValueError("adapters are not sharded; set distributed.shard=none for baselines")
    for name in settings.adapt:
        train_adapter(config, run, name)
    if join(config.distributed.timeout_seconds).is_main:
        _judge(Trial(config, settings, run))


def train_adapter(config: Config, run: Run, name: str) -> None:
    """Train the entry `name` in its part, and leave it there in the form that PEFT loads."""
    assert config.baselines is not None
    settings, entry = config.baselines, config.baselines.adapt[name]
    part = run.part(f"{STEP}/{name}")
    base = load_base(config, entry)
    rows, validation = (
        task_rows(
            [question(one) for one in load_records(settings, split).records],
            base,
            task=settings.task,
            max_tokens=entry.max_tokens,
            split=split,
        )
        for split in ("train", "validation")
    )
    adapted = adapt(base, entry.method, seed=config.seed)
    if adapted.hit:
        log.info("%s: LoRA on %d layers: %s", name, len(adapted.hit), ", ".join(adapted.hit))
    frozen = {"base": f"{base.name} {base.weights['base']}"}

    def objective(batch_size: int) -> Adapting:
        return Adapting(adapted, validation, batch_size, frozen)

    unit = Adapting(adapted, validation, 1, frozen).unit
    train_stage(config, run, Stage(part.name, entry, rows, unit, objective))
    if join(config.distributed.timeout_seconds).is_main:
        _export(part, adapted, base)


def _export(part: Part, adapted: Adapted, base: Pretrained) -> None:
    """The last checkpoint as `adapter/` (or whole as `model/`), and what was trained of it."""
    path = checkpoint.find(part.checkpoints, "last")
    trained = checkpoint.load_weights(path, {"adapter": adapted.trained})
    folder = part.folder / ("adapter" if adapted.hit else "model")
    if not folder.exists():
        save_adapted(adapted, base, folder)
    facts = {
        "model": base.name,
        "weights": {**base.weights, "adapter": trained},
        "drawn_at_random": list(base.fresh),
        "lora_layers": list(adapted.hit),
        "trained_parameters": sum(one.numel() for one in adapted.trained.parameters()),
        "parameters": sum(one.numel() for one in adapted.model.parameters()),
    }
    write_json(part.folder / "adapted.json", facts)


def _judge(trial: Trial) -> None:
    arms: list[Arm] = []
    for arm in trial.arms():
        arms.append(arm)
        means = {name: f"{values.mean():.3f}" for name, values in arm.outcome.values.items()}
        log.info("%s %s: %s", arm.name, dict(arm.at), means)
        if trial.run.notice.reason is not None:
            raise Preempted(f"{trial.run.notice.reason} after scoring {arm.name}")
    _write(trial, arms)


def _write(trial: Trial, arms: Sequence[Arm]) -> None:
    """Records, items, the tables that the source promises, and the errors to look at."""
    config, run, task, results = trial.config, trial.run, trial.task, trial.run.results()
    items = [item for arm in arms for item in arm_items(arm, task, config)]
    write_items(results.items_path(STEP), items)
    records = [record for arm in arms for record in arm_records(arm, task, config, run)]
    results.replace(STEP, records)
    write_tables(results, run)
    write_errors(results, arm_errors(arms, task), step=STEP)
