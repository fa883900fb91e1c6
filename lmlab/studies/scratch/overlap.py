"""How much of a scored text the model was trained on: what stands beside its perplexity.

Real text is compared by its words. The built-in stories repeat phrases by design: of them the named
facts of their worlds are compared, by which their splits differ.
"""

import logging
import shlex
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from lmlab.data.contamination import (
    FACTS,
    NGRAM,
    WORDS,
    Overlap,
    document_overlap,
    fact_overlap,
    ngram_overlap,
    shared_facts,
    story_facts,
)
from lmlab.data.schema import Mixture, Stories, TextConfig
from lmlab.data.stories import Split, Story
from lmlab.data.text import TextSplit, told_stories
from lmlab.engine.provenance import code_state, command_line
from lmlab.engine.records import Item, Record
from lmlab.engine.run import Run
from lmlab.metrics.stats import Interval, bootstrap_ratio, rate_interval
from lmlab.studies.scratch.config import Config

log = logging.getLogger(__name__)

ARM = "training text"


@dataclass(frozen=True)
class Compared:
    """The overlap of pieces, and what they are: a metric's name and a protocol."""

    metric: str
    overlap: Overlap
    protocol: Mapping[str, Any]


@dataclass(frozen=True)
class Contamination:
    """Of a scored text: its pieces in the training text, and its documents there as a whole."""

    text: TextSplit
    pieces: Compared
    documents: np.ndarray


def measure_contamination(
    config: TextConfig, split: Split, text: TextSplit, training: TextSplit
) -> Contamination:
    """By world facts where the text is of the built-in stories, else by 13-grams."""
    generated = _evaluated_stories(config)
    pieces = _ngrams(text, training) if generated is None else _facts(config, generated, split)
    documents = document_overlap(text.documents, training.documents)
    log.info(
        "%s: %s %.4f, %d of %d documents are in the training text as a whole",
        text.split, pieces.metric, pieces.overlap.share, documents.sum(), documents.size,
    )  # fmt: skip
    return Contamination(text, pieces, documents)


def contamination_records(
    found: Contamination, config: Config, run: Run, *, data: Mapping[str, str]
) -> list[Record]:
    """The share of pieces and of documents; `data` as in the records beside which they stand."""
    overlap, whole = found.pieces.overlap, found.documents
    shares: list[tuple[Compared, float, Interval]] = []
    # Short texts may have no piece at all.
    counted = overlap.pieces > 0
    if counted.any():
        interval = bootstrap_ratio(
            overlap.shared[counted].astype(np.float64),
            overlap.pieces[counted],
            draws=config.evaluate.bootstrap_draws,
            generator=np.random.default_rng(config.seed),
        )
        shares.append((found.pieces, overlap.share, interval))
    documents = Compared("overlap_document_share", overlap, {"words": WORDS})
    interval = rate_interval(int(whole.sum()), whole.size)
    shares.append((documents, float(whole.mean()), interval))
    return [
        Record(
            study=config.study,
            run=run.reference,
            part="pretrain",
            step="evaluate",
            training_step=None,
            arm=ARM,
            at={"split": found.text.split},
            metric=compared.metric,
            unit="share",
            better="lower",
            value=share,
            n=whole.size,
            n_error=0,
            interval=(interval.low, interval.high),
            interval_method=interval.method,
            protocol={"dataset": found.text.name, "against": "train", **compared.protocol},
            data=data,
            data_kind=found.text.data_kind,
            weights={},
            weightless=True,
            seed=config.seed,
            dev=config.dev,
            command=shlex.join(command_line()),
            commit=code_state()["commit"],
        )
        for compared, share, interval in shares
    ]


def contamination_items(found: Contamination, *, seed: int) -> list[Item]:
    """The pieces of each document, under the document's own number: what a clean subset needs."""
    overlap = found.pieces.overlap
    return [
        Item(
            part="pretrain",
            arm=ARM,
            at={"split": found.text.split},
            metric=found.pieces.metric,
            item_id=str(index),
            cluster_id=str(index),
            seed=seed,
            value=float(shared),
            weight=float(pieces),
        )
        for index, (shared, pieces) in enumerate(zip(overlap.shared, overlap.pieces, strict=True))
    ]


def _ngrams(text: TextSplit, training: TextSplit) -> Compared:
    overlap = ngram_overlap(text.documents, training.documents)
    return Compared(f"overlap_{NGRAM}gram_share", overlap, {"words": WORDS, "length": NGRAM})


def _facts(config: TextConfig, generated: Stories, split: Split) -> Compared:
    evaluated = [story_facts(one) for one in told_stories(generated, split)]
    shared = shared_facts(evaluated, _training_stories(config))
    if shared:
        log.warning("facts of %s that are in training: %s", split, ", ".join(sorted(shared)[:5]))
    return Compared("overlap_fact_share", fact_overlap(evaluated, shared), {"facts": FACTS})


def _evaluated_stories(config: TextConfig) -> Stories | None:
    """A mixture is evaluated on its first part."""
    first = config.parts[0].source if isinstance(config, Mixture) else config
    return first if isinstance(first, Stories) else None


def _training_stories(config: TextConfig) -> Iterator[Story]:
    sources = [one.source for one in config.parts] if isinstance(config, Mixture) else [config]
    for source in sources:
        if isinstance(source, Stories):
            yield from told_stories(source, "train")
