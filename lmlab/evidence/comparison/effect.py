"""How far an arm's items lie from its baseline's: the effect, its interval, and the p of a test."""

from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64

from lmlab.evidence.comparison.arms import Items
from lmlab.metrics.significance import (
    Test,
    mcnemar,
    one_sided_p,
    paired_permutation,
    paired_t,
    welch_t,
)
from lmlab.metrics.stats import (
    Bootstrap,
    Interval,
    clustered_bootstrap,
    seeds_by_items_bootstrap,
)

DRAWS = 10_000


@dataclass(frozen=True)
class Method:
    """Which test, where somebody chose one, and the level of the interval."""

    test: Literal["permutation", "t_test"] | None = None
    confidence: float = 0.95

    @property
    def alpha(self) -> float:
        """What a corrected p must not exceed."""
        return 1 - self.confidence


def paired_test(ours: Items, theirs: Float64[np.ndarray, "items"], method: Method) -> Test:
    """Of the same items. Right and wrong answers get McNemar's test, others a permutation."""
    gaps = replace(ours, values=ours.values - theirs)
    if method.test == "t_test":
        return _paired_t(gaps, method)
    answers = np.isin(ours.values, (0, 1)).all() and np.isin(theirs, (0, 1)).all()
    apart = len(set(ours.clusters)) == len(ours)
    if method.test is None and answers and apart and (ours.weights == 1).all():
        return mcnemar(ours.values, theirs, level=method.confidence)
    generator = np.random.default_rng(0)
    found = _bootstrap(gaps, method, generator)
    test = paired_permutation(
        gaps.values,
        gaps.clusters.astype(str),
        draws=DRAWS,
        generator=generator,
        weights=gaps.weights,
    )
    seeds = len(set(gaps.seeds))
    name = f"{test.name}, {seeds} seeds as they are" if seeds > 1 else test.name
    return replace(test, name=name, estimate=found.estimate, interval=found.interval)


def two_samples(ours: Items, theirs: Items, method: Method) -> Test:
    """Each by itself: what makes an item hard for both does not cancel."""
    if method.test == "t_test":
        return _welch(ours, theirs, method)
    generator = np.random.default_rng(0)
    a, b = (_bootstrap(one, method, generator) for one in (ours, theirs))
    gaps, tail = a.draws - b.draws, (1 - method.confidence) / 2
    low, high = np.quantile(gaps, [tail, 1 - tail])
    said = f"two samples, {DRAWS} draws, {method.confidence:g}"
    interval = Interval(float(low), float(high), said)
    found = Bootstrap(a.estimate - b.estimate, interval, gaps, min(a.units, b.units))
    p = 2 * min(one_sided_p(found, null=0.0, side=side) for side in ("greater", "less"))
    return Test("bootstrap of two samples", found.estimate, interval, min(p, 1.0), found.units)


def score(items: Items) -> float:
    """Sum of values over sum of weights; the mean of it over seeds."""
    return float(np.mean([one.values.sum() / one.weights.sum() for one in _by_seed(items)]))


def _bootstrap(items: Items, method: Method, generator: np.random.Generator) -> Bootstrap:
    """Seeds are drawn first where there are several, then clusters."""
    per_seed = [(one.values, one.weights, one.clusters.astype(str)) for one in _by_seed(items)]
    given = {"draws": DRAWS, "generator": generator, "level": method.confidence}
    if len(per_seed) > 1:
        return seeds_by_items_bootstrap(per_seed, **given)
    return clustered_bootstrap(*per_seed[0], **given)


def _paired_t(gaps: Items, method: Method) -> Test:
    units, what = _units(gaps)
    name = f"paired t over {units.size} {what}"
    if not gaps.values.any():
        return Test(name, 0.0, Interval(0.0, 0.0, "no item differs"), 1.0, units.size)
    return replace(paired_t(units, level=method.confidence), name=name)


def _welch(ours: Items, theirs: Items, method: Method) -> Test:
    (a, what), (b, other) = _units(ours), _units(theirs)
    if (what == "seeds") != (other == "seeds"):
        raise ValueError("one seed against several: a t-test over seeds needs some on both sides")
    name = f"Welch's t, {a.size} {what} and {b.size} {other}"
    return replace(welch_t(a, b, level=method.confidence), name=name)


def _units(items: Items) -> tuple[Float64[np.ndarray, "units"], str]:
    """What a t-test counts as independent, with the score as their mean: seeds, else clusters.

    Clusters of unequal weight are linearised around the ratio (Cochran 1977, section 6.4).
    """
    seeds = _by_seed(items)
    if len(seeds) > 1:
        return np.array([score(one) for one in seeds]), "seeds"
    names, codes = np.unique(items.clusters.astype(str), return_inverse=True)
    sums, weights = (np.bincount(codes, one) for one in (items.values, items.weights))
    whole = score(items)
    linear = whole + (sums - whole * weights) / weights.mean()
    return linear, "items" if names.size == len(items) else "clusters"


def _by_seed(items: Items) -> list[Items]:
    return [items.take(items.seeds == seed) for seed in sorted(set(items.seeds))]
