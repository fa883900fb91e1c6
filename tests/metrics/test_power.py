"""Facts about plans: closed forms, figures known beforehand, and planted truths."""

import numpy as np
import pytest
import scipy.stats
from statsmodels.stats.power import TTestPower, normal_power

from lmlab.metrics.power import (
    fewest_seeds,
    minimum_detectable_effect,
    paired_items,
    power_of,
    seeds_needed,
    smallest_sign_flip_p,
    variance_of_discordance,
)

USUAL = {"power": 0.8, "alpha": 0.05}
Z = 1.6448536 + 0.8416212


@pytest.mark.parametrize(
    ("margin", "discordant", "effect", "items"),
    [
        (0.01, 0.02, 0.0, 1_237),
        # 3,091.3: at 3,091 the power is .79997.
        (0.01, 0.05, 0.0, 3_092),
        (0.01, 0.10, 0.0, 6_183),
        (0.05, 0.05, 0.0, 124),
        (-0.30, 0.55, 0.50, 47),
        (-0.30, 0.45, 0.40, 180),
    ],
)
def test_the_items_are_those_of_the_closed_form(margin, discordant, effect, items):
    variance = variance_of_discordance(discordant, effect)
    assert paired_items(margin, variance=variance, effect=effect, **USUAL) == items
    assert items - 1 < variance * (Z / (margin + effect)) ** 2 <= items


def test_power_is_statsmodels():
    for n in (20, 200, 2_000):
        theirs = normal_power(0.03 / 0.5, n, 0.05, alternative="larger")
        ours = power_of(n, margin=0.02, variance=0.25, effect=0.01, alpha=0.05)
        assert ours == pytest.approx(theirs, abs=1e-9)


def test_one_item_fewer_does_not_reach_the_power():
    for margin, effect, sides in ((0.02, 0.0, 1), (0.02, 0.005, 2), (0.02, 0.0, 2)):
        given = {"variance": 0.1, "effect": effect, "sides": sides}
        items = paired_items(margin, power=0.9, alpha=0.05, **given)
        assert power_of(items, margin=margin, alpha=0.05, **given) >= 0.9
        assert power_of(items - 1, margin=margin, alpha=0.05, **given) < 0.9


def test_equivalence_needs_the_closed_form_of_two_tests():
    """Both of them at no difference: n = variance ((z_alpha + z_(1 + power)/2) / margin)²."""
    items = paired_items(0.02, variance=0.1, sides=2, **USUAL)
    z = scipy.stats.norm.isf(0.05) + scipy.stats.norm.ppf(0.9)
    assert items == np.ceil(0.1 * (z / 0.02) ** 2)


def test_what_is_just_detectable_is_found_with_that_power():
    effect = minimum_detectable_effect(700, variance=0.06, **USUAL)
    assert effect == pytest.approx(Z * (0.06 / 700) ** 0.5)
    power = power_of(700, margin=0.0, variance=0.06, effect=effect, alpha=0.05)
    assert power == pytest.approx(0.8)


def test_the_variance_of_a_discordance_is_that_of_its_outcomes():
    outcomes = np.repeat([1, -1, 0], [30, 10, 60])
    assert variance_of_discordance(0.4, 0.2) == pytest.approx(outcomes.var())
    for discordant, gain in ((0.1, 0.2), (0.0, 0.0), (1.1, 0.0)):
        with pytest.raises(ValueError, match="disagree"):
            variance_of_discordance(discordant, gain)


@pytest.mark.parametrize(("seeds", "p"), [(3, 0.25), (5, 0.0625), (6, 0.03125), (8, 0.0078125)])
def test_seeds_that_all_agree_are_no_stronger_than_this(seeds, p):
    assert smallest_sign_flip_p(seeds) == p
    theirs = scipy.stats.permutation_test(
        (np.linspace(1, 2, seeds),), np.sum, permutation_type="samples", n_resamples=np.inf
    )
    assert theirs.pvalue == pytest.approx(p)
    assert smallest_sign_flip_p(seeds, alternative="greater") == p / 2


def test_a_claim_over_seeds_needs_six_of_them_at_five_percent():
    assert fewest_seeds(0.05) == 6
    assert fewest_seeds(0.0625) == 5
    assert fewest_seeds(0.01) == 8


def test_seeds_are_planned_by_the_t_test():
    size = TTestPower().solve_power(0.5, power=0.8, alpha=0.05, alternative="larger")
    assert seeds_needed(0.01, deviation=0.02, **USUAL) == np.ceil(size) == 27
    assert seeds_needed(0.5, deviation=0.02, **USUAL) == 6


def test_planned_seeds_reach_the_power_in_simulated_experiments():
    seeds, runs = seeds_needed(0.0, deviation=1.0, effect=0.9, **USUAL), 2_000
    values = np.random.default_rng(0).normal(0.9, 1, (runs, seeds))
    found = scipy.stats.ttest_1samp(values, 0, axis=1, alternative="greater").pvalue <= 0.05
    assert scipy.stats.binom.ppf(0.001, runs, 0.8) <= found.sum() < 0.87 * runs


def test_a_claim_that_is_never_met_has_no_plan():
    with pytest.raises(ValueError, match=r"0.2 never passes a bound of 0.3"):
        paired_items(-0.3, variance=0.1, effect=0.2, **USUAL)
    with pytest.raises(ValueError, match="never passes a bound of 0,"):
        seeds_needed(0.0, deviation=0.1, **USUAL)
    with pytest.raises(ValueError, match="not within the margin"):
        paired_items(0.02, variance=0.1, effect=-0.03, sides=2, **USUAL)
    with pytest.raises(ValueError, match="without any variance"):
        paired_items(0.02, variance=0.0, **USUAL)
