"""What a sweep found, made from its cells' records: a table of all, and the best of each metric."""

import csv
import io
import json
import statistics
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from lmlab.engine.records import Record
from lmlab.engine.run import write_json, write_text
from lmlab.engine.steps import config_steps, evaluation_results
from lmlab.launch.grid import Cell

_SEED = "seed"
_MEASURED = ("arm", "metric", "at", "unit", "better", "value", "n", "n_error")
_COLUMNS = (*_MEASURED, "interval_low", "interval_high", "weights", "dev", "record")


def write_summary(folder: Path, cells: Sequence[Cell], states: Mapping[str, str]) -> None:
    """`sweep_results.csv` and `sweep_summary.json`, made anew from what is on disk."""
    found = {cell.name: _records(cell) for cell in cells}
    write_text(folder / "sweep_results.csv", _table(cells, states, found))
    write_json(
        folder / "sweep_summary.json",
        {
            "preset": cells[0].resolved.preset,
            "question": cells[0].resolved.question,
            "cells": [
                {"cell": one.name, "state": states[one.name], "settings": dict(one.settings)}
                for one in cells
            ],
            "best": best_settings([(cell, found[cell.name]) for cell in cells]),
        },
    )


def best_settings(found: Sequence[tuple[Cell, Sequence[Record]]]) -> list[dict[str, Any]]:
    """The best mean over seeds of each arm and metric, with every seed's value beside it.

    Only what was measured under one protocol on the same data is compared; where all settings
    give the same value, as for an untrained model, there is no best.
    """
    compared: dict[str, dict[str, list[tuple[Cell, Record]]]] = {}
    for cell, records in found:
        settings = json.dumps({key: cell.settings[key] for key in cell.settings if key != _SEED})
        for record in records:
            groups = compared.setdefault(_comparable(record), {})
            groups.setdefault(settings, []).append((cell, record))
    tried = [
        [_group(json.loads(settings), rows) for settings, rows in groups.items()]
        for groups in compared.values()
    ]
    return [_best(one) for one in tried if len(one) == 1 or len({two["mean"] for two in one}) > 1]


def _best(groups: Sequence[dict[str, Any]]) -> dict[str, Any]:
    choose = min if groups[0]["better"] == "lower" else max
    return choose(groups, key=lambda one: one["mean"]) | {"compared": len(groups)}


def _group(settings: Mapping[str, str], rows: Sequence[tuple[Cell, Record]]) -> dict[str, Any]:
    first = rows[0][1]
    values = {cell.name: record.value for cell, record in rows}
    return {
        "arm": first.arm,
        "metric": first.metric,
        "at": dict(first.at),
        "unit": first.unit,
        "better": first.better,
        "dev": first.dev,
        "settings": dict(settings),
        "mean": statistics.fmean(values.values()),
        "num_seeds": len({record.seed for _, record in rows}),
        "seeds": [record.seed for _, record in rows],
        "values": values,
    }


def _comparable(record: Record) -> str:
    asked = (record.step, record.part, record.arm, record.metric, dict(record.at), record.unit)
    return json.dumps([asked, record.protocol_hash, dict(record.data)], sort_keys=True)


def _records(cell: Cell) -> list[Record]:
    """What was measured with the cell's own settings; a run may hold other evaluations too."""
    config, run = cell.resolved.config, cell.run
    found = []
    for step in config_steps(config):
        results = evaluation_results(step.name, config, run) if step.evaluation else run.results()
        found += [record for record in results.records() if record.step == step.name]
    return found


def _table(
    cells: Sequence[Cell], states: Mapping[str, str], found: Mapping[str, Sequence[Record]]
) -> str:
    """One row a cell and record; a cell that has none yet has a row all the same."""
    text = io.StringIO()
    keys = list(cells[0].settings)
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["cell", "state", *keys, *_COLUMNS])
    for cell in cells:
        begin = [cell.name, states[cell.name], *(cell.settings[key] for key in keys)]
        rows = [_row(record) for record in found[cell.name]] or [[""] * len(_COLUMNS)]
        writer.writerows([*begin, *row] for row in rows)
    return text.getvalue()


def _row(record: Record) -> list[Any]:
    values = {name: getattr(record, name) for name in _MEASURED}
    values["at"] = json.dumps(dict(record.at), sort_keys=True)
    low, high = record.interval or ("", "")
    weights = json.dumps(dict(record.weights), sort_keys=True)
    return [*values.values(), low, high, weights, record.dev, record.id]
