"""Scored items as parquet: what paired tests read."""

import json
from collections.abc import Iterable
from dataclasses import asdict, fields
from pathlib import Path

import pandas as pd

from lmlab.engine.records import Item


def write_items(path: Path, items: Iterable[Item]) -> None:
    """Replace the file whole; `at` is stored as JSON, so that every study has the same columns."""
    rows = [{**asdict(item), "at": json.dumps(dict(item.at))} for item in items]
    temporary = path.with_name(path.name + ".tmp")
    pd.DataFrame(rows, columns=[one.name for one in fields(Item)]).to_parquet(temporary)
    temporary.replace(path)


def read_items(path: Path) -> pd.DataFrame:
    """Columns part, arm, at (JSON), metric, item_id, cluster_id, seed, value, weight, error."""
    found = pd.read_parquet(path)
    # Written before items had a weight: each was one answer.
    return found if "weight" in found else found.assign(weight=1.0)
