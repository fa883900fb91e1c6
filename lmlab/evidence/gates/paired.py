"""Superior, non-inferior, equivalent, a threshold, a ranking: judged over items or seeds."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np
from jaxtyping import Float64
from scipy.stats import binomtest

from lmlab.evidence.gates.grammar import Equivalent, NonInferior, Superior, Threshold
from lmlab.evidence.gates.outcome import Outcome, asked, between, falls, stands
from lmlab.evidence.gates.tally import Tally, generator_of
from lmlab.evidence.tables import number
from lmlab.metrics.power import minimum_detectable_effect
from lmlab.metrics.significance import (
    MOST_SEEDS,
    Pairs,
    difference_of_pairs,
    one_sided_p,
    paired_permutation,
    sign_flip,
)
from lmlab.metrics.stats import (
    Bootstrap,
    Interval,
    clustered_bootstrap,
    mean_over_seeds,
    rate_interval,
)

DRAWS = 10_000
# What a planned power is taken to be where the gate names none.
POWER = 0.8


@dataclass(frozen=True)
class Rate:
    """Right answers of single items."""

    successes: int
    n: int


@dataclass(frozen=True)
class Seeds:
    """One score a seed."""

    scores: Float64[np.ndarray, "seeds"]


Evidence = Bootstrap | Pairs | Rate | Seeds


def judge_pair(tally: Tally) -> Outcome:
    """One of the four tests that compare a difference, or a value, with a number."""
    gate = tally.gate
    test = gate.test
    assert isinstance(test, Superior | NonInferior | Equivalent | Threshold)
    return _judge(tally, test)


def judge_ranking(tallies: Sequence[Tally]) -> Outcome:
    """Every arm beats the next: the weakest of these decides, since all must hold."""
    found = [_judge(tally, Superior(kind="superior")) for tally in tallies]
    weakest = max(found, key=lambda one: (one.refuted, not one.holds, one.p or 0.0))
    return replace(
        weakest,
        test=f"ranking, {weakest.test}",
        holds=all(one.holds for one in found),
        refuted=any(one.refuted for one in found),
        p=max(one.p for one in found if one.p is not None),
        said=f"the weakest step is {weakest.said}",
    )


def gather(tally: Tally, *, level: float) -> Evidence:
    """What the unit of the gate makes of the sums. Raises ValueError for one cluster alone."""
    match tally.gate.unit:
        case "seed_x_item":
            assert tally.bank is not None
            return tally.bank.bootstrap(
                draws=DRAWS, generator=generator_of(tally.gate), level=level
            )
        case "seed":
            return Seeds(np.array([sums.score for _, sums in sorted(tally.cells.items())]))
        case _:
            sums = tally.cells[None, None]
    there = sums.present
    if tally.answers and there.size == tally.n:
        if tally.baseline is None:
            return Rate(int(tally.totals[0]), tally.n)
        return Pairs(tally.gains, tally.losses, tally.n)
    return clustered_bootstrap(
        sums.values[there],
        sums.weights[there],
        there,
        draws=DRAWS,
        generator=generator_of(tally.gate),
        level=level,
    )


def _judge(tally: Tally, test: Superior | NonInferior | Equivalent | Threshold) -> Outcome:
    level = 1 - 2 * _alpha(tally, test)
    found = gather(tally, level=level)
    estimate, interval = _estimate(found), _interval(found, level=level)
    bounds = (interval.low, interval.high)
    sizes = f"{tally.n:,} items"
    if len(tally.seeds) > 1:
        given = " as they are" if tally.gate.unit == "item" else ""
        sizes += f" of {len(tally.seeds)} seeds{given}"
    return Outcome(
        test=f"{test.kind}, {interval.method}",
        said=f"{_subject(tally, estimate)} {between(bounds)} over {sizes}, asked {asked(test)}",
        holds=stands(test, bounds),
        refuted=falls(test, bounds),
        estimate=estimate,
        interval=bounds,
        p=_p(found, test),
        minimum_detectable_effect=_detectable(found, tally, alpha=_alpha(tally, test)),
    )


def _alpha(tally: Tally, test: object) -> float:
    """On each side: a number is held against the ends of a two-sided interval."""
    return tally.gate.alpha / 2 if isinstance(test, Threshold) else tally.gate.alpha


def _subject(tally: Tally, estimate: float) -> str:
    metric = tally.gate.metric
    if tally.baseline is None:
        return f"{metric} of {tally.arm} is {number(estimate)}"
    way = "better" if estimate >= 0 else "worse"
    return f"{tally.arm} is {number(abs(estimate))} {way} in {metric} than {tally.baseline}"


def _estimate(found: Evidence) -> float:
    match found:
        case Bootstrap(estimate=estimate):
            return estimate
        case Pairs(gains=gains, losses=losses, n=n):
            return (gains - losses) / n
        case Rate(successes=successes, n=n):
            return successes / n
        case Seeds(scores=scores):
            return float(scores.mean())


def _interval(found: Evidence, *, level: float) -> Interval:
    match found:
        case Bootstrap(interval=interval):
            return interval
        case Pairs():
            return difference_of_pairs(found, level=level)
        case Rate(successes=successes, n=n):
            return rate_interval(successes, n, level=level)
        case Seeds(scores=scores):
            return mean_over_seeds(scores, level=level)[1]


def _p(found: Evidence, test: Superior | NonInferior | Equivalent | Threshold) -> float:
    match test:
        case Superior(margin=margin):
            return _one_sided(found, null=margin, side="greater")
        case NonInferior(margin=margin):
            return _one_sided(found, null=-margin, side="greater")
        case Equivalent(margin=margin):
            above = _one_sided(found, null=-margin, side="greater")
            return max(above, _one_sided(found, null=margin, side="less"))
        case Threshold(at_least=float(least)):
            return _one_sided(found, null=least, side="greater")
        case Threshold(at_most=float(most)):
            return _one_sided(found, null=most, side="less")
    raise AssertionError(test)


def _one_sided(found: Evidence, *, null: float, side: Literal["greater", "less"]) -> float:
    match found:
        case Rate(successes=successes, n=n):
            rate = min(max(null, 0.0), 1.0)
            return float(binomtest(successes, n, rate, alternative=side).pvalue)
        case Seeds(scores=scores) if scores.size <= MOST_SEEDS:
            return sign_flip(scores - null, alternative=side).p
        case Seeds(scores=scores):
            generator = np.random.default_rng(scores.size)
            return paired_permutation(
                scores - null, draws=DRAWS, generator=generator, alternative=side
            ).p
        case _:
            return one_sided_p(found, null=null, side=side)


def _detectable(found: Evidence, tally: Tally, *, alpha: float) -> float | None:
    """The distance from the bound that so much data finds; None where nothing varies."""
    match found:
        case Bootstrap():
            n, variance = 1, found.error**2
        case Pairs(gains=gains, losses=losses, n=n):
            variance = (gains + losses) / n - ((gains - losses) / n) ** 2
        case Rate(successes=successes, n=n):
            variance = successes / n * (1 - successes / n)
        case Seeds(scores=scores):
            n, variance = scores.size, float(scores.var(ddof=1))
    planned = tally.gate.planned
    power = POWER if planned is None else planned.power
    if not variance:
        return None
    return minimum_detectable_effect(n, variance=variance, power=power, alpha=alpha)
