"""Intervals for rates, for ratios of sums over documents, and for paired differences; no torch."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float64, Num
from scipy.stats import norm

# Documents drawn at a time: bounds the memory, whatever the number of draws.
CHUNK = 1 << 22


Transform = Callable[[Float64[np.ndarray, "draws"]], Float64[np.ndarray, "draws"]]


@dataclass(frozen=True)
class Interval:
    """A two-sided interval and the method that gave it."""

    low: float
    high: float
    method: str


@dataclass(frozen=True)
class Difference:
    """A minus B per unit: negative where A is the better of two log-perplexities."""

    value: float
    interval: Interval


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


def paired_bootstrap(
    nll_a: Float64[np.ndarray, "documents"],
    nll_b: Float64[np.ndarray, "documents"],
    *,
    counts: Num[np.ndarray, "documents"],
    draws: int,
    generator: np.random.Generator,
    level: float = 0.95,
) -> Difference:
    """Log-perplexity of A minus that of B, both over the same counts of the same documents.

    A document is drawn for both arms at once, so what makes it hard for both cancels.
    """
    gap = nll_a - nll_b
    interval = bootstrap_ratio(gap, counts, draws=draws, generator=generator, level=level)
    paired = Interval(interval.low, interval.high, f"paired {interval.method}")
    return Difference(float(gap.sum() / counts.sum()), paired)


def wilson(successes: int, n: int, *, level: float = 0.95) -> Interval:
    """Score interval of a rate (Wilson 1927), which stays inside 0..1 and moves at 0 and n."""
    if not 0 <= successes <= n or n == 0:
        raise ValueError(f"{successes} successes of {n} trials are no rate")
    z = float(norm.ppf((1 + level) / 2))
    rate, shrink = successes / n, 1 + z**2 / n
    centre = (rate + z**2 / (2 * n)) / shrink
    half = z / shrink * (rate * (1 - rate) / n + z**2 / (4 * n**2)) ** 0.5
    return Interval(max(centre - half, 0.0), min(centre + half, 1.0), f"Wilson, {level:g}")
