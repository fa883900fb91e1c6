"""Arms in order, with what is known of that order; no torch."""

from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal

import numpy as np
from jaxtyping import Num

from lmlab.metrics.significance import holm, paired_permutation


@dataclass(frozen=True)
class Ranked:
    """An arm's place: corrected p against the next arm above it and against the best.

    Neighbours in one group are not told apart; the first of a group differs from the arm above.
    """

    arm: str
    mean: float
    group: int
    p_above: float | None
    p_best: float | None
    n: int


def rank_arms(
    scores: Mapping[str, Num[np.ndarray, "pairs"]],
    *,
    better: Literal["higher", "lower"],
    alpha: float,
    draws: int,
    generator: np.random.Generator,
) -> list[Ranked]:
    """Arms from best to worst, by their scores on the same items (or seeds), in the same order.

    Each is tested against the one above it and against the best by a paired permutation; Holm's
    correction runs over all of these.
    """
    sign = -1 if better == "higher" else 1
    order = sorted(scores, key=lambda arm: (sign * float(scores[arm].mean()), arm))
    asked = sorted({*pairwise(order), *((order[0], arm) for arm in order[1:])})
    found = [
        paired_permutation(scores[a] - scores[b], draws=draws, generator=generator).p
        for a, b in asked
    ]
    p = dict(zip(asked, holm(np.array(found)).tolist(), strict=True))
    ranked, group = [], 1
    for place, arm in enumerate(order):
        above, best = p.get((order[place - 1], arm)), p.get((order[0], arm))
        group += above is not None and above <= alpha
        mean = float(scores[arm].mean())
        ranked.append(Ranked(arm, mean, group, above, best, scores[arm].size))
    return ranked
