"""Result files in the forms that the source documents promise, rendered from records alone.

| file                | records: metric, at                             |
|---------------------|-------------------------------------------------|
| metrics.jsonl       | those of `SCORES`, at task (length, depth, ...) |
| system.csv          | those of `COSTS`, at length (and window, ...)   |
| positional_diag.csv | cosine_similarity, at offset                    |
| spectral_fft.csv    | magnitude, at frequency                         |
| niah_results.json   | accuracy, at task niah..., length and depth     |

A metric may have a place before it (`eval/accuracy`). The arm is the mode. A set of results without
such records has no such file.
"""

import csv
import io
import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from lmlab.engine.records import Record
from lmlab.engine.run import Run, write_text

# Metric -> the documents' field.
SCORES = {
    "accuracy": "accuracy",
    "exact_match": "em",
    "f1": "f1",
    "runtime_seconds": "runtime",
    "rougeL": "rouge",
    "perplexity": "ppl",
    "num_unparsable": "n_unparsable",
    "measured_tokens": "tokens_measured",
}
COSTS = {
    "vram_mb": "vram_mb",
    "tokens_per_second": "tokens_per_sec",
    "state_size": "state_size",
    "cache_bytes": "cache_bytes",
    "state_bytes": "state_bytes",
}
_OPTIONAL = ("rouge", "ppl")
_Row = dict[str, Record]


def write_exports(run: Run) -> list[Path]:
    """Make the files of every result set anew; those whose records are gone go too."""
    written = []
    for results in run.all_results():
        made = render(results.records())
        for name in FILES:
            path = results.folder / "exports" / name
            if name in made:
                write_text(results.export(name), made[name])
                written.append(path)
            else:
                path.unlink(missing_ok=True)
    return written


def render(records: Sequence[Record]) -> dict[str, str]:
    """File name -> its text, of those that the records give something for."""
    made = {name: make(records) for name, make in FILES.items()}
    return {name: text for name, text in made.items() if text is not None}


def _metrics(records: Sequence[Record]) -> str | None:
    rows = _rows([one for one in records if "task" in one.at], SCORES)
    return "".join(json.dumps(_score(row)) + "\n" for row in rows) or None


def _score(row: _Row) -> dict[str, Any]:
    """The document's fields, then ours; n, errors and interval are of the first score measured."""
    main = next(row[name] for name in SCORES.values() if name in row)
    value = {name: row[name].value if name in row else None for name in SCORES.values()}
    low, high = main.interval or (None, None)
    at = dict(main.at)
    return {
        "task": at.pop("task"),
        "length": at.pop("length", None),
        "depth": at.pop("depth", None),
        "mode": main.arm,
        **{name: value[name] for name in ("accuracy", "em", "f1")},
        "seed": main.seed,
        "runtime": value["runtime"],
        **{name: value[name] for name in _OPTIONAL if value[name] is not None},
        "run_id": main.run,
        "checkpoint_sha256": _hashes(main.weights),
        "data_sha256": _hashes(main.data),
        "protocol": _hashes({name: one.protocol_hash for name, one in row.items()}),
        "n": main.n,
        "n_error": main.n_error,
        "n_unparsable": value["n_unparsable"],
        "ci_low": low,
        "ci_high": high,
        "tokens_measured": value["tokens_measured"],
        "part": main.part,
        "training_step": main.training_step,
        "data_kind": main.data_kind,
        "dev": main.dev,
        **at,
    }


def _system(records: Sequence[Record]) -> str | None:
    columns = (
        "step", "length", "vram_mb", "tokens_per_sec", "window", "state_size", "cache_bytes",
        "state_bytes", "memory_kind", "mode", "seed",
    )  # fmt: skip
    rows = []
    for row in _rows([one for one in records if "length" in one.at], COSTS):
        main = next(iter(row.values()))
        cells: dict[str, Any] = {name: one.value for name, one in row.items()}
        about = {"step": main.training_step, "mode": main.arm, "seed": main.seed}
        rows.append([(dict(main.at) | cells | about).get(name) for name in columns])
    return _table(columns, rows)


def _positions(records: Sequence[Record]) -> str | None:
    curves = _curves(records, metric="cosine_similarity", along="offset")
    offsets = sorted({offset for curve in curves.values() for offset in curve})
    rows = [[offset, *(curve.get(offset) for curve in curves.values())] for offset in offsets]
    return _table(["offset", *(f"cosine_sim_{label}" for label in curves)], rows)


def _spectrum(records: Sequence[Record]) -> str | None:
    curves = _curves(records, metric="magnitude", along="frequency")
    points = [
        (frequency, magnitude, label)
        for label, curve in curves.items()
        for frequency, magnitude in sorted(curve.items())
    ]
    return _table(("freq", "magnitude", "mode"), points)


def _needles(records: Sequence[Record]) -> str | None:
    """Each by mode: the share of all items of a cell, a length or a depth, seeds pooled."""
    chosen = [
        one
        for one in _of(records, "accuracy")
        if str(one.at.get("task", "")).startswith("niah") and {"length", "depth"} <= one.at.keys()
    ]
    if not chosen:
        return None
    lengths: list[Any] = sorted({one.at["length"] for one in chosen})
    depths: list[Any] = sorted({one.at["depth"] for one in chosen})
    found: dict[str, Any] = {
        "lengths": lengths, "depths": depths,
        "accuracy_matrix": {}, "num_items": {}, "by_length": {}, "by_depth": {},
        "auc_by_length": {},
    }  # fmt: skip
    for label, group in _labelled(chosen, ("length", "depth", "seed")).items():
        cells = np.zeros((2, len(lengths), len(depths)))
        for one in group:
            place = lengths.index(one.at["length"]), depths.index(one.at["depth"])
            cells[(slice(None), *place)] += one.value * one.n, one.n
        matrix = [
            [_share(*cells[:, i, j]) for j in range(len(depths))] for i in range(len(lengths))
        ]
        found["accuracy_matrix"][label] = matrix
        found["num_items"][label] = cells[1].astype(int).tolist()
        found["by_length"][label] = _named(lengths, [_share(*one) for one in cells.sum(2).T])
        found["by_depth"][label] = _named(depths, [_share(*one) for one in cells.sum(1).T])
        areas = [_area(row, depths) for row in matrix]
        found["auc_by_length"][label] = _named(lengths, areas)
    return json.dumps(found, indent=1) + "\n"


def _area(accuracy: Sequence[float | None], depths: Sequence[float]) -> float | None:
    """Trapezoids over depth, by the range of depth; none where a depth was not measured."""
    if len(depths) < 2 or None in accuracy:
        return None
    return float(np.trapezoid(np.array(accuracy, float), depths) / (depths[-1] - depths[0]))


def _share(right: float, items: float) -> float | None:
    return float(right / items) if items else None


def _named(keys: Sequence[Any], values: Sequence[float | None]) -> dict[str, float | None]:
    return {str(key): value for key, value in zip(keys, values, strict=True)}


def _rows(records: Iterable[Record], names: Mapping[str, str]) -> list[_Row]:
    """Field -> record of one measurement; what has two protocols is a row for each of them."""
    groups: dict[str, list[tuple[str, Record]]] = {}
    for one in records:
        if (name := names.get(_plain(one))) is not None:
            same = [one.run, one.part, one.step, one.training_step, one.arm, dict(one.at)]
            same += [one.seed, dict(one.data), dict(one.weights)]
            groups.setdefault(json.dumps(same, sort_keys=True), []).append((name, one))
    rows: list[_Row] = []
    for group in groups.values():
        if len(dict(group)) == len(group):
            rows.append(dict(group))
            continue
        apart: dict[str, _Row] = {}
        for name, one in group:
            apart.setdefault(one.protocol_hash, {})[name] = one
        rows += apart.values()
    return rows


def _curves(
    records: Sequence[Record], *, metric: str, along: str
) -> dict[str, dict[int | float, float]]:
    """Mode -> place -> value."""
    chosen = [one for one in _of(records, metric) if along in one.at]
    return {
        label: {one.at[along]: one.value for one in group}  # type: ignore[misc]
        for label, group in _labelled(chosen, (along,)).items()
    }


def _labelled(records: Sequence[Record], axes: Sequence[str]) -> dict[str, list[Record]]:
    """By arm, and by whatever else but the axes differs between records of it, such as the seed."""
    arms: dict[str, list[tuple[dict[str, Any], Record]]] = {}
    for one in records:
        fields = {"part": one.part, "step": one.training_step, "seed": one.seed}
        about = {**one.at, **fields, "protocol": one.protocol_hash[:8]}
        arms.setdefault(one.arm, []).append((about, one))
    found: dict[str, list[Record]] = {}
    for arm, group in arms.items():
        keys = dict.fromkeys(key for about, _ in group for key in about if key not in axes)
        varying = [key for key in keys if len({about.get(key) for about, _ in group}) > 1]
        for about, one in group:
            pieces = [arm, *(f"{key}_{about.get(key)}" for key in varying)]
            label = re.sub(r"[^A-Za-z0-9.]+", "_", "_".join(pieces))
            found.setdefault(label, []).append(one)
    return found


def _of(records: Iterable[Record], metric: str) -> list[Record]:
    return [one for one in records if _plain(one) == metric]


def _plain(record: Record) -> str:
    """`accuracy` of `eval/accuracy`."""
    return record.metric.rpartition("/")[2]


def _hashes(named: Mapping[str, str]) -> str | None:
    """The only one there is, else each with its name."""
    distinct = set(named.values())
    if len(distinct) <= 1:
        return next(iter(distinct), None)
    return ", ".join(f"{name}={value}" for name, value in sorted(named.items()))


def _table(columns: Sequence[str], rows: Sequence[Sequence[Any]]) -> str | None:
    """An empty cell is not available, never 0."""
    if not rows:
        return None
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows(rows)
    return text.getvalue()


FILES: dict[str, Callable[[Sequence[Record]], str | None]] = {
    "metrics.jsonl": _metrics,
    "system.csv": _system,
    "positional_diag.csv": _positions,
    "spectral_fft.csv": _spectrum,
    "niah_results.json": _needles,
}
