"""All arms of runs in order, by their scores on the items that every one of them has."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, Literal

from lmlab.engine.presets import nearest
from lmlab.engine.run import Run
from lmlab.evidence.comparison.arms import Arm, group_by_seed, in_all, read_arms
from lmlab.evidence.comparison.compare import Asked, Comparison, compare_arms, correct, said
from lmlab.evidence.comparison.effect import Method, score
from lmlab.metrics.ranking import Ranked, contests, in_order, rank_arms


@dataclass(frozen=True)
class Ranking:
    """Arms, by label, under one metric and condition; each contest is an arm against another.

    `n` items have a score in all of them; of one arm up to `left_out` more are not counted.
    """

    metric: str
    at: Mapping[str, Any]
    better: Literal["higher", "lower"]
    scores: Mapping[str, float]
    contests: Mapping[tuple[str, str], Comparison]
    n: int
    left_out: int

    def ranked(self, *, alpha: float) -> list[Ranked]:
        """Best first."""
        p = {key: one.p_corrected for key, one in self.contests.items()}
        return rank_arms(self.scores, p, better=self.better, alpha=alpha)


@dataclass(frozen=True)
class Rankings:
    """The contests of all of them are one family; `refused` says why others are not ranked."""

    asked: Asked
    found: tuple[Ranking, ...]
    refused: tuple[str, ...]


def rank_runs(runs: Sequence[Run], asked: Asked) -> Rankings:
    """One ranking a metric and condition. Raises ValueError where there is none at all."""
    if asked.baseline is not None or asked.unpaired:
        raise ValueError("a ranking pairs all arms: leave out --baseline and --unpaired")
    found, refused = [], []
    for arms in _places(runs, asked):
        try:
            found.append(_rank(arms, asked.method))
        except ValueError as why:
            # Incomparable, or too little: the statistics name what they lack.
            refused.append(f"{len(arms)} arms ({said(arms[0])}): {why}")
    if not found:
        why = "; ".join(refused) or "no two arms share a metric under the same conditions"
        raise ValueError(f"nothing to rank: {why}")
    family = iter(correct([c for one in found for c in one.contests.values()], asked.correction))
    told = [replace(one, contests={key: next(family) for key in one.contests}) for one in found]
    return Rankings(asked, tuple(told), tuple(refused))


def _places(runs: Sequence[Run], asked: Asked) -> list[list[Arm]]:
    """Arms that share metric and conditions, where there are several."""
    groups = group_by_seed(list(dict.fromkeys(runs)))
    every = [one for group in groups for one in read_arms(group, metric=asked.metric)]
    chosen = [one for one in every if asked.arm in (None, one.name)]
    if not chosen:
        names = sorted({one.name for one in every})
        raise ValueError(f"no arm {asked.arm!r}{nearest(str(asked.arm), names)}")
    found: dict[tuple[str, str], list[Arm]] = {}
    for one in chosen:
        found.setdefault(one.place, []).append(one)
    return [arms for arms in found.values() if len(arms) > 1]


def _rank(arms: Sequence[Arm], method: Method) -> Ranking:
    common = in_all([one.items.scored for one in arms])
    if not len(common[0]):
        raise ValueError("no item has a score in all of them: choose with --arm, or fewer runs")
    on_common = {
        arm.label: replace(arm, items=items) for arm, items in zip(arms, common, strict=True)
    }
    scores = {label: score(one.items) for label, one in on_common.items()}
    better = arms[0].records[0].better
    return Ranking(
        metric=arms[0].metric,
        at=arms[0].at,
        better=better,
        scores=scores,
        contests={
            (arm, other): compare_arms(on_common[arm], on_common[other], method)
            for arm, other in contests(in_order(scores, better=better))
        },
        n=len(common[0]),
        left_out=max(len(one.items) for one in arms) - len(common[0]),
    )
