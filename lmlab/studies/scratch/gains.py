"""What each stage gained on the one before it, and choices on their controls, on the same items.

A gain is positive where the arm is better. Both were scored under one protocol, whose hash the
gain's own protocol names.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
from jaxtyping import Num

from lmlab.engine.records import Record
from lmlab.metrics.significance import difference_of_pairs, pairs
from lmlab.metrics.stats import Interval, bootstrap_ratio
from lmlab.studies.scratch.config import Config
from lmlab.studies.scratch.perplexity import Arm
from lmlab.studies.scratch.scored import Scored
from lmlab.studies.scratch.stage import DECODERS, UNTRAINED, arm_of

# What has to beat an arm that nobody trained, beside the decoders with the one before each.
CONTROLS = (
    ("dpo", "longer answer"),
    ("dpo", "shorter answer"),
    ("verifier", "random"),
    ("verifier", "majority"),
)


@dataclass(frozen=True)
class Gain:
    """By how much an arm is better than another, in `unit`, on items that both have."""

    value: float
    interval: Interval
    unit: str


def text_gains(arms: Sequence[Arm], records: Sequence[Record], config: Config) -> list[Record]:
    """Of each arm's perplexity a word, of which `records` tell: the ratio's logarithm."""
    by_name = {arm.name: arm for arm in arms}
    told = {one.arm: one for one in records if one.metric == "word_perplexity"}
    found = []
    for arm, base in comparisons(by_name):
        ours, theirs = by_name[arm].perplexity, by_name[base].perplexity
        better = theirs.nll - ours.nll
        gain = _ratio(better, ours.num_words, unit="nats per word", config=config)
        found.append(_record(gain, told[arm], told[base]))
    return found


def scored_gains(
    scored: Sequence[Scored], records: Sequence[Record], config: Config
) -> list[Record]:
    """Of every score of a task, of which `records` tell in the same order.

    Choices among samples are compared where all samples are there to choose from.
    """
    groups: dict[tuple[object, ...], dict[str, tuple[Scored, Record]]] = {}
    most = max((int(one.place.get("n", 0)) for one in scored), default=0)
    for one, record in zip(scored, records, strict=True):
        if one.place.get("n", most) != most:
            continue
        key = (one.metric, record.protocol_hash, *one.place.items())
        groups.setdefault(key, {})[one.arm] = (one, record)
    found = []
    for group in groups.values():
        for arm, base in comparisons(group):
            (ours, told), (theirs, beside) = group[arm], group[base]
            sign = 1 if ours.better == "higher" else -1
            gain = _difference(sign * ours.values, sign * theirs.values, ours.unit, config)
            found.append(_record(gain, told, beside))
    return found


def comparisons(arms: Collection[str]) -> Iterator[tuple[str, str]]:
    """Each decoder with the one before it, then arms with their controls: those that there are."""
    chain = [one for one in (UNTRAINED, *map(arm_of, DECODERS)) if one in arms]
    yield from ((arm, base) for base, arm in pairwise(chain))
    yield from ((arm, base) for arm, base in CONTROLS if arm in arms and base in arms)


def _difference(
    ours: Num[np.ndarray, "items"], theirs: Num[np.ndarray, "items"], unit: str, config: Config
) -> Gain:
    """Of right and wrong answers by the paired score test, else by drawing items again."""
    if np.isin([ours, theirs], (0, 1)).all():
        found = pairs(ours, theirs)
        return Gain(found.difference, difference_of_pairs(found), unit)
    return _ratio(ours - theirs, np.ones(ours.size), unit=unit, config=config)


def _ratio(
    better: Num[np.ndarray, "items"],
    weights: Num[np.ndarray, "items"],
    *,
    unit: str,
    config: Config,
) -> Gain:
    interval = bootstrap_ratio(
        better.astype(np.float64),
        weights,
        draws=config.evaluate.bootstrap_draws,
        generator=np.random.default_rng(config.seed),
    )
    return Gain(float(better.sum() / weights.sum()), interval, unit)


def _record(gain: Gain, arm: Record, base: Record) -> Record:
    """Under the arm's own conditions, with what it is compared with among them."""
    weights = {**arm.weights, **{f"{base.arm} {name}": sha for name, sha in base.weights.items()}}
    return replace(
        arm,
        at={**arm.at, "against": base.arm},
        metric=f"{arm.metric}_gain",
        unit=gain.unit,
        better="higher",
        value=gain.value,
        interval=(gain.interval.low, gain.interval.high),
        interval_method=gain.interval.method,
        protocol={"gain_in": arm.metric, "scored_under": arm.protocol_hash},
        weights=weights,
        weightless=not weights,
    )
