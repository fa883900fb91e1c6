"""Pretraining: a decoder learns the next token of packed text."""

from lmlab.data.loader import Loader
from lmlab.data.pack import PackedRows
from lmlab.engine.contract import Plan
from lmlab.engine.device import decide
from lmlab.engine.distributed import join
from lmlab.engine.run import Run
from lmlab.engine.steps import step_fingerprints
from lmlab.engine.trainer import train
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.model import LanguageModeling, build_decoder
from lmlab.studies.scratch.prepare import Prepared, load_prepared
from lmlab.studies.scratch.steps import STEPS


def pretrain(config: Config, run: Run) -> None:
    """Train from the newest checkpoint, or from the start."""
    part, prepared, train_config = run.part("pretrain"), load_prepared(run), config.pretrain
    world = join(config.distributed.timeout_seconds)
    decided = decide(
        config.device,
        train_config,
        shard=config.distributed.shard,
        world=world,
        part=part,
    )
    vocab_size = prepared.tokenizer.vocab_size
    objective = LanguageModeling(
        model=build_decoder(config.model, vocab_size=vocab_size, seed=config.seed),
        validation=_rows(prepared, config, "validation"),
        batch_size=decided.micro_batch_size,
        packed_apart=not config.packing.attend_across_documents,
    )
    rows = _rows(prepared, config, "train")
    plan = Plan(
        train=train_config,
        decided=decided,
        seed=config.seed,
        fingerprint=step_fingerprints(STEPS, config)["pretrain"],
        unit="tokens",
        tracker=config.tracker,
        monitor=config.monitor,
        cost=config.cost,
        world=world,
    )
    with Loader(
        len(rows),
        rows.fetch,
        batch_size=train_config.batch_size,
        micro_batch_size=decided.micro_batch_size,
        seed=config.seed,
        workers=1,
        rank=world.rank,
        world_size=world.size,
    ) as loader:
        train(objective, loader, plan, run=part)


def _rows(prepared: Prepared, config: Config, split: str) -> PackedRows:
    return prepared.rows(
        split,
        context_tokens=config.model.context_tokens,
        across_documents=config.packing.attend_across_documents,
    )
