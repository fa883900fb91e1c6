"""Facts about preferences: hand results, and scipy's count of pairs."""

import numpy as np
import pytest
import scipy.stats

from lmlab.metrics.preference import score_preferences


def test_ties_are_one_half_and_length_stands_beside():
    found = score_preferences(
        np.array([2.0, 1.0, 0.0, -3.0]),
        np.array([1.0, 1.0, 4.0, -5.0]),
        chosen_lengths=np.array([10, 4, 9, 7]),
        rejected_lengths=np.array([5, 4, 12, 9]),
    )
    assert found.margins.tolist() == [1, 0, -4, 2]
    assert found.values.tolist() == [1, 0.5, 0, 1]
    assert found.longer.tolist() == [1, 0.5, 0, 0]
    assert (found.accuracy, found.longer_accuracy) == (0.625, 0.375)
    assert found.mean_margin == -0.25


def test_before_training_every_pair_is_a_tie():
    rewards, lengths = np.zeros(7), np.arange(7)
    found = score_preferences(rewards, rewards, chosen_lengths=lengths, rejected_lengths=lengths)
    assert (found.accuracy, found.mean_margin) == (0.5, 0.0)


def test_the_accuracy_is_that_of_all_pairs_where_pairs_are_crossed():
    """Mann and Whitney's U counts the same wins, and ties one half."""
    generator = np.random.default_rng(0)
    chosen, rejected = generator.integers(0, 6, 30), generator.integers(0, 5, 40)
    one, two = (grid.ravel() for grid in np.meshgrid(chosen, rejected))
    found = score_preferences(one, two, chosen_lengths=two, rejected_lengths=one)
    u = scipy.stats.mannwhitneyu(chosen, rejected).statistic
    assert found.accuracy == pytest.approx(u / 1_200)
    assert found.longer_accuracy == pytest.approx(1 - u / 1_200)


def test_unsigned_lengths_are_subtracted_as_numbers():
    one, two = np.array([3], np.uint16), np.array([5], np.uint16)
    found = score_preferences(one, two, chosen_lengths=one, rejected_lengths=two)
    assert (found.margins.tolist(), found.longer.tolist()) == ([-2], [0])


def test_a_score_that_is_no_number_is_an_error():
    lengths = np.array([1, 2])
    with pytest.raises(ValueError, match="prove nothing"):
        score_preferences(
            np.array([1.0, np.nan]),
            np.zeros(2),
            chosen_lengths=lengths,
            rejected_lengths=lengths,
        )
