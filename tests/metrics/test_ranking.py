"""Facts about rankings: order, corrected p, and ties."""

import numpy as np
import pytest

from lmlab.metrics.ranking import rank_arms


def test_arms_are_ranked_and_ties_stay_together():
    generator = np.random.default_rng(1)
    items = generator.normal(0, 1, 200)
    scores = {
        arm: items + shift + generator.normal(0, 0.3, 200)
        for arm, shift in {"e": 0.0, "pi": 0.5, "phi": 0.5, "prng": -0.5}.items()
    }
    given = {"alpha": 0.05, "draws": 1_999, "generator": generator}
    ranked = rank_arms(scores, better="higher", **given)
    assert {ranked[0].arm, ranked[1].arm} == {"pi", "phi"}
    assert [one.arm for one in ranked[2:]] == ["e", "prng"]
    assert [one.group for one in ranked] == [1, 1, 2, 3]
    assert ranked[0].p_above is None
    assert ranked[1].p_above == ranked[1].p_best > 0.05
    # Five tests (three neighbours, two more against the best), each p 1/2000 at the least.
    assert ranked[3].p_best == pytest.approx(5 / 2000)
    lower = rank_arms(scores, better="lower", **given)
    assert lower[0].arm == "prng"


def test_three_seeds_rank_nothing():
    scores = {arm: np.array([0.70, 0.71, 0.72]) + gap for arm, gap in (("a", 0.0), ("b", 0.1))}
    generator = np.random.default_rng(0)
    best, other = rank_arms(scores, better="higher", alpha=0.05, draws=999, generator=generator)
    assert (best.arm, other.p_best, other.group) == ("b", 0.25, 1)
