"""Supervised fine-tuning: the pretrained decoder learns to answer, and to stop."""

import logging

from lmlab.data.examples import ExampleRows, encode_examples
from lmlab.data.instruct import render_prompt
from lmlab.data.tasks.load import load_instructions, load_problems
from lmlab.data.tokenizer import TextTokenizer
from lmlab.engine.run import Run
from lmlab.studies.scratch.config import Config, SftConfig
from lmlab.studies.scratch.model import LanguageModeling, load_trained
from lmlab.studies.scratch.prepare import load_prepared
from lmlab.studies.scratch.stage import Stage, stage_before, train_stage

log = logging.getLogger(__name__)


def sft(config: Config, run: Run) -> None:
    """Train from the newest checkpoint, or from the last one of pretraining."""
    assert config.sft is not None
    settings, tokenizer = config.sft, load_prepared(run).tokenizer
    context = config.model.context_tokens
    rows, validation = (
        instruction_rows(settings, split, tokenizer=tokenizer, context_tokens=context)
        for split in ("train", "validation")
    )

    def objective(batch_size: int) -> LanguageModeling:
        start = run.part(stage_before(config, "sft"))
        trained = load_trained(start, config.model, vocab_size=tokenizer.vocab_size, at="last")
        return LanguageModeling(
            model=trained.model, validation=validation, batch_size=batch_size, packed_apart=True
        )

    train_stage(config, run, Stage("sft", settings, rows, "tokens", objective))


def instruction_rows(
    settings: SftConfig, split: str, *, tokenizer: TextTokenizer, context_tokens: int
) -> ExampleRows:
    """The instructions of a split, packed into rows."""
    found = load_instructions(settings.data, split)
    texts = [(render_prompt(one.instruction, one.input), one.response) for one in found.records]
    if settings.problems is not None:
        solved = load_problems(settings.problems, split).records
        texts += [(render_prompt(one.question), one.solution) for one in solved]
    examples = encode_examples(texts, tokenizer=tokenizer, joining=settings.joining)
    rows = ExampleRows(examples, context_tokens=context_tokens)
    log.info(
        "%s: %d %s examples in %d rows; %d too long and left out",
        found.name, len(rows.examples), split, len(rows), rows.num_dropped,
    )  # fmt: skip
    return rows
