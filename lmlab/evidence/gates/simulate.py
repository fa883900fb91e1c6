"""The best and the worst arm there can be, against a test: what they reach, how often they pass."""

from dataclasses import dataclass
from math import inf

import numpy as np
from scipy.stats import binom

from lmlab.evidence.gates.grammar import (
    Bounded,
    Equivalent,
    Exists,
    Flat,
    NonInferior,
    NoOscillation,
    Ranking,
    Superior,
    Test,
    Threshold,
    Trend,
)

# A bound such as 1 - 0.7 is not 0.3 to the last bit.
SLACK = 1e-9


@dataclass(frozen=True)
class Region:
    """Which true values of the judged quantity pass; `closed`: the ends pass too."""

    low: float = -inf
    high: float = inf
    closed: bool = False

    def all_pass(self, lowest: float, highest: float) -> bool:
        """Whether everything in lowest..highest passes."""
        slack = SLACK if self.closed else -SLACK
        return lowest > self.low - slack and highest < self.high + slack

    def none_passes(self, lowest: float, highest: float) -> bool:
        """Whether nothing in lowest..highest passes."""
        slack = SLACK if self.closed else -SLACK
        return not (highest > self.low - slack and lowest < self.high + slack)


@dataclass(frozen=True)
class Bounds:
    """Between what the metric itself lies, such as 0 and 1 of a share; which way is better."""

    low: float
    high: float
    higher_is_better: bool

    def oriented(self, arm: float, baseline: float) -> float:
        """arm - baseline, better as positive."""
        return arm - baseline if self.higher_is_better else baseline - arm

    @property
    def best(self) -> float:
        """The value of the best arm there can be."""
        return self.high if self.higher_is_better else self.low

    @property
    def worst(self) -> float:
        """The value of the worst arm there can be."""
        return self.low if self.higher_is_better else self.high


def passing(test: Test) -> Region:
    """What the judged quantity must be: oriented arm - baseline of a paired test, else the value.

    The quantity of `trend` is the correlation in the stated direction, of `flat` the slope, of
    `no_oscillation` the size of the largest peak, of `ranking` the smallest gap in it.
    """
    match test:
        case Superior(margin=margin):
            return Region(low=margin, closed=margin > 0)
        case NonInferior(margin=margin):
            return Region(low=-margin)
        case Equivalent(margin=margin):
            return Region(-margin, margin)
        case Threshold(at_least=least, at_most=most):
            return Region(
                -inf if least is None else least, inf if most is None else most, closed=True
            )
        case Bounded(tolerance=tolerance):
            return Region(high=tolerance, closed=True)
        case Flat(tolerance=tolerance):
            return Region(-tolerance, tolerance)
        case NoOscillation(planted=planted):
            return Region(high=planted)
        case Trend() | Ranking():
            return Region(low=0.0)
        case Exists():
            return Region()


def paired_extremes(bounds: Bounds, baseline: float) -> tuple[float, float]:
    """What the worst and the best arm there can be gain over the baseline."""
    return bounds.oriented(bounds.worst, baseline), bounds.oriented(bounds.best, baseline)


@dataclass(frozen=True)
class Trial:
    """What is simulated: n paired items against a baseline of this value."""

    bounds: Bounds
    baseline: float
    n: int
    alpha: float


def chance_of_passing(
    test: Superior | NonInferior | Equivalent,
    arm: float,
    trial: Trial,
    *,
    generator: np.random.Generator,
    draws: int = 2000,
) -> float:
    """Share of simulated runs in which an arm of constant value `arm` passes.

    The baseline's items lie at the metric's two bounds (right and wrong, for a share), so that a
    paired bootstrap's bound is a quantile of the binomial distribution: no inner draws are needed.
    """
    bounds, n = trial.bounds, trial.n
    share = (trial.baseline - bounds.low) / (bounds.high - bounds.low)
    high_share = generator.binomial(n, share, draws) / n
    at_low, at_high = bounds.oriented(arm, bounds.low), bounds.oriented(arm, bounds.high)
    ends = [
        at_low + (at_high - at_low) * binom.ppf(level, n, high_share) / n
        for level in (trial.alpha, 1 - trial.alpha)
    ]
    low, high = np.minimum(*ends), np.maximum(*ends)
    region = passing(test)
    passed = [region.all_pass(*each) for each in zip(low.tolist(), high.tolist(), strict=True)]
    return sum(passed) / draws
