"""Rows of a data set from the Hugging Face hub, or from the folder that `save_to_disk` wrote."""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import Any

import datasets

from lmlab.data.sources import Source, Span

Columns = dict[str, list[Any]]


def load_hub_columns(source: Source, *, split: str, rows: Span) -> Columns:
    """The fields of the rows asked for; where an end is known only those are fetched."""
    named = source.hub_config or source.hub_folder
    place = f"{source.hub_id} ({named})" if named else source.hub_id
    try:
        return _fetch(source, split=split, rows=rows)
    # What `datasets` raises for no network, an unknown set, split or configuration, and a script.
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"the hub gave no {split} split of {place}: {error}") from error


def load_saved_columns(source: Source, folder: Path, *, split: str, rows: Span) -> Columns:
    """The same from a saved `DatasetDict`."""
    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is no folder that save_to_disk wrote: {error}") from error
    if not isinstance(saved, datasets.DatasetDict) or split not in saved:
        raise ValueError(f"{folder} has no split {split!r}; save the whole DatasetDict there")
    _check_fields(source, saved[split].column_names)
    return {field: saved[split][field][rows.start : rows.stop] for field in source.fields}


def _fetch(source: Source, *, split: str, rows: Span) -> Columns:
    assert source.hub_id is not None
    place = {
        "path": source.hub_id,
        "name": source.hub_config,
        "data_dir": source.hub_folder,
        "split": split,
        "revision": source.hub_revision,
    }
    if rows.stop is None:
        table = datasets.load_dataset(**place)
        _check_fields(source, table.column_names)
        return {field: table[field][rows.start :] for field in source.fields}
    stream = datasets.load_dataset(**place, streaming=True)
    taken = list(islice(stream, rows.start, rows.stop))
    _check_fields(source, list(taken[0]) if taken else source.fields)
    return {field: [row[field] for row in taken] for field in source.fields}


def _check_fields(source: Source, columns: Sequence[str]) -> None:
    missing = [field for field in source.fields if field not in columns]
    if missing:
        raise ValueError(
            f"{source.name} has no column {', '.join(missing)}, only {', '.join(columns)}"
        )
