"""What a choice among N samples is worth, exactly, from M >= N samples of each item.

Each value is the mean over all C(M, N) sets of N samples, without drawing any. Beside a verifier's
choice stand `pass_at_n`, which no choice can pass, the majority, and a random one.
"""

from collections import Counter
from collections.abc import Sequence
from math import comb

import numpy as np
from jaxtyping import Bool, Float, Float64
from scipy.stats import rankdata

from lmlab.metrics.stats import check_finite

Correct = Bool[np.ndarray, "items samples"]


def best_of_n(
    correct: Correct, scores: Float[np.ndarray, "items samples"], *, n: int
) -> Float64[np.ndarray, "items"]:
    """Each item's chance that the highest score among n of its samples is that of a right one.

    Sum over ranks k of correct(k) C(M-k, n-1) / C(M, n), which is the chance that rank k is the
    highest of those drawn; among equal scores the choice is random.
    """
    check_finite(scores)
    missed = _none_of(correct.shape[1], n)
    # One of the first k ranks is drawn with chance 1 - C(M-k, n) / C(M, n): the sum, closed.
    before = rankdata(-scores, method="min", axis=1).astype(np.int64) - 1
    upto = rankdata(-scores, method="max", axis=1).astype(np.int64)
    chosen = (missed[before] - missed[upto]) / (upto - before)
    return (correct * chosen).sum(1)


def pass_at_n(correct: Correct, *, n: int) -> Float64[np.ndarray, "items"]:
    """Each item's chance that n of its samples hold a right one (Chen et al. 2021, eq. 1)."""
    return 1 - _none_of(correct.shape[1], n)[correct.sum(1)]


def random_choice(correct: Correct) -> Float64[np.ndarray, "items"]:
    """Each item's share of right samples: pass@1, and what any choice without knowledge gives."""
    return correct.mean(1)


def majority_vote(
    answers: Sequence[Sequence[str | None]], correct: Correct, *, n: int
) -> Float64[np.ndarray, "items"]:
    """Each item's chance that the most frequent answer among n of its samples is right.

    A sample without an answer (None) has no vote; equal votes are settled at random.
    """
    _check_enough(correct.shape[1], n)
    return np.array([_vote(given, right, n) for given, right in zip(answers, correct, strict=True)])


def _none_of(samples: int, n: int) -> Float64[np.ndarray, "counts"]:
    """Chance that n of the samples hold none of k of them, by k."""
    _check_enough(samples, n)
    # Integers divided once: floats would overflow or cancel for many samples.
    return np.array([comb(samples - k, n) / comb(samples, n) for k in range(samples + 1)])


def _check_enough(samples: int, n: int) -> None:
    if not 1 <= n <= samples:
        raise ValueError(f"{n} of {samples} samples cannot be drawn; sample more, or lower N")


def _vote(answers: Sequence[str | None], correct: Bool[np.ndarray, "samples"], n: int) -> float:
    votes = Counter(one for one in answers if one is not None)
    right = {one for one, is_right in zip(answers, correct, strict=True) if is_right}
    assert None not in right, "a sample without an answer is right"
    wins, silent = Counter[int](), len(answers) - votes.total()
    for answer, count in votes.items():
        if answer in right:
            others = [votes[other] for other in votes if other != answer]
            for won in range(1, min(count, n) + 1):
                for tied, ways in _ways(others, silent, most=won, total=n - won).items():
                    wins[tied] += comb(count, won) * ways
    sets = comb(len(answers), n)
    return sum((ways / (sets * (1 + tied)) for tied, ways in wins.items()), start=0.0)


def _ways(others: Sequence[int], silent: int, *, most: int, total: int) -> Counter[int]:
    """Ways to draw `total` others, none with over `most` votes, by how many have just as many."""
    table = Counter({(0, 0): 1})
    for count in others:
        grown = Counter[tuple[int, int]]()
        for (drawn, tied), ways in table.items():
            for votes in range(min(count, most, total - drawn) + 1):
                grown[drawn + votes, tied + (votes == most)] += ways * comb(count, votes)
        table = grown
    found = Counter[int]()
    for (drawn, tied), ways in table.items():
        found[tied] += ways * comb(silent, total - drawn)
    return found
