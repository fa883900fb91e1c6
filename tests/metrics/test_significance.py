"""Facts about tests: against scipy, statsmodels, slow loops, and hand results."""

from itertools import product

import numpy as np
import pytest
import scipy.optimize
import scipy.stats
from statsmodels.stats.contingency_tables import mcnemar as their_mcnemar
from statsmodels.stats.multitest import multipletests

from lmlab.metrics import significance
from lmlab.metrics.significance import (
    Pairs,
    benjamini_hochberg,
    difference_of_pairs,
    holm,
    mcnemar,
    one_sided_p,
    paired_permutation,
    paired_t,
    pairs,
    periodogram_peak,
    share_of_planted_found,
    sign_flip,
    slope,
    trend,
    welch_t,
)
from lmlab.metrics.stats import Bootstrap, clustered_bootstrap


def test_not_being_worse_is_not_being_better():
    """One arm, slightly worse within the margin: non-inferior, and not superior."""
    found = Pairs(gains=95, losses=105, n=5_000)
    assert one_sided_p(found, null=-0.01, side="greater") < 0.05
    assert one_sided_p(found, null=0.01, side="less") < 0.05
    assert one_sided_p(found, null=0.0, side="greater") > 0.05
    worse = Pairs(gains=60, losses=140, n=5_000)
    assert one_sided_p(worse, null=-0.01, side="greater") > 0.5
    better = Pairs(gains=140, losses=60, n=5_000)
    assert one_sided_p(better, null=0.01, side="greater") < 0.05


def test_twenty_items_without_a_loss_do_not_show_that_one_percent_is_kept():
    found = [Pairs(gains=0, losses=0, n=n) for n in (20, 1_000)]
    few, many = (one_sided_p(one, null=-0.01, side="greater") for one in found)
    assert many < 0.01 < 0.3 < few


@pytest.mark.parametrize("null", [-0.2, -0.05, 0.0, 0.01, 0.3])
@pytest.mark.parametrize(
    ("gains", "losses", "n"), [(12, 5, 80), (0, 6, 40), (9, 0, 30), (0, 0, 25)]
)
def test_the_score_test_uses_the_likeliest_rates_under_the_null(null, gains, losses, n):
    """Tango's closed form against a search over the rate of losses."""
    if gains == losses == 0 == null:
        return

    def unlikely(rate: float) -> float:
        rates = np.array([rate + null, rate, 1 - 2 * rate - null])
        return -float(scipy.special.xlogy([gains, losses, n - gains - losses], rates).sum())

    low, high = max(0.0, -null), (1 - null) / 2
    rate = scipy.optimize.minimize_scalar(
        unlikely, bounds=(low, high), method="bounded", options={"xatol": 1e-12}
    ).x
    z = (gains - losses - n * null) / (n * (2 * rate + null - null**2)) ** 0.5
    found = one_sided_p(Pairs(gains, losses, n), null=null, side="greater")
    assert found == pytest.approx(scipy.stats.norm.sf(z), abs=1e-4)


def test_the_interval_of_pairs_holds_the_nulls_that_are_not_rejected():
    for found in (Pairs(12, 5, 80), Pairs(0, 6, 40), Pairs(0, 0, 25), Pairs(7, 0, 7)):
        interval = difference_of_pairs(found)
        assert -1 <= interval.low <= found.difference <= interval.high <= 1
        for null, side in ((interval.low, "greater"), (interval.high, "less")):
            if abs(null) < 0.999:
                assert one_sided_p(found, null=null, side=side) == pytest.approx(0.025)


def test_pairs_are_of_right_and_wrong():
    found = pairs(np.array([1, 1, 0, 0, 1]), np.array([0, 0, 1, 0, 1]))
    assert found == Pairs(gains=2, losses=1, n=5)
    with pytest.raises(ValueError, match="0 or 1"):
        pairs(np.array([0.5]), np.array([1.0]))


def bootstrap(draws: np.ndarray, *, units: int) -> Bootstrap:
    return Bootstrap(float(draws.mean()), difference_of_pairs(Pairs(1, 0, 2)), draws, units)


def test_the_p_of_a_bootstrap_is_students():
    values = np.random.default_rng(3).normal(0.3, 1, 6)
    found = clustered_bootstrap(
        values, np.ones(6), np.arange(6), draws=100_000, generator=np.random.default_rng(0)
    )
    for side in ("greater", "less"):
        theirs = scipy.stats.ttest_1samp(values, 0.1, alternative=side).pvalue
        assert one_sided_p(found, null=0.1, side=side) == pytest.approx(theirs, abs=0.003)


def test_seeds_that_agree_to_the_bit_prove_no_more_than_their_number():
    for rounding in (0.0, 1e-17):
        draws = 0.1 + rounding * np.arange(100)
        found = bootstrap(draws, units=3)
        assert one_sided_p(found, null=0.0, side="greater") == 0.125
        assert one_sided_p(found, null=0.2, side="greater") == 1.0


def test_a_value_that_is_no_number_is_never_significant():
    values, generator = np.array([0.1, np.nan, 0.2, 0.3, 0.1, 0.2]), np.random.default_rng(0)
    for test in (
        sign_flip,
        paired_t,
        lambda one: paired_permutation(one, draws=99, generator=generator),
        lambda one: trend(np.arange(6), one, draws=99, generator=generator),
        lambda one: slope(np.arange(6), one),
    ):
        with pytest.raises(ValueError, match="prove nothing"):
            test(values)
    with pytest.raises(ValueError, match="prove nothing"):
        sign_flip(values[:0])


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_mcnemar_is_the_exact_binomial(alternative):
    a = np.repeat([1, 0, 1, 0], [9, 3, 40, 20])
    b = np.repeat([0, 1, 1, 0], [9, 3, 40, 20])
    found = mcnemar(a, b, alternative=alternative)
    assert (found.estimate, found.n) == (6 / 72, 72)
    assert found.p == pytest.approx(scipy.stats.binomtest(9, 12, alternative=alternative).pvalue)
    if alternative == "two-sided":
        assert found.p == pytest.approx(their_mcnemar([[40, 9], [3, 20]], exact=True).pvalue)
    assert mcnemar(b, b, alternative=alternative).p == 1.0


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_sign_flips_are_scipys(alternative):
    values = np.array([0.3, -0.1, 0.25, 0.4, 0.05, 0.31, -0.02])
    theirs = scipy.stats.permutation_test(
        (values,), np.mean, permutation_type="samples", n_resamples=np.inf, alternative=alternative
    ).pvalue
    assert sign_flip(values, alternative=alternative).p == pytest.approx(theirs)
    drawn = {"draws": 50_000, "generator": np.random.default_rng(0), "alternative": alternative}
    assert paired_permutation(values, **drawn).p == pytest.approx(theirs)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_a_drawn_permutation_is_close_to_scipys(alternative):
    values = np.random.default_rng(1).normal(0.15, 1, 60)
    theirs = scipy.stats.permutation_test(
        (values,),
        lambda x, axis: x.mean(axis),
        permutation_type="samples",
        vectorized=True,
        n_resamples=40_000,
        alternative=alternative,
        rng=1,
    ).pvalue
    found = paired_permutation(
        values, draws=40_000, generator=np.random.default_rng(0), alternative=alternative
    )
    assert found.p == pytest.approx(theirs, abs=0.008)
    assert found.estimate == pytest.approx(values.mean())


def test_three_seeds_that_agree_give_one_in_four():
    for seeds, p in ((3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)):
        assert sign_flip(np.linspace(0.1, 0.2, seeds)).p == p
    with pytest.raises(ValueError, match="up to 20 seeds"):
        sign_flip(np.ones(21))


def test_whole_clusters_flip():
    """Five documents of ten items each: 32 ways to flip, whatever the number of items."""
    differences, clusters = np.ones(50), np.repeat(list("abcde"), 10)
    given = {"draws": 999, "generator": np.random.default_rng(0)}
    found = paired_permutation(differences, clusters, weights=np.full(50, 2), **given)
    assert (found.p, found.n, found.estimate) == (2 / 32, 5, 0.5)
    assert paired_permutation(differences, **given).p == 1 / 1000


def test_drawing_flips_in_chunks_uses_all_of_them(monkeypatch):
    values = np.random.default_rng(1).normal(0.1, 1, 50)
    monkeypatch.setattr(significance, "CHUNK", 50 * 7)
    found = paired_permutation(values, draws=5_000, generator=np.random.default_rng(0))
    assert found.p == pytest.approx(scipy.stats.ttest_1samp(values, 0).pvalue, abs=0.03)


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_t_tests_are_the_closed_forms(alternative):
    generator = np.random.default_rng(2)
    a, b = generator.normal(0.6, 1, 12), generator.normal(0, 2, 9)
    tail = {
        "two-sided": lambda t, df: 2 * scipy.stats.t.sf(abs(t), df),
        "greater": scipy.stats.t.sf,
        "less": scipy.stats.t.cdf,
    }[alternative]
    paired = paired_t(a, alternative=alternative)
    error = a.std(ddof=1) / 12**0.5
    assert paired.p == pytest.approx(tail(a.mean() / error, 11))
    assert paired.interval.low == pytest.approx(a.mean() - scipy.stats.t.isf(0.025, 11) * error)
    one, two = a.var(ddof=1) / 12, b.var(ddof=1) / 9
    df = (one + two) ** 2 / (one**2 / 11 + two**2 / 8)
    welch, error = welch_t(a, b, alternative=alternative), (one + two) ** 0.5
    assert welch.p == pytest.approx(tail((a.mean() - b.mean()) / error, df))
    high = a.mean() - b.mean() + scipy.stats.t.isf(0.025, df) * error
    assert welch.interval.high == pytest.approx(high)
    with pytest.raises(ValueError, match="differ among themselves"):
        paired_t(np.ones(5))


def test_holm_is_the_hand_result_and_statsmodels():
    """.01 x 4, .02 x 3, .03 x 2, .04 x 1, and no p below one that came before it."""
    hand = holm(np.array([0.01, 0.04, 0.03, 0.02]))
    assert hand == pytest.approx([0.04, 0.06, 0.06, 0.06])
    p = np.random.default_rng(0).uniform(0, 0.2, 30)
    assert holm(p) == pytest.approx(multipletests(p, method="holm")[1], abs=0)
    assert holm(np.empty(0)).size == 0


def test_benjamini_hochberg_is_the_hand_result_and_statsmodels():
    hand = benjamini_hochberg(np.array([0.01, 0.04, 0.03, 0.02]))
    assert hand == pytest.approx([0.04, 0.04, 0.04, 0.04])
    p = np.random.default_rng(0).uniform(0, 0.2, 30)
    assert benjamini_hochberg(p) == pytest.approx(multipletests(p, method="fdr_bh")[1], abs=0)
    assert benjamini_hochberg(p) == pytest.approx(scipy.stats.false_discovery_control(p))


def test_a_family_with_something_that_is_no_p_is_refused():
    for wrong in (1.2, -0.1, np.nan):
        with pytest.raises(ValueError, match="between 0 and 1"):
            holm(np.array([0.1, wrong]))


@pytest.mark.parametrize("alternative", ["two-sided", "greater", "less"])
def test_a_trend_is_spearmans_with_every_order_of_a_short_curve(alternative):
    x, y = np.array([1.0, 2, 4, 8, 16, 32]), np.array([0.9, 0.91, 0.8, 0.7, 0.72, 0.4])
    found = trend(x, y, draws=10_000, generator=np.random.default_rng(0), alternative=alternative)
    theirs = scipy.stats.spearmanr(x, y)
    assert found.estimate == pytest.approx(theirs.statistic)
    slow = scipy.stats.permutation_test(
        (y,),
        lambda y: scipy.stats.spearmanr(x, y).statistic,
        permutation_type="pairings",
        n_resamples=np.inf,
        alternative=alternative,
    )
    assert found.p == pytest.approx(slow.pvalue)


def test_a_trend_at_the_floor_is_none():
    found = trend(np.arange(6), np.zeros(6), draws=99, generator=np.random.default_rng(0))
    assert (found.estimate, found.p) == (0.0, 1.0)


def test_a_slope_is_that_of_the_normal_equations():
    generator = np.random.default_rng(4)
    x = np.linspace(0, 5, 20)
    y = 0.3 * x + generator.normal(0, 0.5, 20)
    design = np.stack([x, np.ones(20)], axis=1)
    solved = np.linalg.lstsq(design, y, rcond=None)[0]
    sigma = ((y - design @ solved) ** 2).sum() / 18
    error = (sigma * np.linalg.inv(design.T @ design)[0, 0]) ** 0.5
    half = scipy.stats.t.isf(0.05, 18) * error
    found = slope(x, y, level=0.9)
    assert found.estimate == pytest.approx(solved[0])
    assert (found.interval.low, found.interval.high) == pytest.approx(
        (solved[0] - half, solved[0] + half)
    )
    with pytest.raises(ValueError, match="3 points"):
        slope(np.ones(4), np.arange(4))


def loss_by_position(generator: np.random.Generator, *, bins: int = 64) -> np.ndarray:
    """Falls as a loss does, with noise of .02 a bin."""
    position = np.arange(1, bins + 1)
    return 3 + 1.5 * position**-0.5 + generator.normal(0, 0.02, bins)


def test_a_planted_oscillation_is_found_with_its_period_and_size():
    generator = np.random.default_rng(0)
    wave = 0.03 * np.sin(2 * np.pi * 9 * np.arange(64) / 64 + 1)
    found = periodogram_peak(loss_by_position(generator) + wave, draws=999, generator=generator)
    assert found.name == "periodogram peak at 9 cycles"
    assert found.p == 0.001
    assert found.estimate == pytest.approx(0.03, abs=0.008)


def test_the_curve_says_what_size_it_could_show():
    generator = np.random.default_rng(0)
    curve, given = loss_by_position(generator), {"alpha": 0.05, "trials": 60, "draws": 199}
    large = share_of_planted_found(curve, amplitude=0.03, generator=generator, **given)
    small = share_of_planted_found(curve, amplitude=0.002, generator=generator, **given)
    assert small < 0.3 < 0.9 < large
    with pytest.raises(ValueError, match="6 bins are too few"):
        periodogram_peak(np.arange(6), draws=9, generator=generator)


def test_all_flips_of_four_seeds_are_listed():
    values = np.array([0.1, 0.2, 0.4, 0.8])
    slow = [np.dot(signs, values) for signs in product((1, -1), repeat=4)]
    p = sum(abs(one) >= abs(values.sum()) - 1e-12 for one in slow) / 16
    assert sign_flip(values).p == p == 0.125
