"""Facts about a choice among samples: against every set of samples, and against drawn ones."""

from collections import Counter
from collections.abc import Callable, Sequence
from itertools import combinations

import numpy as np
import pytest

from lmlab.metrics.best_of_n import best_of_n, majority_vote, pass_at_n, random_choice

ANSWERS = ("18", "20", "7", None)


def samples(items: int, m: int, *, seed: int) -> tuple[list[list[str | None]], np.ndarray]:
    """Answers of each item, a quarter of them none, and which are right ("18")."""
    generator = np.random.default_rng(seed)
    answers = [[ANSWERS[one] for one in row] for row in generator.integers(0, 4, (items, m))]
    return answers, np.array([[one == "18" for one in row] for row in answers])


def every_set(m: int, n: int, value: Callable[[Sequence[int]], float]) -> float:
    """The mean over all sets of n of m samples."""
    return float(np.mean([value(chosen) for chosen in combinations(range(m), n)]))


def best(correct: np.ndarray, scores: np.ndarray, chosen: Sequence[int]) -> float:
    top = max(scores[i] for i in chosen)
    return float(np.mean([correct[i] for i in chosen if scores[i] == top]))


def vote(answers: Sequence[str | None], chosen: Sequence[int]) -> float:
    votes = Counter(answers[i] for i in chosen if answers[i] is not None)
    winners = [one for one, count in votes.items() if count == max(votes.values())]
    return winners.count("18") / len(winners) if winners else 0.0


@pytest.mark.parametrize("n", [1, 2, 3, 5, 7])
def test_values_are_means_over_every_set_of_samples(n):
    m = 7
    answers, correct = samples(30, m, seed=n)
    # Few distinct scores: ties within the right, within the wrong, and across.
    scores = np.random.default_rng(n).integers(0, 4, correct.shape) / 3
    ours = best_of_n(correct, scores, n=n)
    passed = pass_at_n(correct, n=n)
    voted = majority_vote(answers, correct, n=n)
    for i in range(30):
        assert ours[i] == pytest.approx(
            every_set(m, n, lambda c, i=i: best(correct[i], scores[i], c))
        )
        any_right = every_set(m, n, lambda c, i=i: float(any(correct[i][k] for k in c)))
        assert passed[i] == pytest.approx(any_right)
        assert voted[i] == pytest.approx(every_set(m, n, lambda c, i=i: vote(answers[i], c)))


def test_a_perfect_verifier_gives_pass_at_n_and_never_falls():
    _, correct = samples(40, 16, seed=1)
    curve = []
    for n in range(1, 17):
        found = best_of_n(correct, correct.astype(float), n=n)
        np.testing.assert_allclose(found, pass_at_n(correct, n=n), atol=1e-12)
        curve.append(found)
    assert (np.diff(curve, axis=0) >= -1e-12).all()
    assert np.diff(np.mean(curve, axis=1)).min() > 0


def test_a_constant_verifier_is_flat_at_pass_at_one():
    _, correct = samples(40, 16, seed=2)
    for n in range(1, 17):
        found = best_of_n(correct, np.full(correct.shape, 0.3), n=n)
        np.testing.assert_allclose(found, random_choice(correct), atol=1e-12)
    np.testing.assert_allclose(random_choice(correct), pass_at_n(correct, n=1))


def test_a_verifier_that_is_always_wrong_is_below_a_random_choice():
    _, correct = samples(40, 16, seed=3)
    worst = best_of_n(correct, -correct.astype(float), n=8)
    assert worst.mean() < random_choice(correct).mean() < pass_at_n(correct, n=8).mean()


def test_one_answer_of_many_samples_has_the_closed_form():
    """One right of M: ranked k-th it is chosen in C(M-k, n-1) of C(M, n) sets."""
    correct = np.eye(4, dtype=bool)
    scores = np.tile([4.0, 3.0, 2.0, 1.0], (4, 1))
    assert best_of_n(correct, scores, n=2).tolist() == pytest.approx([3 / 6, 2 / 6, 1 / 6, 0])
    assert pass_at_n(correct, n=2).tolist() == pytest.approx([0.5] * 4)


def test_many_samples_neither_overflow_nor_cancel():
    """There are 10^329 sets of 550 of 1,100 samples, more than a float can hold."""
    correct = np.array([[True] * 30 + [False] * 1070])
    assert pass_at_n(correct, n=550)[0] == pytest.approx(1, abs=1e-8)
    assert best_of_n(correct, np.zeros((1, 1100)), n=550)[0] == pytest.approx(30 / 1100)
    # Two answers of equal frequency, one of them right.
    answers = [["1"] * 30 + ["2"] * 30 + [None] * 1040]
    assert majority_vote(answers, correct, n=550)[0] == pytest.approx(0.5)


def test_equal_votes_share_the_item():
    correct = np.array([[True, False, False], [False, False, False]])
    answers = [["18", "20", None], [None, None, None]]
    assert majority_vote(answers, correct, n=3).tolist() == [0.5, 0.0]


def test_more_than_there_are_cannot_be_drawn():
    answers, correct = samples(2, 4, seed=0)
    for n in (0, 5):
        with pytest.raises(ValueError, match=f"{n} of 4 samples"):
            pass_at_n(correct, n=n)
        with pytest.raises(ValueError, match=f"{n} of 4 samples"):
            majority_vote(answers, correct, n=n)
    with pytest.raises(ValueError, match="prove nothing"):
        best_of_n(correct, np.full((2, 4), np.nan), n=1)
