"""Planted truths: in simulated experiments tests stay at their level and reach their power."""

from collections.abc import Callable

import numpy as np
import pytest
import scipy.stats

from lmlab.metrics.power import paired_items, variance_of_discordance
from lmlab.metrics.significance import (
    mcnemar,
    one_sided_p,
    paired_permutation,
    paired_t,
    pairs,
    periodogram_peak,
    sign_flip,
    trend,
)
from lmlab.metrics.stats import clustered_bootstrap, seeds_by_items_bootstrap

RUNS, ALPHA = 500, 0.05
# A test at its nominal level gives more false findings than this once in a thousand times.
MOST_FALSE = int(scipy.stats.binom.ppf(0.999, RUNS, ALPHA))
LEAST_FOUND = int(scipy.stats.binom.ppf(0.001, RUNS, 0.8))

Experiment = Callable[[np.random.Generator], float]


def superiority(found, margin):
    return one_sided_p(found, null=margin, side="greater")


def noninferiority(found, margin):
    return one_sided_p(found, null=-margin, side="greater")


def equivalence(found, margin):
    return max(noninferiority(found, margin), one_sided_p(found, null=margin, side="less"))


def rejections(experiment: Experiment, *, seed: int = 0) -> int:
    """In how many of the simulated experiments p is at most 5 %."""
    generator = np.random.default_rng(seed)
    return sum(experiment(generator) <= ALPHA for _ in range(RUNS))


def outcomes(
    generator: np.random.Generator, *, n: int, discordant: float, effect: float
) -> np.ndarray:
    """Arm minus baseline, item by item: 1 and -1 on the discordant share, with that mean."""
    gains, losses = (discordant + effect) / 2, (discordant - effect) / 2
    return generator.choice([1, -1, 0], n, p=[gains, losses, 1 - discordant])


def evidence(kind: str, differences: np.ndarray, generator: np.random.Generator):
    if kind == "pairs":
        return pairs((differences > 0).astype(int), (differences < 0).astype(int))
    size = differences.size
    return clustered_bootstrap(
        differences, np.ones(size), np.arange(size), draws=200, generator=generator
    )


@pytest.mark.parametrize("kind", ["pairs", "bootstrap"])
@pytest.mark.parametrize(
    ("test", "margin", "bound"),
    [
        (superiority, 0.05, 0.05),
        (noninferiority, 0.05, -0.05),
        (equivalence, 0.05, 0.05),
        (equivalence, 0.05, -0.05),
    ],
)
def test_an_arm_at_the_bound_passes_no_more_often_than_the_level(kind, test, margin, bound):
    def experiment(generator):
        differences = outcomes(generator, n=371, discordant=0.15, effect=bound)
        return test(evidence(kind, differences, generator), margin)

    assert rejections(experiment) <= MOST_FALSE


@pytest.mark.parametrize("kind", ["pairs", "bootstrap"])
@pytest.mark.parametrize(
    ("test", "margin", "effect", "needed"),
    [
        (noninferiority, 0.05, 0.0, {"margin": 0.05}),
        (superiority, 0.05, 0.10, {"margin": -0.05}),
        (equivalence, 0.05, 0.0, {"margin": 0.05, "sides": 2}),
    ],
)
def test_the_planned_items_reach_the_stated_power(kind, test, margin, effect, needed):
    n = paired_items(
        variance=variance_of_discordance(0.15, effect),
        effect=effect,
        power=0.8,
        alpha=0.05,
        **needed,
    )

    def experiment(generator):
        differences = outcomes(generator, n=n, discordant=0.15, effect=effect)
        return test(evidence(kind, differences, generator), margin)

    assert rejections(experiment) >= LEAST_FOUND


@pytest.mark.parametrize("effect", ["clusters", "items alone"])
def test_items_in_documents_are_no_independent_items(effect):
    """60 documents of ten like items: drawn as documents the level holds, as items it does not."""

    def experiment(generator):
        values = np.repeat(generator.normal(0, 1, 60), 10) + generator.normal(0, 0.3, 600)
        clusters = np.repeat(np.arange(60), 10) if effect == "clusters" else np.arange(600)
        found = clustered_bootstrap(values, np.ones(600), clusters, draws=200, generator=generator)
        return one_sided_p(found, null=0.0, side="greater")

    false = rejections(experiment)
    assert false <= MOST_FALSE if effect == "clusters" else false > 2 * MOST_FALSE


@pytest.mark.parametrize("num_seeds", [3, 6])
def test_the_level_holds_over_few_seeds_that_share_their_items(num_seeds):
    def experiment(generator):
        items, seeds = generator.normal(0, 0.1, 20), generator.normal(0, 0.3, num_seeds)
        per_seed = [(items + one, np.ones(20), np.arange(20)) for one in seeds]
        found = seeds_by_items_bootstrap(per_seed, draws=100, generator=generator)
        return one_sided_p(found, null=0.0, side="greater")

    assert rejections(experiment) <= MOST_FALSE


@pytest.mark.parametrize("test", ["mcnemar", "permutation", "paired t", "sign flip", "trend"])
def test_a_test_of_nothing_finds_no_more_than_its_level(test):
    def experiment(generator):
        noise = generator.standard_t(5, 24)
        match test:
            case "mcnemar":
                return mcnemar(*generator.integers(0, 2, (2, 60))).p
            case "permutation":
                clusters = np.repeat(np.arange(12), 2)
                return paired_permutation(noise, clusters, draws=199, generator=generator).p
            case "paired t":
                return paired_t(noise).p
            case "sign flip":
                return sign_flip(noise[:6]).p
            case _:
                return trend(np.arange(24), noise, draws=199, generator=generator).p

    assert rejections(experiment) <= MOST_FALSE


def test_a_falling_loss_is_no_oscillation():
    position = np.arange(1, 65)

    def experiment(generator):
        curve = 3 + 1.5 * position**-0.5 + generator.normal(0, 0.02, 64)
        return periodogram_peak(curve, draws=199, generator=generator).p

    assert rejections(experiment) <= MOST_FALSE
