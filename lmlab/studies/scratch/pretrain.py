"""Pretraining: a decoder learns the next token of packed text."""

from lmlab.data.pack import PackedRows
from lmlab.engine.run import Run
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.model import LanguageModeling, build_decoder
from lmlab.studies.scratch.prepare import Prepared, load_prepared
from lmlab.studies.scratch.stage import Stage, train_stage


def pretrain(config: Config, run: Run) -> None:
    """Train from the newest checkpoint, or from the start."""
    train_decoder(config, run, "pretrain")


def train_decoder(config: Config, run: Run, part: str) -> None:
    """A decoder of the configuration's shape, by its settings of pretraining, as a part."""
    prepared = load_prepared(run)

    def objective(batch_size: int) -> LanguageModeling:
        return LanguageModeling(
            model=build_decoder(
                config.model, vocab_size=prepared.tokenizer.vocab_size, seed=config.seed
            ),
            validation=_rows(prepared, config, "validation"),
            batch_size=batch_size,
            packed_apart=not config.packing.attend_across_documents,
        )

    rows = _rows(prepared, config, "train")
    train_stage(config, run, Stage(part, config.pretrain, rows, "tokens", objective))


def _rows(prepared: Prepared, config: Config, split: str) -> PackedRows:
    return prepared.rows(
        split,
        context_tokens=config.model.context_tokens,
        across_documents=config.packing.attend_across_documents,
    )
