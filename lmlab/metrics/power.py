"""How many items and seeds a claim needs, before anything is run; no torch.

A margin is what the arm may lose against its baseline and still pass: the claim passes when the
lower bound of (arm - baseline) lies above -margin. A negative margin is a gain that is asked for.
The variance is that of one item's paired difference.
"""

from collections.abc import Callable
from itertools import count
from typing import Literal

from scipy.stats import norm
from statsmodels.stats.power import TTestPower

from lmlab.metrics.significance import Alternative

Sides = Literal[1, 2]
# A search beyond it has no use: nobody has so many items.
MOST = 1 << 40


def variance_of_discordance(discordant: float, gain: float) -> float:
    """Variance of right minus wrong: 1 or -1 on the discordant share of items, with mean `gain`.

    Discordant are the items on which only one of the two arms is right.
    """
    if not 0 < discordant <= 1 or abs(gain) > discordant:
        raise ValueError(
            f"a gain of {gain:g} needs arms that disagree on at least that share of the items, "
            f"and at most all: the discordance is {discordant:g}"
        )
    return discordant - gain**2


def power_of(
    n: int, *, margin: float, variance: float, effect: float = 0.0, alpha: float, sides: Sides = 1
) -> float:
    """Chance that n paired items pass when the true difference is `effect` (normal approximation).

    sides=2: the difference must also stay below +margin (equivalence by two one-sided tests).
    """
    error, z = (variance / n) ** 0.5, float(norm.isf(alpha))
    below = float(norm.cdf((margin + effect) / error - z))
    if sides == 1:
        return below
    return max(0.0, below + float(norm.cdf((margin - effect) / error - z)) - 1)


def paired_items(
    margin: float,
    *,
    variance: float,
    effect: float = 0.0,
    power: float,
    alpha: float,
    sides: Sides = 1,
) -> int:
    """The fewest paired items with that power: variance ((z_alpha + z_power) / distance)²."""
    _check(margin, effect=effect, variance=variance, sides=sides)
    return _fewest(
        lambda n: power_of(
            n, margin=margin, variance=variance, effect=effect, alpha=alpha, sides=sides
        ),
        power,
        start=1,
    )


def minimum_detectable_effect(n: int, *, variance: float, power: float, alpha: float) -> float:
    """The distance between truth and bound that n paired items find with that power, one-sided."""
    return float(norm.isf(alpha) + norm.ppf(power)) * (variance / n) ** 0.5


def seeds_needed(
    margin: float, *, deviation: float, effect: float = 0.0, power: float, alpha: float
) -> int:
    """The fewest seeds for Student's one-sided test over seeds, when they scatter by `deviation`.

    At least `fewest_seeds`.
    """
    _check(margin, effect=effect, variance=deviation**2, sides=1)
    size = (margin + effect) / deviation
    test = TTestPower()
    return _fewest(
        lambda n: float(test.power(size, n, alpha, alternative="larger")),
        power,
        start=fewest_seeds(alpha),
    )


def fewest_seeds(alpha: float) -> int:
    """With fewer, no outcome makes the exact two-sided sign-flip test over seeds significant."""
    return next(n for n in count(1) if smallest_sign_flip_p(n) <= alpha)


def smallest_sign_flip_p(num_seeds: int, *, alternative: Alternative = "two-sided") -> float:
    """What the exact sign-flip test over seeds gives when all seeds agree: it cannot go lower."""
    return min(1.0, (2.0 if alternative == "two-sided" else 1.0) * 0.5**num_seeds)


def _check(margin: float, *, effect: float, variance: float, sides: Sides) -> None:
    if variance <= 0:
        raise ValueError("without any variance there is nothing to plan: one item decides")
    if sides == 2 and margin <= abs(effect):
        raise ValueError(f"a true difference of {effect:g} is not within the margin {margin:g}")
    if margin + effect <= 0:
        raise ValueError(
            f"a true difference of {effect:g} never passes a bound of {0 - margin:g}, "
            "however many are measured: expect more, or ask for less"
        )


def _fewest(power_at: Callable[[int], float], power: float, *, start: int) -> int:
    """The smallest n >= start whose power, which grows with n, is reached."""
    low, high = start - 1, start
    while power_at(high) < power:
        low, high = high, 2 * high
        if high > MOST:
            raise ValueError(f"no plan: {MOST} would not be enough")
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power_at(middle) >= power else (middle, high)
    return high
