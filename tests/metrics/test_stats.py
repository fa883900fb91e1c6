"""Facts about intervals, against scipy and closed forms."""

import numpy as np
import pytest
import scipy.stats

from lmlab.metrics import stats
from lmlab.metrics.stats import bootstrap_ratio, paired_bootstrap, wilson


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
    difference = paired_bootstrap(
        nll, nll + 0.1 * tokens, counts=tokens, draws=500, generator=np.random.default_rng(0)
    )
    assert difference.value == pytest.approx(-0.1)
    assert difference.interval.low == pytest.approx(-0.1)
    assert difference.interval.high == pytest.approx(-0.1)


def test_pairing_removes_what_makes_a_document_hard_for_both():
    nll, tokens = documents()
    noise = np.random.default_rng(8).normal(0.05, 0.05, nll.size)
    given = {"draws": 4_000, "generator": np.random.default_rng(0)}
    paired = paired_bootstrap(nll + noise * tokens, nll, counts=tokens, **given)
    alone = bootstrap_ratio(nll, tokens, **given)
    assert 0 < paired.interval.low < paired.value < paired.interval.high
    assert paired.interval.high - paired.interval.low < (alone.high - alone.low) / 5
