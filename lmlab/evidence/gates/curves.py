"""Along a condition: bounded, a trend, flat, no oscillation."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.stats import t as student

from lmlab.evidence.gates.grammar import Bounded, Flat, Gate, NoOscillation, Trend
from lmlab.evidence.gates.outcome import Bounds, Outcome, between
from lmlab.evidence.gates.paired import DRAWS, POWER
from lmlab.evidence.gates.tally import Sums, Tally, generator_of
from lmlab.evidence.tables import number
from lmlab.metrics.significance import periodogram_peak, share_of_planted_found, slope, trend
from lmlab.metrics.stats import mean_over_seeds

# Oscillations planted into the curve's own noise, each against its own shuffles.
TRIALS, SHUFFLES = 100, 500


@dataclass(frozen=True)
class Point:
    """The value at one place of the curve; `bounds` None where nothing tells its error."""

    x: float
    value: float
    bounds: Bounds | None


def judge_curve(gate: Gate, points: Sequence[Point], *, alpha: float) -> Outcome:
    """`alpha` is what the family leaves to a test that has an interval and no p."""
    curve = sorted(points, key=lambda point: point.x)
    match gate.test:
        case Bounded():
            return _bounded(gate.test, curve)
        case Trend():
            return _trend(gate, gate.test, curve)
        case Flat():
            return _flat(gate.test, curve, alpha=alpha)
        case NoOscillation():
            return _no_oscillation(gate, gate.test, curve)
    raise AssertionError(gate.test)


def points_of(tally: Tally, *, alpha: float) -> list[Point]:
    """The curve, each point with an interval; together these miss with `alpha` on each side."""
    by_seed: dict[float, list[float]] = defaultdict(list)
    for (seed, x), sums in sorted(tally.cells.items(), key=lambda one: str(one[0])):
        assert x is not None
        if seed is not None:
            by_seed[x].append(sums.score)
    pooled = {x: sums for (seed, x), sums in tally.cells.items() if seed is None and x is not None}
    level = 1 - 2 * alpha / max(1, len(by_seed) + len(pooled))
    return [
        *(_over_seeds(x, np.array(scores), level=level) for x, scores in by_seed.items()),
        *(_over_clusters(x, sums, level=level) for x, sums in pooled.items()),
    ]


def _over_seeds(x: float, scores: np.ndarray, *, level: float) -> Point:
    if scores.size < 2:
        return Point(x, float(scores[0]), None)
    mean, interval = mean_over_seeds(scores, level=level)
    return Point(x, mean, (interval.low, interval.high))


def _over_clusters(x: float, sums: Sums, *, level: float) -> Point:
    """Student's interval of a ratio over clusters, linearised (Cochran 1977, section 6.4)."""
    there, score = sums.present, sums.score
    if there.size < 2:
        return Point(x, score, None)
    residuals = sums.values[there] - score * sums.weights[there]
    spread = float(residuals @ residuals) * there.size / (there.size - 1)
    error = spread**0.5 / float(sums.weights.sum())
    half = float(student.ppf((1 + level) / 2, there.size - 1)) * error
    return Point(x, score, (score - half, score + half))


def _bounded(test: Bounded, curve: Sequence[Point]) -> Outcome:
    values = [point.value for point in curve]
    known = [point.bounds for point in curve if point.bounds is not None]
    name = f"bounded along {test.along}"
    if len(curve) < 2 or len(known) < len(curve):
        why = (
            f"{len(curve)} point along {test.along}: there is nothing to compare"
            if len(curve) < 2
            else f"{len(curve) - len(known)} of {len(curve)} points have no interval"
        )
        return Outcome(name, why, short=why)
    if min(low for low, _ in known) <= 0:
        why = f"a share of the smallest value needs values above 0: {_told(curve)}"
        return Outcome(name, why, short=why)
    spread = max(values) / min(values) - 1
    least = max(0.0, max(low for low, _ in known) / min(high for _, high in known) - 1)
    most = max(high for _, high in known) / min(low for low, _ in known) - 1
    return Outcome(
        name,
        f"the largest value is {number(100 * spread)} % above the smallest, "
        f"{between((100 * least, 100 * most))} %, at most {number(100 * test.tolerance)} % asked: "
        f"{_told(curve)}",
        holds=most <= test.tolerance,
        refuted=least > test.tolerance,
        estimate=spread,
        interval=(least, most),
    )


def _trend(gate: Gate, test: Trend, curve: Sequence[Point]) -> Outcome:
    x, y = _axes(curve)
    if x.size < 3:
        why = f"{x.size} points along {test.along} show no trend"
        return Outcome("trend", why, short=why)
    up = test.direction == "increasing"
    ways = ("greater", "less") if up else ("less", "greater")
    found, against = (
        trend(x, y, draws=DRAWS, generator=generator_of(gate), alternative=way) for way in ways
    )
    back = [
        (one, two)
        for one, two in combinations(curve, 2)
        if one.bounds and two.bounds and one.x < two.x and _steps_back(one, two, up=up)
    ]
    said = f"Spearman {number(found.estimate)} over {x.size} points: {_told(curve)}"
    if back:
        one, two = back[0]
        said += f"; from {test.along} {number(one.x)} to {number(two.x)} it turns back"
    return Outcome(
        found.name,
        said,
        holds=not back and found.p <= gate.alpha,
        refuted=bool(back) or against.p <= gate.alpha,
        estimate=found.estimate,
        p=found.p,
    )


def _steps_back(one: Point, two: Point, *, up: bool) -> bool:
    """Whether the later point lies beyond the earlier one, both intervals apart."""
    assert one.bounds is not None
    assert two.bounds is not None
    return two.bounds[1] < one.bounds[0] if up else two.bounds[0] > one.bounds[1]


def _flat(test: Flat, curve: Sequence[Point], *, alpha: float) -> Outcome:
    x, y = _axes(curve)
    if np.unique(x).size < 3:
        why = f"{x.size} points along {test.along} have no slope with an interval"
        return Outcome("flat", why, short=why)
    bounds, estimate, name = (0.0, 0.0), 0.0, "least-squares slope"
    if np.ptp(y) > 0:
        found = slope(x, y, level=1 - 2 * alpha)
        assert found.interval is not None
        bounds, estimate, name = (
            (found.interval.low, found.interval.high),
            found.estimate,
            found.name,
        )
    return Outcome(
        f"flat, {name}",
        f"the slope is {number(estimate)} {between(bounds)} a unit of {test.along} over {x.size} "
        f"points, within ±{number(test.tolerance)} asked",
        holds=-test.tolerance < bounds[0] and bounds[1] < test.tolerance,
        refuted=bounds[1] <= -test.tolerance or test.tolerance <= bounds[0],
        estimate=estimate,
        interval=bounds,
    )


def _no_oscillation(gate: Gate, test: NoOscillation, curve: Sequence[Point]) -> Outcome:
    """Not finding a peak says something only where a planted one would have been found."""
    x, values = _axes(curve)
    y = np.array([values[x == one].mean() for one in np.unique(x)])
    if y.size < test.min_bins:
        why = f"{y.size} bins along {test.along}, {test.min_bins} are needed"
        return Outcome("periodogram", why, short=why)
    generator = generator_of(gate)
    found = periodogram_peak(y, draws=DRAWS, generator=generator)
    seen = share_of_planted_found(
        y,
        amplitude=test.planted,
        alpha=gate.alpha,
        trials=TRIALS,
        draws=SHUFFLES,
        generator=generator,
    )
    power = POWER if gate.planned is None else gate.planned.power
    return Outcome(
        found.name,
        f"over {y.size} bins the largest peak has amplitude {number(found.estimate)}, "
        f"p {found.p:.3g} against shuffled bins; of planted oscillations of amplitude "
        f"{number(test.planted)} it finds {number(100 * seen)} %, {number(100 * power)} % asked",
        holds=found.p > gate.alpha and seen >= power,
        refuted=found.p <= gate.alpha,
        estimate=found.estimate,
    )


def _axes(curve: Sequence[Point]) -> tuple[np.ndarray, np.ndarray]:
    return np.array([point.x for point in curve]), np.array([point.value for point in curve])


def _told(curve: Sequence[Point]) -> str:
    """The curve in words, at most eight points of it."""
    shown = curve if len(curve) <= 8 else [*curve[:4], *curve[-4:]]
    return ", ".join(f"{number(point.value)} at {number(point.x)}" for point in shown)
