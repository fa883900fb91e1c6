"""What was read and written becomes records, items and the file that the founding diary promises.

An arm has a record for each seed; where there are several seeds, also one over seeds and texts.
"""

import json
import shlex
from collections.abc import Iterable, Iterator, Sequence
from typing import Any

import numpy as np

from lmlab.engine.provenance import code_state, command_line
from lmlab.engine.records import Item, Record
from lmlab.engine.run import Run
from lmlab.metrics.repetition import WINDOW_WORDS
from lmlab.metrics.stats import Interval, bootstrap_ratio, rate_interval, seeds_by_items_bootstrap
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.sinks_arms import STEP, longest
from lmlab.studies.scratch.sinks_reading import PROMPT_TOKENS, TEMPERATURE, TOP_K, LongTexts
from lmlab.studies.scratch.sinks_scores import (
    NLL,
    REPETITION,
    Reading,
    Score,
    new_tokens,
    real_texts,
    repeated_share,
    text_curves,
    text_scores,
)

UNITS = {NLL: "nats", REPETITION: "share"}

# The diary's two models, each continued by its most recent tokens.
WITH_SINKS, WITHOUT_SINKS = "register+window", "window"
TOO_SHORT = f"fewer than {WINDOW_WORDS} words"


def sink_records(
    readings: Sequence[Reading], texts: LongTexts, config: Config, run: Run
) -> list[Record]:
    """Within the context and beyond it, and half a context at a time."""
    scores = list(text_scores([*readings, real_texts(texts, config)], texts, config))
    over_seeds = [group for group in _by_seed(scores) if len(group) > 1]
    groups = [
        *([one] for one in scores),
        *over_seeds,
        *_by_seed(text_curves(readings, texts, config)),
    ]
    return [_record(group, texts, config, run) for group in groups]


def sink_items(readings: Sequence[Reading], texts: LongTexts, config: Config) -> list[Item]:
    """Each text's own sums: what a paired test needs."""
    return [
        Item(
            part=one.reading.part,
            arm=one.reading.arm,
            at=one.at,
            metric=one.metric,
            item_id=str(index),
            cluster_id=str(index),
            seed=one.reading.seed,
            value=float(value) if count else None,
            weight=float(count),
            error=None if count else TOO_SHORT,
        )
        for one in text_scores([*readings, real_texts(texts, config)], texts, config)
        for index, (value, count) in enumerate(zip(one.values, one.counts, strict=True))
    ]


def export(readings: Sequence[Reading], texts: LongTexts, config: Config) -> str:
    """`attention_sinks_results.json`; NLL is the mean over texts at each position from 1 on."""
    found = {(one.arm, one.seed): one for one in readings}
    prompts = [texts.tokenizer.decode(one) for one in texts.prompts]
    counts = texts.scored[:, 1:].sum(0)
    curves: dict[str, dict[str, list[float | None]]] = {}
    for one in readings:
        assert one.nll is not None
        means = zip(one.nll[:, 1:].sum(0), counts, strict=True)
        row = [round(float(total / count), 5) if count else None for total, count in means]
        curves.setdefault(one.arm, {})[str(one.seed)] = row
    seeds = sorted({one.seed for one in readings})
    content = {
        "train_context": config.model.context_tokens,
        "gen_tokens": new_tokens(config),
        "with_sinks_arm": WITH_SINKS,
        "without_sinks_arm": WITHOUT_SINKS,
        "seeds": seeds,
        "arms": {arm: {str(seed): found[arm, seed].weights for seed in seeds} for arm in curves},
        "comparisons": [
            row
            for seed in seeds
            for row in _compared(prompts, found[WITH_SINKS, seed], found[WITHOUT_SINKS, seed])
        ],
        "nll_by_position": curves,
    }
    return json.dumps(content, indent=1, ensure_ascii=False) + "\n"


def _compared(prompts: Sequence[str], sinks: Reading, plain: Reading) -> Iterator[dict[str, Any]]:
    assert sinks.written is not None
    assert plain.written is not None
    for prompt, one, other in zip(prompts, sinks.written, plain.written, strict=True):
        yield {
            "prompt": prompt,
            "with_sinks_text": one,
            "without_sinks_text": other,
            "with_sinks_repetition": repeated_share(one),
            "without_sinks_repetition": repeated_share(other),
            "seed": sinks.seed,
        }


def _by_seed(scores: Iterable[Score]) -> list[list[Score]]:
    """What differs in its seed alone, together."""
    groups: dict[tuple[str, ...], list[Score]] = {}
    for one in scores:
        key = (one.reading.arm, one.metric, json.dumps(dict(one.at)))
        groups.setdefault(key, []).append(one)
    return list(groups.values())


def _record(scores: Sequence[Score], texts: LongTexts, config: Config, run: Run) -> Record:
    """Of one seed, or the mean over several."""
    first, reading, source = scores[0], scores[0].reading, texts.source
    alone = len(scores) == 1
    value = float(np.mean([one.values.sum() / one.counts.sum() for one in scores]))
    interval = _interval(scores, config)
    weights = {f"seed_{one.reading.seed}": str(one.reading.weights) for one in scores}
    if alone:
        weights = {} if reading.weights is None else {"decoder": reading.weights}
    return Record(
        study=config.study,
        run=run.reference,
        part=reading.part if alone else STEP,
        step=STEP,
        training_step=reading.step,
        arm=reading.arm,
        at=first.at,
        metric=first.metric if alone else f"{first.metric}_over_seeds",
        unit=UNITS[first.metric],
        better="lower",
        value=value,
        n=int((first.counts > 0).sum()),
        n_error=int((first.counts == 0).sum()),
        interval=(interval.low, interval.high),
        interval_method=interval.method,
        protocol=_protocol(first.metric, texts, config),
        data={source.split: source.sha256},
        data_kind=source.data_kind,
        weights=weights,
        weightless=not weights,
        seed=reading.seed if alone else config.seed,
        dev=config.dev,
        command=shlex.join(command_line()),
        commit=code_state()["commit"],
    )


def _interval(scores: Sequence[Score], config: Config) -> Interval:
    draws, generator = config.evaluate.bootstrap_draws, np.random.default_rng(config.seed)
    values, counts = scores[0].values.astype(np.float64), scores[0].counts
    if len(scores) > 1:
        clusters = np.arange(len(values))
        per_seed = [(one.values, one.counts, clusters) for one in scores]
        return seeds_by_items_bootstrap(per_seed, draws=draws, generator=generator).interval
    if not values.any():
        # Drawn again, nothing stays nothing; of texts that repeat something the rate is bounded.
        return rate_interval(0, len(values))
    return bootstrap_ratio(values, counts, draws=draws, generator=generator)


def _protocol(metric: str, texts: LongTexts, config: Config) -> dict[str, Any]:
    """What arms, seeds and runs must share to be compared."""
    assert config.sinks is not None
    written = {
        "window_words": WINDOW_WORDS,
        "prompt_tokens": PROMPT_TOKENS,
        "new_tokens": new_tokens(config),
        "temperature": TEMPERATURE,
        "top_k": TOP_K,
        "end": "never chosen",
    }
    scored = {"text_tokens": longest(config), "not_scored": "BOS"}
    return {
        "dataset": texts.source.name,
        "split": texts.source.split,
        "texts": "documents joined as in training: BOS, document, EOS",
        "num_texts": len(texts.tokens),
        "tokenizer": texts.tokenizer.sha256,
        "train_context": config.model.context_tokens,
        "num_first": config.sinks.num_first,
        "num_registers": config.sinks.num_registers,
        **(scored if metric == NLL else written),
    }
