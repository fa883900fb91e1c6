"""Arms in order, with what is known of that order; no torch."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Literal


@dataclass(frozen=True)
class Ranked:
    """An arm's place: corrected p against the next arm above it and against the best.

    Neighbours in one group are not told apart; the first of a group differs from the arm above.
    """

    arm: str
    score: float
    group: int
    p_above: float | None
    p_best: float | None


def in_order(scores: Mapping[str, float], *, better: Literal["higher", "lower"]) -> list[str]:
    """The arms from best to worst; of equal ones by name."""
    sign = -1 if better == "higher" else 1
    return sorted(scores, key=lambda arm: (sign * scores[arm], arm))


def contests(order: Sequence[str]) -> list[tuple[str, str]]:
    """What an order rests on: each arm against the one above it, and against the best."""
    neighbours = [(arm, above) for above, arm in pairwise(order)]
    return list(dict.fromkeys([*neighbours, *((arm, order[0]) for arm in order[1:])]))


def rank_arms(
    scores: Mapping[str, float],
    p: Mapping[tuple[str, str], float],
    *,
    better: Literal["higher", "lower"],
    alpha: float,
) -> list[Ranked]:
    """Arms from best to worst; `p` is that of their `contests`, corrected."""
    ranked, group = [], 1
    order = in_order(scores, better=better)
    for place, arm in enumerate(order):
        above = p[arm, order[place - 1]] if place else None
        group += above is not None and above <= alpha
        best = p[arm, order[0]] if place else None
        ranked.append(Ranked(arm, scores[arm], group, above, best))
    return ranked
