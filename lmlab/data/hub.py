"""Rows of a data set from the Hugging Face hub, or from the folder that `save_to_disk` wrote."""

from itertools import islice
from pathlib import Path

import datasets

from lmlab.data.sources import Source, Span


def load_hub_rows(source: Source, *, split: str, rows: Span) -> list[str]:
    """The first field of the rows asked for; where an end is known only those are fetched."""
    place = f"{source.hub_id} ({source.hub_config})" if source.hub_config else source.hub_id
    try:
        return _fetch(source, split=split, rows=rows)
    # What `datasets` raises for no network, an unknown set, split or configuration, and a script.
    except (OSError, ValueError, RuntimeError) as error:
        raise ValueError(f"the hub gave no {split} split of {place}: {error}") from error


def load_saved_rows(source: Source, folder: Path, *, split: str, rows: Span) -> list[str]:
    """The same from a saved `DatasetDict`."""
    try:
        saved = datasets.load_from_disk(str(folder))
    except (OSError, ValueError) as error:
        raise ValueError(f"{folder} is no folder that save_to_disk wrote: {error}") from error
    if not isinstance(saved, datasets.DatasetDict) or split not in saved:
        raise ValueError(f"{folder} has no split {split!r}; save the whole DatasetDict there")
    return saved[split][source.fields[0]][rows.start : rows.stop]


def _fetch(source: Source, *, split: str, rows: Span) -> list[str]:
    assert source.hub_id is not None
    field = source.fields[0]
    if rows.stop is None:
        table = datasets.load_dataset(
            source.hub_id, source.hub_config, split=split, revision=source.hub_revision
        )
        return table[field][rows.start :]
    stream = datasets.load_dataset(
        source.hub_id, source.hub_config, split=split, revision=source.hub_revision, streaming=True
    )
    return [row[field] for row in islice(stream, rows.start, rows.stop)]
