"""The arms of several runs with the items behind them; runs that differ in seed alone are one."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import yaml
from jaxtyping import Bool, Float64, Shaped

from lmlab.engine.items import read_items
from lmlab.engine.presets import nearest
from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.evidence.gates.selection import at_key

# What items are called whose record is exp of their mean, and what the record is called.
RECORDED_AS = {"nll_per_word": "word_perplexity", "nll_per_byte": "byte_perplexity"}
RECORDED_AS |= {"nll": "perplexity"}
_OF_ITEMS = ("seed", "item_id", "cluster_id", "value", "weight", "error")
_COLUMNS = ("part", "arm", "metric", "at", "seed", "item_id", "cluster_id")


@dataclass(frozen=True)
class Items:
    """Columns of the same length; a value is NaN where the item failed, and `errors` says why."""

    seeds: Shaped[np.ndarray, "items"]
    ids: Shaped[np.ndarray, "items"]
    clusters: Shaped[np.ndarray, "items"]
    values: Float64[np.ndarray, "items"]
    weights: Float64[np.ndarray, "items"]
    errors: Shaped[np.ndarray, "items"]

    def take(self, chosen: Shaped[np.ndarray, "chosen"]) -> "Items":
        """These rows, by number or by a mask."""
        return Items(*(column[chosen] for column in vars(self).values()))

    @property
    def scored(self) -> "Items":
        """Those that have a value."""
        return self.take(np.isfinite(self.values))

    def __len__(self) -> int:
        return self.ids.size


@dataclass(frozen=True)
class Arm:
    """Items of one metric of an arm under one condition, of one run or of its seeds.

    The name is the arm's, with its part before it where several parts of a run have such an arm.
    `records` are those that say under which protocol, and on which data, the items were scored.
    """

    runs: tuple[str, ...]
    name: str
    metric: str
    at: Mapping[str, Any]
    items: Items
    records: tuple[Record, ...]

    @property
    def label(self) -> str:
        """`study/run: arm`, with the number of runs where there are several."""
        first, *others = self.runs
        more = f" and {len(others)} other seeds" if others else ""
        return f"{first}{more}: {self.name}"

    @property
    def place(self) -> tuple[str, str]:
        """What two arms must share to be compared."""
        return self.metric, at_key(self.at)


def group_by_seed(runs: Sequence[Run]) -> list[tuple[Run, ...]]:
    """Runs whose configurations differ in the seed alone, together; all others each apart."""
    groups: dict[str, list[tuple[Any, Run]]] = {}
    for run in runs:
        config = yaml.safe_load(run.config_path.read_text(encoding="utf-8"))
        seed = config.pop("seed", None)
        groups.setdefault(json.dumps(config, sort_keys=True, default=str), []).append((seed, run))
    found: list[tuple[Run, ...]] = []
    for group in groups.values():
        members = tuple(run for _, run in group)
        # The same seed again is a repetition, not another seed.
        distinct = len({seed for seed, _ in group}) == len(group)
        found += [members] if distinct else [(run,) for run in members]
    return found


def read_arms(runs: Sequence[Run], *, metric: str | None = None) -> list[Arm]:
    """Every arm of a run, or of runs that differ in seed alone. Raises for no item of `metric`."""
    columns: dict[str, list[np.ndarray]] = {}
    for run in runs:
        for name, values in _read_items(run).items():
            columns.setdefault(name, []).append(values)
    found = {name: np.concatenate(parts) for name, parts in columns.items()}
    names = sorted(set(found["metric"]))
    if metric is not None and metric not in names:
        raise ValueError(f"{runs[0].reference} has no items of {metric!r}{nearest(metric, names)}")
    records = [record for run in runs for record in run.results().records()]
    references = tuple(run.reference for run in runs)
    return [one for one in _arms(found, records, references) if metric in (None, one.metric)]


def _read_items(run: Run) -> dict[str, np.ndarray]:
    """All items of the run's own evaluation by column, `at` written in one way."""
    paths = sorted((run.results().folder / "items").glob("*.parquet"))
    if not paths:
        raise ValueError(f"{run.reference} has no items, so nothing of it can be paired")
    frames = [read_items(path) for path in paths]
    found = {
        name: np.concatenate([frame[name].to_numpy(object) for frame in frames])
        for name in (*_COLUMNS, "error")
    }
    for name in ("value", "weight"):
        found[name] = np.concatenate([frame[name].to_numpy(np.float64) for frame in frames])
    written = {text: at_key(json.loads(text)) for text in set(found["at"])}
    found["at"] = np.array([written[text] for text in found["at"]], object)
    failed = np.array([isinstance(error, str) for error in found["error"]], bool)
    found["value"] = np.where(failed, np.nan, found["value"])
    _check_distinct(run, found)
    return found


def _check_distinct(run: Run, found: Mapping[str, np.ndarray]) -> None:
    names = [name for name in _COLUMNS if name != "cluster_id"]
    seen: set[tuple[object, ...]] = set()
    for key in zip(*(found[name] for name in names), strict=True):
        if key in seen:
            said = ", ".join(f"{name} {value}" for name, value in zip(names, key, strict=True))
            raise ValueError(f"{run.reference} has an item twice: {said}")
        seen.add(key)


def _arms(
    found: Mapping[str, np.ndarray], records: Sequence[Record], runs: tuple[str, ...]
) -> Iterator[Arm]:
    rows: dict[tuple[str, str, str], dict[str, list[int]]] = {}
    keys = zip(found["arm"], found["metric"], found["at"], strict=True)
    for number, (key, part) in enumerate(zip(keys, found["part"], strict=True)):
        rows.setdefault(key, {}).setdefault(part, []).append(number)
    for (arm, metric, at), by_part in rows.items():
        for part, chosen in by_part.items():
            items = Items(*(found[column][chosen] for column in _OF_ITEMS))
            beside = [
                one for one in records if (one.arm, one.part, at_key(one.at)) == (arm, part, at)
            ]
            own = [one for one in beside if one.metric in (metric, RECORDED_AS.get(metric))]
            if not beside:
                raise ValueError(
                    f"{runs[0]} has items of {arm} ({metric}, {at}) but no record that says under "
                    "which protocol they were scored"
                )
            name = arm if len(by_part) == 1 else f"{part}: {arm}"
            yield Arm(runs, name, metric, json.loads(at), items, tuple(own or beside))


def pair(arm: Items, baseline: Items) -> tuple[Bool[np.ndarray, "items"], Shaped[np.ndarray, "n"]]:
    """Which items of the arm the baseline has too, and where, in the same order.

    Of one seed each they are paired by item alone, whatever the two seeds are.
    """
    ours, theirs = _keys([arm, baseline])
    places = {key: number for number, key in enumerate(theirs)}
    both = np.array([key in places for key in ours], bool)
    where = np.array([places[key] for key in ours if key in places], np.int64)
    return both, where


def in_all(sides: Sequence[Items]) -> list[Items]:
    """Of each side the items that all of them have, paired as `pair` does."""
    keys = _keys(sides)
    common = set(keys[0]).intersection(*keys[1:])
    masks = (np.array([key in common for key in own], bool) for own in keys)
    return [side.take(mask) for side, mask in zip(sides, masks, strict=True)]


def _keys(sides: Sequence[Items]) -> list[list[Any]]:
    alike = all(len(set(side.seeds)) == 1 for side in sides)
    return [
        list(side.ids) if alike else list(zip(side.seeds, side.ids, strict=True)) for side in sides
    ]
