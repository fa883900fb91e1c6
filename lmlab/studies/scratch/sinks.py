"""Do attention sinks help past the trained length? Decoders with each kind beside the run's own."""

import logging
from collections.abc import Iterator, Sequence

from lmlab.data.text import load_documents
from lmlab.engine.device import prepare_scoring
from lmlab.engine.distributed import join
from lmlab.engine.items import write_items
from lmlab.engine.preempt import Preempted
from lmlab.engine.run import Run, write_text
from lmlab.models.schema import FirstTokens, Window
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.model import load_trained
from lmlab.studies.scratch.prepare import load_prepared
from lmlab.studies.scratch.pretrain import train_decoder
from lmlab.studies.scratch.sinks_arms import (
    OWN,
    STEP,
    WRITTEN_MULTIPLE,
    Variant,
    arms_of,
    longest,
    variants_of,
)
from lmlab.studies.scratch.sinks_reading import (
    LongTexts,
    continue_texts,
    join_documents,
    read_texts,
)
from lmlab.studies.scratch.sinks_records import export, sink_items, sink_records
from lmlab.studies.scratch.sinks_scores import Reading

log = logging.getLogger(__name__)

SPLIT = "test"


def sinks(config: Config, run: Run) -> None:
    """Train every decoder that is not yet, then read the same texts with all of them."""
    # First, since too few documents should not cost a training.
    texts = load_texts(config, run)
    variants = variants_of(config)
    for one in variants:
        if one.part != OWN:
            train_decoder(one.config, run, one.part)
    if join(config.distributed.timeout_seconds).is_main:
        _write(config, run, texts, list(_readings(variants, run, texts)))


def load_texts(config: Config, run: Run) -> LongTexts:
    """The texts that all arms read, of the test split."""
    assert config.sinks is not None
    return join_documents(
        load_documents(config.data, SPLIT),
        load_prepared(run).tokenizer,
        num_texts=config.sinks.num_texts,
        # The first is given.
        num_tokens=1 + longest(config),
    )


def _readings(variants: Sequence[Variant], run: Run, texts: LongTexts) -> Iterator[Reading]:
    for one in variants:
        trained = load_trained(
            run.part(one.part),
            one.config.model,
            vocab_size=texts.tokenizer.vocab_size,
            at="last",
            device=prepare_scoring(one.config.device),
        )
        num_tokens = WRITTEN_MULTIPLE * one.config.model.context_tokens
        for name, arm in arms_of(one.config).items():
            seed, written = one.config.seed, None
            nll = read_texts(trained.model, texts, arm=arm)
            if isinstance(arm, FirstTokens | Window):
                written = continue_texts(
                    trained.model, texts, arm=arm, seed=seed, num_tokens=num_tokens
                )
            log.info("%s, seed %d: %.4f nats a token", name, seed, nll.sum() / texts.scored.sum())
            yield Reading(name, seed, one.part, trained.weights, trained.step, nll, written)
            if run.notice.reason is not None:
                raise Preempted(f"{run.notice.reason} after reading by {name}")


def _write(config: Config, run: Run, texts: LongTexts, readings: Sequence[Reading]) -> None:
    results = run.results()
    write_items(results.items_path(STEP), sink_items(readings, texts, config))
    content = export(readings, texts, config)
    write_text(results.export("attention_sinks_results.json"), content)
    results.replace(STEP, sink_records(readings, texts, config, run))
