"""Two arms on the same items: the effect, its interval, and p corrected over all comparisons.

Arms are compared only where protocol and data are the same; else the reason is said. Items are
paired by their id.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np
from jaxtyping import Float64, Num

from lmlab.engine.presets import nearest
from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.evidence.comparison.arms import Arm, Items, group_by_seed, pair, read_arms
from lmlab.evidence.comparison.effect import Method, paired_test, two_samples
from lmlab.evidence.gates.selection import at_key
from lmlab.metrics.significance import Test, benjamini_hochberg, holm
from lmlab.metrics.stats import Interval, mean_over_seeds

Correction = Literal["holm", "benjamini_hochberg"]


@dataclass(frozen=True)
class Comparison:
    """An arm against a baseline, under one condition. `n` items are in both, with a score."""

    arm: str
    baseline: str
    metric: str
    at: Mapping[str, Any]
    better: str
    effect: float
    interval: Interval
    test: str
    p: float
    p_corrected: float
    n: int
    seeds: int
    unmatched: tuple[int, int]
    paired: bool = True


@dataclass(frozen=True)
class SeedMean:
    """A score over runs that differ in seed alone."""

    runs: tuple[str, ...]
    arm: str
    metric: str
    at: Mapping[str, Any]
    mean: float
    interval: Interval
    seeds: tuple[int, ...]


@dataclass(frozen=True)
class Compared:
    """Everything that was asked for, and why the rest could not be compared."""

    asked: "Asked"
    comparisons: tuple[Comparison, ...]
    refused: tuple[str, ...]
    means: tuple[SeedMean, ...]


@dataclass(frozen=True)
class Asked:
    """`baseline` is a run or an arm; without it the first run is. `unpaired`: as two samples."""

    metric: str | None = None
    arm: str | None = None
    baseline: str | None = None
    unpaired: bool = False
    method: Method = field(default_factory=Method)
    correction: Correction = "holm"


def compare_runs(runs: Sequence[Run], asked: Asked) -> Compared:
    """Every arm against its baseline. Raises ValueError where nothing at all can be compared."""
    if asked.unpaired and asked.method.test == "permutation":
        raise ValueError("a permutation flips the signs of pairs: leave out --unpaired")
    variants = [read_arms(group, metric=asked.metric) for group in group_by_seed(runs)]
    means = tuple(_seed_means(group_by_seed(runs), level=asked.method.confidence))
    found, refused = [], []
    for arm, baseline in _pairs(variants, asked, single=bool(means)):
        try:
            found.append(compare_arms(arm, baseline, asked.method, unpaired=asked.unpaired))
        except ValueError as why:
            # Incomparable, or too little: the statistics name what they lack.
            refused.append(f"{arm.label} against {baseline.label} ({said(arm)}): {why}")
    if not found and not means:
        why = "; ".join(refused) or "no two arms share a metric under the same conditions"
        raise ValueError(f"nothing to compare: {why}")
    return Compared(asked, tuple(correct(found, asked.correction)), tuple(refused), means)


def correct(found: Sequence[Comparison], correction: Correction) -> list[Comparison]:
    """Each with its p corrected: all of them are one family."""
    p = np.array([one.p for one in found], np.float64)
    return [
        replace(one, p_corrected=float(value))
        for one, value in zip(found, _corrected(p, correction), strict=True)
    ]


def compare_arms(arm: Arm, baseline: Arm, method: Method, *, unpaired: bool = False) -> Comparison:
    """The effect of an arm over its baseline. Raises ValueError with every reason against it."""
    reasons = _differences(arm.records, baseline.records, data=not unpaired)
    if reasons:
        raise ValueError("; ".join(reasons))
    ours, theirs = arm.items.scored, baseline.items.scored
    if unpaired:
        return _told(arm, baseline, two_samples(ours, theirs, method))
    both, where = pair(ours, theirs)
    matched, partner = ours.take(both), theirs.take(where)
    if not len(matched):
        raise ValueError(
            "no item has a score in both; --unpaired compares them as two separate samples"
        )
    if not np.allclose(matched.weights, partner.weights):
        raise ValueError("the same items have other weights, so they are not the same items")
    return _told(arm, baseline, paired_test(matched, partner.values, method), matched=matched)


def said(arm: Arm) -> str:
    """Metric and conditions, in words."""
    return f"{arm.metric} under {at_key(arm.at)}" if arm.at else arm.metric


def _corrected(p: Num[np.ndarray, "tests"], correction: Correction) -> Float64[np.ndarray, "tests"]:
    match correction:
        case "holm":
            return holm(p)
        case "benjamini_hochberg":
            return benjamini_hochberg(p)


def _told(arm: Arm, baseline: Arm, test: Test, *, matched: Items | None = None) -> Comparison:
    assert test.interval is not None
    n = 0 if matched is None else len(matched)
    return Comparison(
        arm=arm.label,
        baseline=baseline.label,
        metric=arm.metric,
        at=dict(arm.at),
        better=arm.records[0].better,
        effect=test.estimate,
        interval=test.interval,
        test=test.name,
        p=test.p,
        p_corrected=test.p,
        n=n,
        seeds=len(set((matched or arm.items).seeds)),
        unmatched=(len(arm.items) - n, len(baseline.items) - n),
        paired=matched is not None,
    )


def _pairs(variants: Sequence[list[Arm]], asked: Asked, *, single: bool) -> list[tuple[Arm, Arm]]:
    """Which arm is held against which. `single`: runs of one variant are no error."""
    named = {run: arms for arms in variants for run in arms[0].runs if arms}
    every = [one for arms in variants for one in arms]
    chosen = [one for one in every if asked.arm in (None, one.name)]
    if not chosen:
        names = sorted({one.name for one in every})
        raise ValueError(f"no arm {asked.arm!r}{nearest(str(asked.arm), names)}")
    if asked.baseline is not None and asked.baseline not in named:
        return _against_arm(every, chosen, asked.baseline)
    base = named[asked.baseline] if asked.baseline is not None else variants[0]
    if len(variants) < 2 and not single:
        names = ", ".join(sorted({one.name for one in every}))
        raise ValueError(f"one run alone: say --baseline with one of its arms ({names})")
    found = []
    for arms in variants:
        if arms is not base:
            found += _against_run([one for one in arms if one in chosen], base)
    return found


def _against_arm(
    every: Sequence[Arm], chosen: Sequence[Arm], baseline: str
) -> list[tuple[Arm, Arm]]:
    """Every other arm against the arm of that name: its own run's, else the only one there is."""
    bases = [one for one in every if one.name == baseline]
    if not bases:
        names = sorted({one.name for one in every} | {run for one in every for run in one.runs})
        raise ValueError(f"no run and no arm {baseline!r}{nearest(baseline, names)}")
    found = []
    for arm in chosen:
        like = [one for one in bases if one.place == arm.place]
        own = [one for one in like if one.runs == arm.runs] or like
        if arm.name != baseline and own:
            if len(own) > 1:
                runs = ", ".join(one.runs[0] for one in own)
                raise ValueError(f"{baseline} is in several runs ({runs}); say --baseline RUN")
            found.append((arm, own[0]))
    return found


def _against_run(arms: Sequence[Arm], base: Sequence[Arm]) -> list[tuple[Arm, Arm]]:
    """Arms of one name; where no name is shared, the only arm of each."""
    shared = [(a, b) for a in arms for b in base if (a.name, a.place) == (b.name, b.place)]
    if shared:
        return shared
    names = [sorted({one.name for one in side}) for side in (arms, base)]
    if [len(one) for one in names] == [1, 1]:
        found = [(a, b) for a in arms for b in base if a.place == b.place]
        if found:
            return found
        raise ValueError(
            f"{arms[0].runs[0]} and {base[0].runs[0]} share no metric under the same conditions"
        )
    raise ValueError(
        f"{base[0].runs[0]} has the arms {', '.join(names[1])} and the other run "
        f"{', '.join(names[0]) or 'none of that name'}; say --baseline with one of the arms"
    )


def _differences(ours: Sequence[Record], theirs: Sequence[Record], *, data: bool) -> list[str]:
    """The fields in which protocol or data differ, with both values."""
    metrics = {one.metric for one in ours} & {one.metric for one in theirs}
    if not metrics:
        return ["no metric was recorded for both, so nothing says that they share a protocol"]
    found: dict[str, None] = {}
    for a in ours:
        for b in (one for one in theirs if one.metric == a.metric):
            found |= dict.fromkeys(_fields("protocol", a.protocol, b.protocol))
            if data:
                found |= dict.fromkeys(_fields("data", _scored_on(a), _scored_on(b)))
    return list(found)


def _fields(what: str, a: Mapping[str, Any], b: Mapping[str, Any]) -> list[str]:
    names = [name for name in dict.fromkeys([*a, *b]) if a.get(name) != b.get(name)]
    return [f"{what} {name}: {_short(a.get(name))} against {_short(b.get(name))}" for name in names]


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 60 else f"{text[:28]}...{text[-28:]}"


def _scored_on(record: Record) -> dict[str, str]:
    """The data of the split that was scored; all data where no split is named."""
    split = str(record.at.get("split"))
    return {split: record.data[split]} if split in record.data else dict(record.data)


def _seed_means(groups: Sequence[tuple[Run, ...]], *, level: float) -> list[SeedMean]:
    """Of each number that a run, or runs that differ in seed alone, have for several seeds."""
    found = []
    for runs in groups:
        scores: dict[tuple[str, ...], dict[int, Record]] = {}
        for record in (record for run in runs for record in run.results().records()):
            key = (record.arm, record.metric, at_key(record.at), record.protocol_hash)
            scores.setdefault(key, {}).setdefault(record.seed, record)
        for by_seed in scores.values():
            if len(by_seed) > 1:
                references = tuple(run.reference for run in runs)
                found.append(_seed_mean(references, by_seed, level=level))
    return found


def _seed_mean(runs: tuple[str, ...], by_seed: dict[int, Record], *, level: float) -> SeedMean:
    seeds = tuple(sorted(by_seed))
    values = np.array([by_seed[seed].value for seed in seeds])
    mean, interval = mean_over_seeds(values, level=level)
    first = by_seed[seeds[0]]
    return SeedMean(runs, first.arm, first.metric, dict(first.at), mean, interval, seeds)
