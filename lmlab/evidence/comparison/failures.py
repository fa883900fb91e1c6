"""Where arms fail: items that all of them fail, items that one alone fails, errors by message."""

import csv
import io
import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from lmlab.engine.run import Run, check_name, write_text
from lmlab.evidence.comparison.arms import Arm, group_by_seed, read_arms
from lmlab.evidence.tables import conditions, words

THRESHOLD = 0.5
_SHOWN = 8


@dataclass(frozen=True)
class Failure:
    """An item that an arm fails: its score is on the wrong side, or it has an error instead."""

    run: str
    arm: str
    metric: str
    at: Mapping[str, Any]
    seed: int
    item_id: str
    score: float | None
    error: str | None


@dataclass(frozen=True)
class Failures:
    """Failures of arms that were scored under one metric and condition; `n` items in all."""

    metric: str
    at: Mapping[str, Any]
    arms: tuple[str, ...]
    threshold: float
    n: int
    cases: tuple[Failure, ...]

    @property
    def by_all(self) -> tuple[str, ...]:
        """Items that every arm fails."""
        return tuple(item for item, arms in self._failing().items() if len(arms) == len(self.arms))

    @property
    def by_one(self) -> dict[str, tuple[str, ...]]:
        """arm -> items that it alone fails."""
        alone = {item: arms for item, arms in self._failing().items() if len(arms) == 1}
        return {
            arm: tuple(item for item, arms in alone.items() if arms == {arm}) for arm in self.arms
        }

    @property
    def errors(self) -> Counter[str]:
        """How often each message stands in place of a score."""
        return Counter(case.error for case in self.cases if case.error is not None)

    def _failing(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {}
        for case in self.cases:
            found.setdefault(case.item_id, set()).add(f"{case.run}: {case.arm}")
        return found


def find_failures(
    runs: Sequence[Run],
    *,
    metric: str | None = None,
    arm: str | None = None,
    threshold: float | None = None,
) -> list[Failures]:
    """One group a metric and condition. An item fails an arm if it does with any of its seeds.

    Without a threshold it is .5 for scores between 0 and 1, and a ValueError for any others.
    """
    arms = [one for group in group_by_seed(runs) for one in read_arms(group, metric=metric)]
    groups: dict[tuple[str, str], list[Arm]] = {}
    for one in arms:
        if arm in (None, one.name):
            groups.setdefault(one.place, []).append(one)
    return [_failures(group, threshold) for group in groups.values()]


def lines(found: Sequence[Failures]) -> list[str]:
    """For the terminal."""
    said = []
    for one in found:
        where = conditions(one.at)
        said.append(
            f"{words(one.metric)}{f', {where}' if where else ''}: {one.n} items; one fails on the "
            f"wrong side of {one.threshold:g}, or without a score"
        )
        for arm in one.arms:
            count = len({case.item_id for case in one.cases if f"{case.run}: {case.arm}" == arm})
            said.append(f"  {arm} fails {count} ({count / one.n:.1%})")
        if len(one.arms) > 1:
            said.append(f"  all arms fail {_named(one.by_all)}")
            said += [f"  only {arm} fails {_named(ids)}" for arm, ids in one.by_one.items() if ids]
        said += [
            f"  error x{count}: {message}" for message, count in one.errors.most_common(_SHOWN)
        ]
    return said


def write_failures(found: Sequence[Failures], run: Run, name: str) -> Path:
    """Every case as a row of `exports/<name>` of the run."""
    path = run.results().export(check_name(name))
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["metric", "at", "run", "arm", "seed", "item", "score", "error", "group"])
    for group in found:
        all_fail, alone = set(group.by_all), {item for ids in group.by_one.values() for item in ids}
        for case in group.cases:
            kind = "all" if case.item_id in all_fail else "one" if case.item_id in alone else "some"
            at = json.dumps(dict(case.at), sort_keys=True)
            place = (case.metric, at, case.run, case.arm, case.seed)
            writer.writerow([*place, case.item_id, case.score, case.error, kind])
    write_text(path, text.getvalue())
    return path


def _failures(arms: Sequence[Arm], threshold: float | None) -> Failures:
    first = arms[0]
    limit = _threshold(arms) if threshold is None else threshold
    items = {item for one in arms for item in one.items.ids}
    cases = [case for one in arms for case in _cases(one, limit)]
    labels = tuple(f"{one.runs[0]}: {one.name}" for one in arms)
    return Failures(first.metric, first.at, labels, limit, len(items), tuple(cases))


def _threshold(arms: Sequence[Arm]) -> float:
    scores = [one.items.scored.values / one.items.scored.weights for one in arms]
    low = min((float(one.min()) for one in scores if one.size), default=0.0)
    high = max((float(one.max()) for one in scores if one.size), default=1.0)
    if low < 0 or high > 1:
        raise ValueError(
            f"{arms[0].metric} lies between {low:.4g} and {high:.4g}: say from where on an item "
            "fails with --threshold, and which --metric"
        )
    return THRESHOLD


def _cases(arm: Arm, threshold: float) -> list[Failure]:
    items = arm.items
    with np.errstate(divide="ignore", invalid="ignore"):
        scores = items.values / items.weights
    higher = arm.records[0].better == "higher"
    wrong = scores < threshold if higher else scores > threshold
    found = np.flatnonzero(wrong | ~np.isfinite(scores))
    return [
        Failure(
            run=arm.runs[0],
            arm=arm.name,
            metric=arm.metric,
            at=arm.at,
            seed=int(items.seeds[i]),
            item_id=str(items.ids[i]),
            score=float(scores[i]) if np.isfinite(scores[i]) else None,
            error=None if np.isfinite(scores[i]) else str(items.errors[i] or "no score"),
        )
        for i in found
    ]


def _named(ids: Sequence[str]) -> str:
    if not ids:
        return "no item"
    more = f" and {len(ids) - _SHOWN} more" if len(ids) > _SHOWN else ""
    return f"{len(ids)}: {', '.join(ids[:_SHOWN])}{more}"
