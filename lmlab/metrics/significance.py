"""Tests of a difference, a trend, a slope, an oscillation; corrections for several; no torch.

Differences are arm - baseline, oriented so that higher is better; pairs are items, documents or
seeds that both have. `alternative` "greater" asks whether the arm is better.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np
from jaxtyping import Float64, Num, Shaped
from scipy import stats as scipy_stats
from scipy.optimize import root_scalar
from scipy.stats import norm
from statsmodels.stats.multitest import multipletests

from lmlab.metrics.stats import CHUNK, Bootstrap, Interval, check_finite

Alternative = Literal["two-sided", "greater", "less"]
# All sign flips of more seeds than this are too many to list.
MOST_SEEDS = 20
# Degree of a curve's trend, which takes as many of the lowest frequencies with it.
TREND = 3
FEWEST_BINS = 16
# Sums of the same numbers in another order differ by less than this share.
ROUNDING = 1e-9


@dataclass(frozen=True)
class Test:
    """What a test found: its estimate, an interval where it has one, p, and the n it rests on."""

    name: str
    estimate: float
    interval: Interval | None
    p: float
    n: int


@dataclass(frozen=True)
class Pairs:
    """Of n items, those that the arm alone has right (gains), and the baseline alone (losses)."""

    gains: int
    losses: int
    n: int

    @property
    def difference(self) -> float:
        """The arm's rate minus the baseline's."""
        return (self.gains - self.losses) / self.n


def pairs(a: Num[np.ndarray, "items"], b: Num[np.ndarray, "items"]) -> Pairs:
    """Of an arm's and its baseline's scores, 0 or 1 each, item by item."""
    if a.size == 0 or not np.isin(np.concatenate([a, b]), (0, 1)).all():
        raise ValueError("pairs of right and wrong need scores of 0 or 1, and at least one item")
    return Pairs(int((a > b).sum()), int((a < b).sum()), int(a.size))


def one_sided_p(
    evidence: Bootstrap | Pairs, *, null: float, side: Literal["greater", "less"]
) -> float:
    """Chance of such an estimate, or one further on that side, were the true value `null`.

    Pairs: the score test, which stays at its level for few discordant pairs and for none (Tango
    1998). Bootstrap: Student's, with its standard error and units - 1 degrees of freedom.
    """
    sign = 1 if side == "greater" else -1
    match evidence:
        case Pairs():
            return float(norm.sf(sign * _score(evidence, null)))
        case Bootstrap():
            return _student_p(sign * (evidence.estimate - null), evidence)


def difference_of_pairs(found: Pairs, *, level: float = 0.95) -> Interval:
    """Interval of a paired difference of rates: the nulls that the score test does not reject."""
    z = float(norm.isf((1 - level) / 2))
    low, high = (_where_score_is(found, z, sign=sign) for sign in (1, -1))
    return Interval(low, high, f"paired score (Tango), {level:g}")


def mcnemar(
    a: Num[np.ndarray, "items"],
    b: Num[np.ndarray, "items"],
    *,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
) -> Test:
    """Exact test that two arms are right equally often, on the items on which they disagree."""
    found = pairs(a, b)
    discordant = found.gains + found.losses
    p = 1.0
    if discordant:
        p = float(scipy_stats.binomtest(found.gains, discordant, alternative=alternative).pvalue)
    interval = difference_of_pairs(found, level=level)
    return Test("McNemar, exact", found.difference, interval, p, found.n)


def paired_permutation(
    differences: Num[np.ndarray, "items"],
    clusters: Shaped[np.ndarray, "items"] | None = None,
    *,
    draws: int,
    generator: np.random.Generator,
    alternative: Alternative = "two-sided",
    weights: Num[np.ndarray, "items"] | None = None,
) -> Test:
    """Signs of differences are flipped, of whole clusters at once; in every way, where few."""
    check_finite(differences)
    sums = differences.astype(float)
    if clusters is not None:
        sums = np.bincount(np.unique(clusters, return_inverse=True)[1], sums)
    total = float(sums.sum())
    exact = sums.size < MOST_SEEDS and 2**sums.size <= draws
    flipped = _all_flips(sums) if exact else _random_flips(sums, draws=draws, generator=generator)
    weight = differences.size if weights is None else float(weights.sum())
    said = "exact" if exact else f"{draws} draws"
    what = "items" if clusters is None else "clusters"
    name = f"paired permutation over {what}, {said}"
    p = _beyond(flipped, total, alternative=alternative, exact=exact)
    return Test(name, total / weight, None, p, int(sums.size))


def sign_flip(
    seed_differences: Num[np.ndarray, "seeds"], *, alternative: Alternative = "two-sided"
) -> Test:
    """Every way to flip the seeds' signs; below 6 seeds the two-sided p stays above .05."""
    check_finite(seed_differences)
    values = seed_differences.astype(float)
    if values.size > MOST_SEEDS:
        raise ValueError(f"exact sign flips are for up to {MOST_SEEDS} seeds, not {values.size}")
    p = _beyond(_all_flips(values), float(values.sum()), alternative=alternative, exact=True)
    return Test("sign flip over seeds, exact", float(values.mean()), None, p, values.size)


def paired_t(
    differences: Num[np.ndarray, "pairs"],
    *,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
) -> Test:
    """Student's t-test that the mean difference is zero, with a two-sided interval."""
    _check_spread(differences)
    p = np.asarray(scipy_stats.ttest_1samp(differences, 0.0, alternative=alternative))[1]
    both = scipy_stats.ttest_1samp(differences, 0.0).confidence_interval(level)
    interval = Interval(float(both.low), float(both.high), f"Student, paired, {level:g}")
    estimate = float(differences.mean())
    return Test("paired t", estimate, interval, float(p), differences.size)


def welch_t(
    a: Num[np.ndarray, "a"],
    b: Num[np.ndarray, "b"],
    *,
    alternative: Alternative = "two-sided",
    level: float = 0.95,
) -> Test:
    """Welch's t-test of two unpaired samples, such as different seeds; a two-sided interval too."""
    for one in (a, b):
        _check_spread(one)
    p = np.asarray(scipy_stats.ttest_ind(a, b, equal_var=False, alternative=alternative))[1]
    both = scipy_stats.ttest_ind(a, b, equal_var=False).confidence_interval(level)
    interval = Interval(float(both.low), float(both.high), f"Welch, {level:g}")
    estimate = float(a.mean() - b.mean())
    return Test("Welch's t", estimate, interval, float(p), a.size + b.size)


def holm(p: Num[np.ndarray, "tests"]) -> Float64[np.ndarray, "tests"]:
    """Corrected p: the chance of any false finding in the family stays below alpha (Holm 1979)."""
    return _corrected(p, "holm")


def benjamini_hochberg(p: Num[np.ndarray, "tests"]) -> Float64[np.ndarray, "tests"]:
    """Corrected p: of the findings, a share below alpha is false (Benjamini and Hochberg 1995)."""
    return _corrected(p, "fdr_bh")


def trend(
    x: Num[np.ndarray, "points"],
    y: Num[np.ndarray, "points"],
    *,
    draws: int,
    generator: np.random.Generator,
    alternative: Alternative = "two-sided",
) -> Test:
    """Spearman's rank correlation; the null permutes y, in every order where these are few."""
    check_finite(x, y)
    ranks = [scipy_stats.rankdata(one) - (x.size + 1) / 2 for one in (x, y)]
    spread = float(np.sqrt((ranks[0] ** 2).sum() * (ranks[1] ** 2).sum()))
    if not spread:
        return Test("Spearman, permutation", 0.0, None, 1.0, x.size)
    found = scipy_stats.permutation_test(
        (ranks[1],),
        lambda y, axis=-1: (ranks[0] * y).sum(axis) / spread,
        permutation_type="pairings",
        vectorized=True,
        n_resamples=draws,
        alternative=alternative,
        rng=generator,
    )
    return Test("Spearman, permutation", float(found.statistic), None, float(found.pvalue), x.size)


def slope(
    x: Num[np.ndarray, "points"], y: Num[np.ndarray, "points"], *, level: float = 0.95
) -> Test:
    """Least squares: the change of y a unit of x, with Student's interval and two-sided p."""
    check_finite(x, y)
    if x.size < 3 or np.ptp(x) == 0:
        raise ValueError("a slope with an interval needs 3 points, not all at one x")
    gradient, _, _, p, error = map(float, scipy_stats.linregress(x, y))
    half = float(scipy_stats.t.ppf((1 + level) / 2, x.size - 2)) * error
    said = f"Student, {x.size - 2} df, least squares, {level:g}"
    interval = Interval(gradient - half, gradient + half, said)
    return Test("least-squares slope", gradient, interval, p, x.size)


def periodogram_peak(
    y: Num[np.ndarray, "bins"], *, draws: int, generator: np.random.Generator
) -> Test:
    """Is the largest peak of the detrended curve's periodogram more than shuffled bins give?

    The statistic is the peak's share of the power (Fisher's g); the estimate is its amplitude in
    y's unit. The trend, a cubic in the logarithm of the position, follows a loss that falls with
    the position and may rise again; frequencies as low as the trend's own are left out.
    """
    residuals = _detrended(y)
    cycles, amplitude, share = (one[0] for one in _peaks(residuals[None]))
    shuffled = generator.permuted(np.tile(residuals, (draws, 1)), axis=1)
    p = _beyond(_peaks(shuffled)[2], float(share), alternative="greater", exact=False)
    return Test(f"periodogram peak at {cycles} cycles", float(amplitude), None, p, y.size)


def share_of_planted_found(
    y: Num[np.ndarray, "bins"],
    *,
    amplitude: float,
    alpha: float,
    trials: int,
    draws: int,
    generator: np.random.Generator,
) -> float:
    """How often `periodogram_peak` finds a sine of that amplitude in the noise of this very curve.

    The noise is the detrended curve, shuffled; frequency and phase are drawn anew for each trial.
    """
    residuals, found = _detrended(y), 0
    turns = 2 * np.pi * np.arange(y.size) / y.size
    for _ in range(trials):
        cycles, phase = generator.integers(TREND, y.size // 2), generator.uniform(0, 2 * np.pi)
        planted = generator.permutation(residuals) + amplitude * np.sin(cycles * turns + phase)
        found += periodogram_peak(planted, draws=draws, generator=generator).p <= alpha
    return found / trials


def _score(found: Pairs, null: float) -> float:
    """Tango's z: the likeliest rates under the null solve a quadratic (Tango 1998, eq. 4)."""
    b, c, n = found.gains, found.losses, found.n
    linear = (b + c) + (b - c - 2 * n) * null
    root = max(linear**2 + 8 * n * c * null * (1 - null), 0.0) ** 0.5
    losses = (linear + root) / (4 * n)
    variance = n * (2 * losses + null * (1 - null))
    return (b - c - n * null) / variance**0.5 if variance > 0 else 0.0


def _where_score_is(found: Pairs, z: float, *, sign: int) -> float:
    """The null below (sign 1) or above (-1) the difference that lies z away from it."""
    if found.difference == -sign:
        return found.difference
    # The score grows without limit towards the edge, where it is 0/0.
    bracket = (-sign * (1 - 1e-12), found.difference)
    return root_scalar(lambda null: sign * _score(found, null) - z, bracket=bracket).root


def _student_p(beyond: float, found: Bootstrap) -> float:
    if found.error <= ROUNDING * abs(found.draws).max():
        # Units that all agree leave no spread to measure by: by chance so often of one sign.
        return 0.5**found.units if beyond > 0 else 1.0
    return float(scipy_stats.t.sf(beyond / found.error, found.units - 1))


def _all_flips(values: Float64[np.ndarray, "units"]) -> Float64[np.ndarray, "flips"]:
    """The sum under every choice of signs."""
    totals = np.zeros(1)
    for value in values:
        totals = np.concatenate([totals + value, totals - value])
    return totals


def _random_flips(
    values: Float64[np.ndarray, "units"], *, draws: int, generator: np.random.Generator
) -> Float64[np.ndarray, "draws"]:
    totals, size = np.empty(draws), max(1, CHUNK // values.size)
    for at in range(0, draws, size):
        rows = min(size, draws - at)
        octets = generator.integers(0, 256, (rows, -(-values.size // 8)), dtype=np.uint8)
        kept = np.unpackbits(octets, axis=1, count=values.size)
        totals[at : at + rows] = 2 * (kept @ values) - values.sum()
    return totals


def _beyond(
    null: Float64[np.ndarray, "draws"], seen: float, *, alternative: Alternative, exact: bool
) -> float:
    """Share of the null at least as far out as what was seen, which itself is one of them."""
    match alternative:
        case "greater":
            pass
        case "less":
            null, seen = -null, -seen
        case "two-sided":
            null, seen = abs(null), abs(seen)
    count = int((null >= seen - ROUNDING * abs(null).max(initial=abs(seen))).sum())
    return count / null.size if exact else (1 + count) / (1 + null.size)


def _check_spread(values: Num[np.ndarray, "sample"]) -> None:
    check_finite(values)
    if values.size < 2 or np.ptp(values) == 0:
        raise ValueError("a t-test needs at least 2 values that differ among themselves")


def _corrected(p: Num[np.ndarray, "tests"], method: str) -> Float64[np.ndarray, "tests"]:
    if not ((p >= 0) & (p <= 1)).all():
        raise ValueError(f"a family of tests needs p between 0 and 1, not {p.tolist()}")
    return np.asarray(multipletests(p, method=method)[1] if p.size else p, dtype=float)


def _detrended(y: Num[np.ndarray, "bins"]) -> Float64[np.ndarray, "bins"]:
    check_finite(y)
    if y.size < FEWEST_BINS:
        raise ValueError(f"{y.size} bins are too few for a periodogram: at least {FEWEST_BINS}")
    position = np.log(np.arange(1, y.size + 1))
    return y - np.polynomial.Polynomial.fit(position, y, TREND)(position)


def _peaks(
    curves: Float64[np.ndarray, "curves bins"],
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each curve's largest peak: its cycles, its amplitude, its share of the power."""
    power = abs(np.fft.rfft(curves)[:, TREND:]) ** 2
    highest, total = power.max(1), power.sum(1)
    share = np.divide(highest, total, out=np.ones_like(total), where=total > 0)
    return power.argmax(1) + TREND, 2 * highest**0.5 / curves.shape[1], share
