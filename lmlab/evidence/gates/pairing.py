"""Items of many runs, paired arm against baseline and summed by cluster as they are read.

Runs are read once, one at a time, for all gates. Of an item nothing stays but its part in the sums,
so that memory does not grow with the runs.
"""

import hashlib
import json
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from lmlab.evidence.gates.selection import Refused, ResultSet, Selection, at_key
from lmlab.evidence.gates.tally import Items, Tally, new_tally

_NAMED = ("arm", "at", "metric", "seed")
_NEEDED = (*_NAMED, "item_id", "cluster_id", "value")

# Metric, arm, conditions, seed.
Place = tuple[str, str, str, int]


def tally_items(selections: Sequence[Selection]) -> list[list[Tally]]:
    """For each gate a tally for each of its contrasts; `refused` says why one cannot be judged."""
    found = [
        [new_tally(one, arm, baseline) for arm, baseline in one.contrasts] for one in selections
    ]
    routes: dict[Path, dict[Place, list[Tally]]] = defaultdict(lambda: defaultdict(list))
    sources: dict[Path, ResultSet] = {}
    for tally in (tally for of_gate in found for tally in of_gate):
        for (arm, at, seed), group in tally.groups.items():
            place = (str(tally.selection.gate.metric), arm, at, seed)
            routes[group.source.folder][place].append(tally)
            sources[group.source.folder] = group.source
    numbers = _Numbers()
    # By seed: what belongs together but lies in several runs is then read soon after one another.
    for folder in sorted(routes, key=lambda one: (min(place[3] for place in routes[one]), one)):
        _deliver(sources[folder], routes[folder], numbers)
    for tally in (tally for of_gate in found for tally in of_gate):
        tally.finish()
    return found


def _deliver(source: ResultSet, routes: Mapping[Place, list[Tally]], numbers: "_Numbers") -> None:
    """Hand the items of one result set to the tallies that want them."""
    tallies = {id(one): one for wanting in routes.values() for one in wanting}.values()
    try:
        tables, digests = _read_tables(source, {place[0] for place in routes})
        for place, items in _groups(tables, routes, numbers):
            wrong = _wrong(items)
            for tally in routes[place]:
                if wrong:
                    tally.refuse(f"of {place[1]} under {place[2]}, seed {place[3]}, {wrong}")
                tally.receive(place, items)
    except Refused as refusal:
        for tally in tallies:
            tally.refuse(str(refusal))
        return
    for tally in tallies:
        tally.files |= digests


def _read_tables(source: ResultSet, metrics: set[str]) -> tuple[list[pa.Table], dict[str, str]]:
    """The item files that hold one of the metrics, and their hashes. Raises Refused."""
    tables, digests = [], {}
    for path in sorted((source.folder / "items").glob("*.parquet")):
        where = f"{path.relative_to(source.run.folder)} of {source.run.reference}"
        data = path.read_bytes()
        try:
            file = pq.ParquetFile(pa.BufferReader(data))
            names = set(file.schema_arrow.names)
            if missing := [name for name in _NEEDED if name not in names]:
                raise Refused(f"{where} has no column {', '.join(missing)}")
            if not metrics & set(file.read(["metric"])["metric"].unique().to_pylist()):
                continue
            columns = [*_NEEDED, *sorted({"weight", "error"} & names)]
            table = file.read(columns)
        except (pa.ArrowInvalid, OSError) as error:
            raise Refused(f"{where} cannot be read: {str(error).splitlines()[0]}") from error
        if empty := [name for name in _NEEDED[:-1] if table[name].null_count]:
            raise Refused(f"{where} has rows without {', '.join(empty)}")
        tables.append(table)
        digests[f"{source.run.reference}/{path.relative_to(source.run.folder)}"] = hashlib.sha256(
            data
        ).hexdigest()
    return tables, digests


def _groups(
    tables: Sequence[pa.Table], routes: Mapping[Place, list[Tally]], numbers: "_Numbers"
) -> Iterator[tuple[Place, Items]]:
    """The rows of each place that is wanted, wherever in the files they lie."""
    parts: dict[Place, list[pa.Table]] = defaultdict(list)
    for table in tables:
        for place, part in _split(table):
            if place in routes:
                parts[place].append(part)
    for place, found in parts.items():
        yield place, _items([_plain(one) for one in found], numbers)


def _split(table: pa.Table) -> Iterator[tuple[Place, pa.Table]]:
    code = np.zeros(table.num_rows, np.int64)
    names: list[list[str | int]] = []
    for column in _NAMED:
        encoded = table[column].combine_chunks().dictionary_encode()
        code = code * len(encoded.dictionary) + encoded.indices.to_numpy()
        names.append(encoded.dictionary.to_pylist())
    sizes = [len(one) for one in names]
    for one in np.unique(code):
        arm, at, metric, seed = (
            values[int(index)]
            for values, index in zip(names, np.unravel_index(one, sizes), strict=True)
        )
        place = (str(metric), str(arm), at_key(json.loads(str(at))), int(seed))
        rows = np.flatnonzero(code == one)
        together = rows[-1] - rows[0] == rows.size - 1
        yield place, table.slice(rows[0], rows.size) if together else table.take(rows)


@dataclass(frozen=True)
class _Plain:
    """Columns of plain types, whatever wrote them."""

    ids: pa.Array
    clusters: pa.Array
    values: np.ndarray
    weights: np.ndarray
    failed: np.ndarray


def _plain(table: pa.Table) -> _Plain:
    def numbers(name: str) -> np.ndarray:
        column = pc.cast(table[name], pa.float64())
        return column.to_numpy()

    def texts(name: str) -> pa.Array:
        return pc.cast(table[name], pa.large_string()).combine_chunks()

    there, ones = set(table.column_names), np.ones(table.num_rows)
    return _Plain(
        ids=texts("item_id"),
        clusters=texts("cluster_id"),
        values=numbers("value"),
        weights=numbers("weight") if "weight" in there else ones,
        failed=table["error"].is_valid().to_numpy() if "error" in there else ones == 0,
    )


def _items(found: Sequence[_Plain], numbers: "_Numbers") -> Items:
    return Items(
        ids=pa.concat_arrays([one.ids for one in found]),
        clusters=numbers.of(pa.concat_arrays([one.clusters for one in found])),
        values=np.concatenate([one.values for one in found]),
        weights=np.concatenate([one.weights for one in found]),
        failed=np.concatenate([one.failed for one in found]),
    )


def _wrong(items: Items) -> str | None:
    """What no sum should swallow."""
    if len(items.ids.unique()) < len(items.ids):
        counts = items.ids.value_counts().to_pylist()
        twice = next(one["values"] for one in counts if one["counts"] > 1)
        return f"item {twice} is there twice"
    bad = ~np.isfinite(items.values) & ~items.failed
    if bad.any():
        named = items.ids[int(bad.argmax())].as_py()
        return f"{int(bad.sum())} items, such as {named}, have no value and no error"
    if not (np.isfinite(items.weights).all() and (items.weights >= 0).all()):
        return "items have weights that are no positive numbers"
    return None


class _Numbers:
    """A number for each cluster's name; the same names again, as in most runs, cost nothing."""

    def __init__(self) -> None:
        self._known: dict[str, int] = {}
        self._last: tuple[pa.Array, np.ndarray] | None = None

    def of(self, names: pa.Array) -> np.ndarray:
        """The number of each name."""
        if self._last is not None and names.equals(self._last[0]):
            return self._last[1]
        encoded = names.dictionary_encode()
        texts = encoded.dictionary.to_pylist()
        own = np.array([self._known.setdefault(one, len(self._known)) for one in texts], np.int64)
        self._last = (names, own[encoded.indices.to_numpy()])
        return self._last[1]
