"""Facts about intervals, against scipy and closed forms."""

import numpy as np
import pytest
import scipy.stats

from lmlab.metrics import stats
from lmlab.metrics.stats import (
    SeedBank,
    bootstrap_ratio,
    clopper_pearson,
    clustered_bootstrap,
    mean_over_seeds,
    rate_interval,
    seeds_by_items_bootstrap,
    wilson,
)


def documents(num: int = 60) -> tuple[np.ndarray, np.ndarray]:
    """NLL and token counts of documents of unequal length and difficulty."""
    generator = np.random.default_rng(7)
    tokens = generator.integers(5, 300, num)
    return tokens * generator.normal(4, 0.6, num), tokens


@pytest.mark.parametrize("level", [0.8, 0.95])
def test_the_bootstrap_of_a_perplexity_is_scipys(level):
    nll, tokens = documents()
    interval = bootstrap_ratio(
        nll, tokens, draws=20_000, generator=np.random.default_rng(0), level=level, transform=np.exp
    )
    theirs = scipy.stats.bootstrap(
        (nll, tokens),
        lambda a, b, axis: np.exp(a.sum(axis) / b.sum(axis)),
        paired=True,
        vectorized=True,
        n_resamples=20_000,
        confidence_level=level,
        method="percentile",
        rng=np.random.default_rng(1),
    ).confidence_interval
    assert interval.low == pytest.approx(theirs.low, rel=5e-3)
    assert interval.high == pytest.approx(theirs.high, rel=5e-3)


def test_documents_are_drawn_whole():
    """One document of 1,000 tokens and one of 10: draws hold either, both, or one twice."""
    nll, tokens = np.array([1000.0, 30.0]), np.array([1000, 10])
    interval = bootstrap_ratio(nll, tokens, draws=2_000, generator=np.random.default_rng(0))
    assert (interval.low, interval.high) == (1.0, 3.0)


def test_the_interval_of_a_mean_is_the_normal_one():
    values = np.random.default_rng(2).normal(3, 1, 400)
    interval = bootstrap_ratio(
        values, np.ones(400), draws=20_000, generator=np.random.default_rng(0)
    )
    half = 1.96 * values.std() / 20
    assert interval.low == pytest.approx(values.mean() - half, abs=0.06 * half)
    assert interval.high == pytest.approx(values.mean() + half, abs=0.06 * half)


def test_drawing_in_chunks_changes_nothing_but_the_memory(monkeypatch):
    nll, tokens = documents()
    whole = bootstrap_ratio(nll, tokens, draws=5_000, generator=np.random.default_rng(0))
    monkeypatch.setattr(stats, "CHUNK", 64 * nll.size)
    parts = bootstrap_ratio(nll, tokens, draws=5_000, generator=np.random.default_rng(0))
    assert parts == whole


def test_a_draw_without_a_denominator_is_an_error():
    given = {"draws": 100, "generator": np.random.default_rng(0)}
    with pytest.raises(ValueError, match="a draw came out with none"):
        bootstrap_ratio(np.ones(3), np.array([0, 0, 5]), **given)
    with pytest.raises(ValueError, match="not all zero"):
        bootstrap_ratio(np.ones(3), np.zeros(3), **given)


@pytest.mark.parametrize("level", [0.9, 0.95, 0.99])
@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (1, 1), (444, 872), (3, 4000)])
def test_wilson_is_scipys(successes, n, level):
    interval = wilson(successes, n, level=level)
    test = scipy.stats.binomtest(successes, n)
    theirs = test.proportion_ci(confidence_level=level, method="wilson")
    assert interval.low == pytest.approx(theirs.low, abs=1e-12)
    assert interval.high == pytest.approx(theirs.high, abs=1e-12)


def test_wilson_refuses_what_is_no_rate():
    for successes, n in ((0, 0), (5, 4), (-1, 4)):
        with pytest.raises(ValueError, match="no rate"):
            wilson(successes, n)


def test_a_constant_gap_per_token_is_found_without_any_doubt():
    nll, tokens = documents()
    generator = np.random.default_rng(0)
    gap = nll - (nll + 0.1 * tokens)
    found = clustered_bootstrap(gap, tokens, np.arange(gap.size), draws=500, generator=generator)
    assert found.estimate == pytest.approx(-0.1)
    assert (found.interval.low, found.interval.high) == pytest.approx((-0.1, -0.1))


def test_pairing_removes_what_makes_a_document_hard_for_both():
    nll, tokens = documents()
    noise = np.random.default_rng(8).normal(0.05, 0.05, nll.size) * tokens
    each, given = np.arange(nll.size), {"draws": 4_000, "generator": np.random.default_rng(0)}
    paired = clustered_bootstrap(noise, tokens, each, **given)
    alone = clustered_bootstrap(nll, tokens, each, **given)
    assert 0 < paired.interval.low < paired.estimate < paired.interval.high
    widths = [one.interval.high - one.interval.low for one in (paired, alone)]
    assert widths[0] < widths[1] / 5


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize(("successes", "n"), [(0, 10), (10, 10), (3, 12), (444, 872)])
def test_clopper_pearson_is_made_of_beta_quantiles(successes, n, level):
    interval, tail = clopper_pearson(successes, n, level=level), (1 - level) / 2
    beta = scipy.stats.beta
    low = beta.ppf(tail, successes, n - successes + 1) if successes else 0.0
    high = beta.isf(tail, successes + 1, n - successes) if successes < n else 1.0
    assert (interval.low, interval.high) == pytest.approx((low, high), abs=1e-9)


def test_ten_of_ten_is_not_certain():
    assert rate_interval(10, 10).low == pytest.approx(0.69, abs=0.005)
    assert rate_interval(0, 10).high == pytest.approx(0.31, abs=0.005)
    assert wilson(10, 10).low == pytest.approx(0.72, abs=0.005)


def test_a_rate_is_exact_below_forty_trials():
    assert rate_interval(20, 39) == clopper_pearson(20, 39)
    assert rate_interval(20, 40) == wilson(20, 40)


def clustered(num: int = 12, seed: int = 3) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Values, weights and cluster names of items in clusters of unequal size, in no order."""
    generator = np.random.default_rng(seed)
    codes = generator.permutation(np.repeat(np.arange(num), generator.integers(1, 9, num)))
    weights = generator.integers(1, 30, codes.size)
    hard = generator.normal(3, 1, num)[codes]
    values = weights * (hard + generator.normal(0, 0.3, codes.size))
    return values, weights, np.array([f"document {code}" for code in codes])


def test_a_clustered_bootstrap_is_what_a_slow_loop_finds():
    values, weights, clusters = clustered()
    found = clustered_bootstrap(
        values, weights, clusters, draws=40_000, generator=np.random.default_rng(0)
    )
    generator, names, slow = np.random.default_rng(1), sorted(set(clusters)), []
    for _ in range(4_000):
        drawn = generator.choice(names, len(names) - 1)
        above = sum(values[clusters == name].sum() for name in drawn)
        slow.append(above / sum(weights[clusters == name].sum() for name in drawn))
    assert found.estimate == pytest.approx(values.sum() / weights.sum())
    assert found.units == 12
    assert found.error == pytest.approx(np.std(slow), rel=0.05)
    quantiles = [0.05, 0.5, 0.95]
    assert np.quantile(found.draws, quantiles) == pytest.approx(np.quantile(slow, quantiles), 0.02)


def test_the_bootstrap_of_items_is_the_standard_error_of_their_mean():
    values = np.random.default_rng(2).normal(3, 1, 400)
    found = clustered_bootstrap(
        values, np.ones(400), np.arange(400), draws=20_000, generator=np.random.default_rng(0)
    )
    closed = scipy.stats.t.interval(0.95, 399, values.mean(), scipy.stats.sem(values))
    assert (found.interval.low, found.interval.high) == pytest.approx(closed, abs=0.005)
    theirs = scipy.stats.bootstrap((values,), np.mean, n_resamples=20_000, rng=1)
    assert found.error == pytest.approx(theirs.standard_error, rel=0.03)
    percentile = np.quantile(found.draws, [0.025, 0.975])
    assert percentile == pytest.approx(theirs.confidence_interval, abs=0.01)


def test_the_error_over_four_documents_is_not_too_small():
    """Drawing four of four would make it √(3/4) of what it is."""
    values = np.array([0.1, 0.4, 0.2, 0.9])
    found = clustered_bootstrap(
        values, np.ones(4), np.arange(4), draws=40_000, generator=np.random.default_rng(0)
    )
    assert found.error == pytest.approx(scipy.stats.sem(values), rel=0.02)


def test_repeating_the_items_of_a_document_adds_no_evidence():
    values, names = np.random.default_rng(4).normal(0, 1, 50), np.arange(50)
    once, ten = (
        clustered_bootstrap(
            np.repeat(values, times),
            np.ones(50 * times),
            np.repeat(names, times),
            draws=2_000,
            generator=np.random.default_rng(0),
        )
        for times in (1, 10)
    )
    assert ten.error == pytest.approx(once.error)
    assert ten.interval.high == pytest.approx(once.interval.high)


def test_drawing_clusters_in_chunks_changes_nothing_but_the_memory(monkeypatch):
    given = clustered()
    whole = clustered_bootstrap(*given, draws=1_000, generator=np.random.default_rng(0))
    monkeypatch.setattr(stats, "CHUNK", 12 * 7)
    parts = clustered_bootstrap(*given, draws=1_000, generator=np.random.default_rng(0))
    assert (parts.draws == whole.draws).all()


def test_the_interval_covers_the_truth_for_few_clusters_too():
    """A percentile interval over six documents covers .85, not .95 (4,000 simulations)."""
    generator, hits, runs = np.random.default_rng(5), 0, 500
    for _ in range(runs):
        values = np.repeat(generator.normal(1, 1, 6), 4)
        interval = clustered_bootstrap(
            values, np.ones(24), np.repeat(np.arange(6), 4), draws=300, generator=generator
        ).interval
        hits += interval.low <= 1 <= interval.high
    assert hits >= scipy.stats.binom.ppf(0.001, runs, 0.95)


def test_what_cannot_be_drawn_from_is_refused():
    generator = np.random.default_rng(0)
    with pytest.raises(ValueError, match="one cluster"):
        clustered_bootstrap(np.ones(3), np.ones(3), np.zeros(3), draws=10, generator=generator)
    with pytest.raises(ValueError, match="too few items have a weight"):
        clustered_bootstrap(
            np.ones(3), np.array([0, 0, 1]), np.arange(3), draws=99, generator=generator
        )
    with pytest.raises(ValueError, match="no numbers"):
        clustered_bootstrap(
            np.array([1, np.nan]), np.ones(2), np.arange(2), draws=9, generator=generator
        )
    with pytest.raises(ValueError, match="one seed says nothing"):
        seeds_by_items_bootstrap([clustered()], draws=10, generator=generator)


def seeds_on_the_same_items(
    num_seeds: int, *, seed_sd: float, item_sd: float, seed: int
) -> list[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """200 items, as hard for one seed as for another, and seeds that are better or worse."""
    generator = np.random.default_rng(seed)
    items = generator.normal(0, item_sd, 200)
    means = generator.normal(0, seed_sd, num_seeds)
    return [(items + mean, np.ones(200), np.arange(200)) for mean in means]


@pytest.mark.parametrize(("seed_sd", "item_sd"), [(0.1, 0.0), (0.0, 2.0), (0.1, 2.0)])
def test_seeds_and_items_both_add_to_the_error(seed_sd, item_sd):
    """Items that all seeds share do not average out over the seeds."""
    per_seed = seeds_on_the_same_items(8, seed_sd=seed_sd, item_sd=item_sd, seed=6)
    found = seeds_by_items_bootstrap(per_seed, draws=20_000, generator=np.random.default_rng(0))
    values = np.stack([one for one, _, _ in per_seed])
    variance = values.mean(1).var(ddof=1) / 8 + values.mean(0).var(ddof=1) / 200
    assert found.estimate == pytest.approx(values.mean())
    assert found.error == pytest.approx(variance**0.5, rel=0.08)
    assert found.units == 8


def test_the_bank_is_what_a_slow_loop_over_seeds_and_documents_finds():
    names, generator = [f"document {code}" for code in range(12)], np.random.default_rng(1)
    per_seed = []
    for seed in range(5):
        values, weights, clusters = clustered()
        per_seed.append((values + weights * 0.3 * seed, weights, clusters))
    found = seeds_by_items_bootstrap(per_seed, draws=20_000, generator=np.random.default_rng(0))
    slow = []
    for _ in range(3_000):
        drawn = generator.choice(names, 11)
        scores = []
        for seed in generator.integers(0, 5, 4):
            values, weights, clusters = per_seed[seed]
            rows = np.concatenate([np.flatnonzero(clusters == name) for name in drawn])
            scores.append(values[rows].sum() / weights[rows].sum())
        slow.append(np.mean(scores))
    assert found.draws.mean() == pytest.approx(np.mean(slow), abs=0.03)
    assert found.error == pytest.approx(np.std(slow), rel=0.08)


def test_a_bank_is_fed_seed_by_seed_and_in_any_order_of_items():
    per_seed = seeds_on_the_same_items(4, seed_sd=0.1, item_sd=1.0, seed=8)
    whole = seeds_by_items_bootstrap(per_seed, draws=500, generator=np.random.default_rng(0))
    generator = np.random.default_rng(0)
    bank = SeedBank(np.arange(200), entries=stats.ENTRIES, generator=generator)
    for place, (values, weights, clusters) in enumerate(per_seed):
        order = np.random.default_rng(place).permutation(200)
        bank.add(values[order], weights[order], clusters[order])
    streamed = bank.bootstrap(draws=500, generator=generator)
    assert streamed.draws == pytest.approx(whole.draws)
    assert streamed.interval.low == pytest.approx(whole.interval.low)


def test_a_bank_refuses_items_that_it_was_not_made_for():
    bank = SeedBank(np.array(["a", "b"]), entries=10, generator=np.random.default_rng(0))
    with pytest.raises(ValueError, match="items of c"):
        bank.add(np.ones(2), np.ones(2), np.array(["a", "c"]))


def test_the_mean_over_seeds_has_students_interval():
    values = np.array([0.71, 0.74, 0.69])
    mean, interval = mean_over_seeds(values)
    closed = scipy.stats.t.interval(0.95, 2, values.mean(), scipy.stats.sem(values))
    assert mean == pytest.approx(values.mean())
    assert (interval.low, interval.high) == pytest.approx(closed)
    with pytest.raises(ValueError, match="at least 2"):
        mean_over_seeds(np.array([0.7]))
