"""How much of what is scored the run was trained on: what stands beside every number.

Real text is compared by its words. The built-in stories repeat phrases by design: of them the named
facts of their worlds are compared, by which their splits differ. Records of tasks are compared by
their words with all that any stage was trained on; generated ones share phrases, too.
"""

import logging
import shlex
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from typing import Any, Literal

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
from lmlab.data.tasks.records import TaskSplit
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
class ScoredRecords:
    """The records that a task is scored on, and the part whose stage is judged by them."""

    name: str
    part: str
    data: TaskSplit[Any]


@dataclass(frozen=True)
class Contamination:
    """Of a text or a task's records: their pieces in training, and which are there as a whole."""

    part: str
    dataset: str
    data_kind: Literal["real", "generated"]
    at: Mapping[str, str | int | float]
    item_ids: Sequence[str]
    against: Sequence[str]
    pieces: Compared
    documents: np.ndarray


def measure_contamination(
    config: TextConfig, split: Split, text: TextSplit, training: TextSplit
) -> Contamination:
    """By world facts where the text is of the built-in stories, else by 13-grams."""
    generated = _evaluated_stories(config)
    pieces = _ngrams(text, training) if generated is None else _facts(config, generated, split)
    return _told(
        Contamination(
            part="pretrain",
            dataset=text.name,
            data_kind=text.data_kind,
            at={"split": text.split},
            item_ids=[str(index) for index in range(len(text.documents))],
            against=["pretrain"],
            pieces=pieces,
            documents=document_overlap(text.documents, training.documents),
        )
    )


def measure_task_contamination(
    tasks: Sequence[ScoredRecords], training: Mapping[str, Sequence[str]]
) -> list[Contamination]:
    """Of every task by 13-grams, against what each stage was trained on; training is read once."""
    if not tasks:
        return []
    documents = [text for one in tasks for text in one.data.documents]
    overlap = ngram_overlap(documents, chain.from_iterable(training.values()))
    whole = document_overlap(documents, chain.from_iterable(training.values()))
    ends = np.cumsum([len(one.data.records) for one in tasks])[:-1]
    split = zip(
        np.split(overlap.shared, ends), np.split(overlap.pieces, ends), np.split(whole, ends),
        strict=True,
    )  # fmt: skip
    return [
        _told(
            Contamination(
                part=task.part,
                dataset=task.data.name,
                data_kind=task.data.data_kind,
                at={"task": task.name, "split": task.data.split},
                item_ids=[one.id for one in task.data.records],
                against=list(training),
                pieces=_of_words(Overlap(shared, pieces)),
                documents=documents,
            )
        )
        for task, (shared, pieces, documents) in zip(tasks, split, strict=True)
    ]


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
            part=found.part,
            step="evaluate",
            training_step=None,
            arm=ARM,
            at=found.at,
            metric=compared.metric,
            unit="share",
            better="lower",
            value=share,
            n=whole.size,
            n_error=0,
            interval=(interval.low, interval.high),
            interval_method=interval.method,
            protocol={"dataset": found.dataset, "against": found.against, **compared.protocol},
            data=data,
            data_kind=found.data_kind,
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
            part=found.part,
            arm=ARM,
            at=found.at,
            metric=found.pieces.metric,
            item_id=item_id,
            cluster_id=item_id,
            seed=seed,
            value=float(shared),
            weight=float(pieces),
        )
        for item_id, shared, pieces in zip(
            found.item_ids, overlap.shared, overlap.pieces, strict=True
        )
    ]


def _told(found: Contamination) -> Contamination:
    log.info(
        "%s %s: %s %.4f, %d of %d are in training as a whole",
        found.dataset, dict(found.at), found.pieces.metric, found.pieces.overlap.share,
        found.documents.sum(), found.documents.size,
    )  # fmt: skip
    return found


def _ngrams(text: TextSplit, training: TextSplit) -> Compared:
    return _of_words(ngram_overlap(text.documents, training.documents))


def _of_words(overlap: Overlap) -> Compared:
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
