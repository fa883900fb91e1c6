"""A csv as scores: columns item, arm and score; every other column but a few is a condition.

Known besides: metric, seed, cluster (items that belong together), weight (of the item in the mean)
and error. A row without a number, or with an error, is an item that failed, never a zero.
"""

import csv
import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmlab.engine.presets import nearest
from lmlab.evidence.imported.series import (
    Found,
    Options,
    Score,
    Series,
    digest,
    direction,
    file_hash,
)

_KNOWN = ("item", "arm", "score", "metric", "seed", "cluster", "weight", "error")
# A csv says nothing of how its scores came about.
PROTOCOL = {"harness": "csv", "scoring": "not stated"}
_TRUTH = {"true": 1.0, "false": 0.0}
Condition = str | int | float


@dataclass(frozen=True)
class _Table:
    """The rows by column name, each with its line in the file."""

    path: Path
    columns: tuple[str, ...]
    rows: tuple[tuple[int, Mapping[str, str]], ...]


@dataclass(frozen=True)
class _Row:
    line: int
    arm: str
    metric: str
    seed: int
    at: tuple[tuple[str, Condition], ...]
    score: Score


def read_csv(path: Path, options: Options) -> Found:
    """Scores of every arm, metric, seed and condition. Raises ValueError that names the line."""
    table = _read_table(path)
    _check_columns(table, options)
    conditions = _conditions(table)
    rows = [
        _row(f"{path.name}, line {line}", line, row, at, options)
        for (line, row), at in zip(table.rows, conditions, strict=True)
    ]
    if "metric" in table.columns and options.metric is not None:
        names = sorted({row.metric for row in rows})
        rows = [row for row in rows if row.metric == options.metric]
        if not rows:
            raise ValueError(
                f"{path.name} has no metric {options.metric!r}{nearest(options.metric, names)}"
            )
    _check_duplicates(rows, path)
    series = _series(rows, options)
    return Found("csv", path.stem, series, {path.name: file_hash(path)}, notes=tuple(_gaps(series)))


def is_csv(text: str) -> bool:
    """Whether the first line looks like a header: two fields or more, none of them a number."""
    names = _fields(text.split("\n", 1)[0])
    return len(names) > 1 and not any(_is_number(name) for name in names)


def _read_table(path: Path) -> _Table:
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{path} is no UTF-8 text ({error.reason} at byte {error.start})"
        ) from None
    header = text.split("\n", 1)[0]
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=_delimiter(header), strict=True)
    rows: list[tuple[int, list[str]]] = []
    try:
        rows += [(reader.line_num, row) for row in reader if row]
    except csv.Error as error:
        raise ValueError(f"{path.name}, line {reader.line_num}: {error}") from None
    if len(rows) < 2:
        raise ValueError(f"{path} is empty: a header and no row" if rows else f"{path} is empty")
    columns = tuple(name.strip().lower() for name in rows[0][1])
    twice = [name for name, count in Counter(columns).items() if count > 1]
    if twice:
        raise ValueError(f"{path.name} has two columns {twice[0]!r}")
    for line, row in rows[1:]:
        if len(row) != len(columns):
            raise ValueError(
                f"{path.name}, line {line} has {len(row)} fields and the header {len(columns)}"
            )
    named = [(line, dict(zip(columns, map(str.strip, row), strict=True))) for line, row in rows[1:]]
    return _Table(path, columns, tuple(named))


def _check_columns(table: _Table, options: Options) -> None:
    missing = [name for name in ("item", "arm", "score") if name not in table.columns]
    if "arm" in missing and options.arm is not None:
        missing.remove("arm")
    elif options.arm is not None:
        raise ValueError(f"{table.path.name} names its arms in a column; leave --arm out")
    if missing:
        close = [nearest(name, table.columns).removeprefix("; nearest: ") for name in missing]
        hint = " (or say --arm NAME)" if "arm" in missing else ""
        raise ValueError(
            f"{table.path.name} has no column {', '.join(missing)}{hint}; it has "
            f"{', '.join(table.columns)}; nearest to {missing[0]}: {close[0]}"
        )


def _conditions(table: _Table) -> list[tuple[tuple[str, Condition], ...]]:
    """Each row's conditions; a column of numbers alone becomes numbers."""
    names = [name for name in table.columns if name not in _KNOWN]
    columns = {name: _converted([row[name] for _, row in table.rows]) for name in names}
    for name, values in columns.items():
        _check_condition(table, name, values)
    return [tuple((name, columns[name][i]) for name in names) for i in range(len(table.rows))]


def _check_condition(table: _Table, name: str, values: Sequence[Condition]) -> None:
    """A column that differs from row to row (an answer, a comment) would make each row its own."""
    shared = ("arm", "metric", "seed")
    places = [
        (value, *(row.get(column) for column in shared))
        for value, (_, row) in zip(values, table.rows, strict=True)
    ]
    if len(set(places)) > max(len(places) / 2, 8):
        raise ValueError(
            f"{table.path.name}: column {name!r} differs in nearly every row, so it is no "
            f"condition of the measurement; remove it (known columns: {', '.join(_KNOWN)})"
        )


def _converted(values: Sequence[str]) -> Sequence[Condition]:
    for convert in (int, float):
        try:
            return [convert(value) for value in values]
        except ValueError:
            continue
    return values


def _row(
    where: str,
    line: int,
    row: Mapping[str, str],
    at: tuple[tuple[str, Condition], ...],
    options: Options,
) -> _Row:
    gaps = [name for name, value in row.items() if not value and name not in ("score", "error")]
    if gaps:
        raise ValueError(f"{where} has nothing in column {gaps[0]!r}")
    return _Row(
        line=line,
        arm=row.get("arm") or options.arm or "",
        metric=row.get("metric") or options.metric or "score",
        seed=_whole_number(row.get("seed", "0"), where),
        at=at,
        score=_score(row, where),
    )


def _score(row: Mapping[str, str], where: str) -> Score:
    weight = _weight(row.get("weight", "1"), where)
    value, error = _value(row["score"])
    error = row.get("error") or error
    return Score(
        item_id=row["item"],
        cluster_id=row.get("cluster") or row["item"],
        value=None if error or value is None else value * weight,
        weight=weight,
        error=error,
    )


def _value(text: str) -> tuple[float | None, str | None]:
    """The number, or why there is none."""
    if not text:
        return None, "no score in the file"
    if text.lower() in _TRUTH:
        return _TRUTH[text.lower()], None
    if not _is_number(text):
        return None, f"score {text!r} is no number"
    value = float(text)
    return (value, None) if math.isfinite(value) else (None, f"score is {text}")


def _weight(text: str, where: str) -> float:
    if not _is_number(text) or not (0 < float(text) < math.inf):
        raise ValueError(f"{where}: weight {text!r} is no number above zero")
    return float(text)


def _whole_number(text: str, where: str) -> int:
    try:
        return int(text)
    except ValueError:
        raise ValueError(f"{where}: seed {text!r} is no whole number") from None


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def _check_duplicates(rows: Sequence[_Row], path: Path) -> None:
    first: dict[tuple[object, ...], int] = {}
    for row in rows:
        key = (row.arm, row.metric, row.seed, row.at, row.score.item_id)
        if key in first:
            raise ValueError(
                f"{path.name}, line {row.line} scores item {row.score.item_id!r} of arm "
                f"{row.arm!r} again (first in line {first[key]}); remove one, or tell them apart "
                "by a seed or another column"
            )
        first[key] = row.line


def _series(rows: Sequence[_Row], options: Options) -> tuple[Series, ...]:
    groups: dict[tuple[str, str, int, tuple[tuple[str, Condition], ...]], list[Score]] = {}
    items: dict[tuple[object, ...], set[str]] = {}
    for row in rows:
        groups.setdefault((row.arm, row.metric, row.seed, row.at), []).append(row.score)
        items.setdefault((row.metric, row.at), set()).add(row.score.item_id)
    return tuple(
        Series(
            arm=arm,
            at=dict(at),
            metric=metric,
            better=direction(metric, options.better),
            protocol=PROTOCOL,
            # All arms of a condition are of the same data: whichever items any of them has.
            data={"items": digest(items[metric, at])},
            seed=seed,
            scores=tuple(scores),
        )
        for (arm, metric, seed, at), scores in groups.items()
    )


def _gaps(series: Sequence[Series]) -> list[str]:
    """Items that other arms have under the same condition and an arm has not."""
    groups: dict[tuple[object, ...], list[Series]] = {}
    for one in series:
        groups.setdefault((one.metric, one.key[-1]), []).append(one)
    notes = []
    for group in groups.values():
        every = {score.item_id for one in group for score in one.scores}
        for one in group:
            missing = len(every) - len(one.scores)
            if missing:
                notes.append(
                    f"arm {one.arm} (seed {one.seed}) lacks {missing} of the {len(every)} items "
                    f"that other arms have of {one.metric}; comparisons leave them out"
                )
    return notes


def _delimiter(header: str) -> str:
    return max(",;\t", key=header.count)


def _fields(header: str) -> list[str]:
    return header.strip().split(_delimiter(header))
