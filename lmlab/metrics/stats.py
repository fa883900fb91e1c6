"""Intervals for rates, for scores over items, documents and seeds, and for differences; no torch.

A score is a ratio: the sum of its items' values over the sum of their weights (1 an answer, the
words of a document). Where items share a cluster, whole clusters are drawn; where there are seeds,
seeds are drawn as well.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from jaxtyping import Float64, Num, Shaped
from scipy import stats as scipy_stats
from scipy.stats import norm

# Documents drawn at a time: bounds the memory, whatever the number of draws.
CHUNK = 1 << 22
# Below it a rate's interval is the exact one: Wilson's covers too little there.
EXACT_BELOW = 40
# Item draws shared by all seeds; the standard error of 500 is known to 3 %.
ENTRIES = 500

Items = tuple[Num[np.ndarray, "items"], Num[np.ndarray, "items"], Shaped[np.ndarray, "items"]]
Transform = Callable[[Float64[np.ndarray, "draws"]], Float64[np.ndarray, "draws"]]


@dataclass(frozen=True)
class Interval:
    """A two-sided interval and the method that gave it."""

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Bootstrap:
    """A score with the scores of its draws, and how many independent units were drawn from."""

    estimate: float
    interval: Interval
    draws: Float64[np.ndarray, "draws"]
    units: int

    @property
    def error(self) -> float:
        """The standard error, unbiased in the number of units."""
        return float(self.draws.std())


def clustered_bootstrap(
    values: Num[np.ndarray, "items"],
    weights: Num[np.ndarray, "items"],
    clusters: Shaped[np.ndarray, "items"],
    *,
    draws: int,
    generator: np.random.Generator,
    level: float = 0.95,
) -> Bootstrap:
    """Sum of values over sum of weights, whole clusters drawn again.

    Of K clusters K - 1 are drawn, which makes the variance unbiased for few (Rao and Wu 1988); the
    interval is Student's with K - 1 degrees of freedom, so that six are not taken for many.
    """
    codes, names = pd.factorize(clusters)
    count = _at_least_two(len(names))
    check_finite(values, weights)
    sums, weight = (np.bincount(codes, one, count) for one in (values, weights))
    found, size = np.empty(draws), max(1, CHUNK // count)
    for at in range(0, draws, size):
        chosen = generator.integers(0, count, (min(size, draws - at), count - 1))
        found[at : at + size] = _ratio(sums[chosen].sum(1), weight[chosen].sum(1))
    estimate = float(_ratio(sums.sum(keepdims=True), weight.sum(keepdims=True))[0])
    return _student(estimate, found, units=count, level=level, what="clusters")


def seeds_by_items_bootstrap(
    per_seed: Sequence[Items], *, draws: int, generator: np.random.Generator, level: float = 0.95
) -> Bootstrap:
    """Mean over seeds of each seed's score (values, weights, clusters); seeds drawn, then items."""
    universe = pd.unique(np.concatenate([clusters for _, _, clusters in per_seed]))
    bank = SeedBank(universe, entries=ENTRIES, generator=generator)
    for values, weights, clusters in per_seed:
        bank.add(values, weights, clusters)
    return bank.bootstrap(draws=draws, generator=generator, level=level)


class SeedBank:
    """The bootstrap over seeds and items, fed seed by seed: of each only its drawn scores are kept.

    An entry draws the same clusters for every seed: an item that is hard for one is hard for all,
    and drawing it apart for each would let that difficulty average out over seeds, which it cannot.
    """

    def __init__(
        self,
        clusters: Shaped[np.ndarray, "clusters"],
        *,
        entries: int,
        generator: np.random.Generator,
    ):
        self._clusters = pd.Index(clusters)
        count = _at_least_two(len(clusters))
        drawn = generator.integers(0, count, (entries, count - 1))
        drawn += np.arange(0, entries * count, count)[:, None]
        counts = np.bincount(drawn.ravel(), minlength=entries * count)
        self._counts = counts.reshape(entries, count).astype(float)
        self._scores: list[float] = []
        self._drawn: list[np.ndarray] = []

    def add(
        self,
        values: Num[np.ndarray, "items"],
        weights: Num[np.ndarray, "items"],
        clusters: Shaped[np.ndarray, "items"],
    ) -> None:
        """One more seed; its clusters are among those that the bank was made for."""
        check_finite(values, weights)
        codes = self._clusters.get_indexer(clusters)
        if (codes < 0).any():
            stranger = clusters[codes < 0][0]
            raise ValueError(f"seed {len(self._scores)} has items of {stranger}, others have none")
        size = len(self._clusters)
        sums = np.stack([np.bincount(codes, one, size) for one in (values, weights)], axis=1)
        drawn = self._counts @ sums
        self._scores.append(float(_ratio(*sums.sum(0, keepdims=True).T)[0]))
        self._drawn.append(_ratio(drawn[:, 0], drawn[:, 1]))

    def bootstrap(
        self, *, draws: int, generator: np.random.Generator, level: float = 0.95
    ) -> Bootstrap:
        """Seeds - 1 of the seeds are drawn, and one entry for all of them; Student's interval."""
        num_seeds = len(self._scores)
        if num_seeds < 2:
            raise ValueError("one seed says nothing about seeds: use clustered_bootstrap")
        bank, found = np.stack(self._drawn), np.empty(draws)
        entries, size = bank.shape[1], max(1, CHUNK // num_seeds)
        for at in range(0, draws, size):
            rows = min(size, draws - at)
            seeds = generator.integers(0, num_seeds, (rows, num_seeds - 1))
            found[at : at + rows] = bank[seeds, generator.integers(0, entries, (rows, 1))].mean(1)
        estimate = float(np.mean(self._scores))
        return _student(estimate, found, units=num_seeds, level=level, what="seeds x items")


def mean_over_seeds(
    values: Num[np.ndarray, "seeds"], *, level: float = 0.95
) -> tuple[float, Interval]:
    """The mean and Student's interval, seeds taken as the sample."""
    if values.size < 2:
        raise ValueError("one seed has no spread: at least 2 are needed")
    check_finite(values)
    mean, error = float(values.mean()), float(values.std(ddof=1)) / values.size**0.5
    return mean, _around(mean, error, units=values.size, level=level, what="over seeds")


def check_finite(*samples: Num[np.ndarray, "..."]) -> None:
    """Raises ValueError for an empty sample, NaN or infinity: comparisons with them say nothing."""
    for values in samples:
        if values.size == 0 or not np.isfinite(values).all():
            raise ValueError(f"{values.size} values, of which some are no numbers, prove nothing")


def _at_least_two(clusters: int) -> int:
    if clusters < 2:
        raise ValueError("one cluster has no spread: at least 2 are needed")
    return clusters


def _ratio(above: Num[np.ndarray, "*draws"], below: Num[np.ndarray, "*draws"]) -> np.ndarray:
    if not np.all(below):
        raise ValueError(
            "too few items have a weight: a score, or a draw of it, came out with none"
        )
    return above / below


def _student(
    estimate: float, draws: Float64[np.ndarray, "draws"], *, units: int, level: float, what: str
) -> Bootstrap:
    said = f"bootstrap over {what}, {draws.size} draws"
    around = _around(estimate, float(draws.std()), units=units, level=level, what=said)
    return Bootstrap(estimate, around, draws, units)


def _around(mean: float, error: float, *, units: int, level: float, what: str) -> Interval:
    half = float(scipy_stats.t.ppf((1 + level) / 2, units - 1)) * error
    return Interval(mean - half, mean + half, f"Student, {units - 1} df, {what}, {level:g}")


def bootstrap_ratio(
    numerators: Float64[np.ndarray, "documents"],
    denominators: Num[np.ndarray, "documents"],
    *,
    draws: int,
    generator: np.random.Generator,
    level: float = 0.95,
    transform: Transform | None = None,
) -> Interval:
    """Percentile interval of transform(sum of numerators / sum of denominators).

    Whole documents are drawn again, since the tokens of one document are not independent
    (`transform=np.exp` with NLL over tokens: a perplexity).
    """
    if draws < 1 or not (denominators >= 0).all() or not denominators.any():
        raise ValueError(f"{draws} draws of ratios need denominators that are not all zero")
    ratios, size = np.empty(draws), max(1, CHUNK // numerators.size)
    for at in range(0, draws, size):
        shape = (min(size, draws - at), numerators.size)
        chosen = generator.integers(0, numerators.size, shape)
        below = denominators[chosen].sum(1)
        if not below.all():
            raise ValueError("too few documents have a denominator: a draw came out with none")
        ratios[at : at + size] = numerators[chosen].sum(1) / below
    values = ratios if transform is None else transform(ratios)
    low, high = np.quantile(values, [(1 - level) / 2, (1 + level) / 2])
    return Interval(float(low), float(high), f"bootstrap over documents, {draws} draws, {level:g}")


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Score interval of a rate (Wilson 1927), which stays inside 0..1 and moves at 0 and n."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n} trials are no rate")
    z = float(norm.ppf((1 + level) / 2))
    rate, shrink = successes / n, 1 + z**2 / n
    centre = (rate + z**2 / (2 * n)) / shrink
    half = z / shrink * (rate * (1 - rate) / n + z**2 / (4 * n**2)) ** 0.5
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0), f"Wilson, {level:g}")


def clopper_pearson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Exact interval of a rate (Clopper and Pearson 1934): never covers less than its level."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n} trials are no rate")
    test = scipy_stats.binomtest(successes, n)
    found = test.proportion_ci(confidence_level=level, method="exact")
    return Interval(float(found.low), float(found.high), f"Clopper-Pearson, {level:g}")


def rate_interval(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Clopper-Pearson below 40 trials, Wilson from there on."""
    return (clopper_pearson if n < EXACT_BELOW else wilson)(successes, n, level=level)
