"""Records side by side: one table for each metric, condition and protocol, its controls inside."""

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lmlab.engine.records import Record

# Beyond this ratio of the largest to the smallest value a linear scale shows one dot and a heap.
_LOG_RATIO = 12


@dataclass(frozen=True)
class Row:
    """A record with its place on the table's scale, in percent from the left."""

    record: Record
    control: bool
    marks: tuple[str, ...]
    dot: float
    whisker: tuple[float, float] | None


@dataclass(frozen=True)
class Table:
    """Numbers that may be compared, the best first.

    `columns` are fields in which the rows differ; `data` are names of data in whose hash they do.
    """

    metric: str
    unit: str
    better: Literal["higher", "lower"]
    at: Mapping[str, Any]
    protocol: Mapping[str, Any]
    protocol_hash: str
    scale: tuple[float, float, str]
    columns: tuple[str, ...]
    data: tuple[str, ...]
    rows: tuple[Row, ...]

    @property
    def controls(self) -> list[Record]:
        """What the others have to beat."""
        return [row.record for row in self.rows if row.control]

    @property
    def marks(self) -> tuple[str, ...]:
        """What holds for every row, said once."""
        first = self.rows[0].marks
        return tuple(mark for mark in first if all(mark in row.marks for row in self.rows))

    @property
    def subjects(self) -> list[Record]:
        """What the run is about."""
        return [row.record for row in self.rows if not row.control]


def build_tables(records: Sequence[Record]) -> list[Table]:
    """In the order of the records; two protocols never meet in one table."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        at = json.dumps(dict(record.at), sort_keys=True)
        key = (record.metric, record.unit, record.better, at, record.protocol_hash)
        groups.setdefault(key, []).append(record)
    return [_table(group) for group in groups.values()]


def is_control(record: Record) -> bool:
    """What anybody gets without this training: chance, counts, the same shape with no training."""
    return record.weightless or record.arm == "untrained"


def marks(record: Record) -> tuple[str, ...]:
    """What a reader must know before believing the number."""
    conditions = {
        "dev": record.dev,
        "generated": record.data_kind == "generated",
        "imported": record.imported,
        "weights unknown": record.imported and not record.weights,
    }
    return tuple(name for name, holds in conditions.items() if holds)


def finite_interval(record: Record) -> tuple[float, float] | None:
    """None also for an interval that was written with a bound that is no number."""
    ends = record.interval
    return ends if ends is not None and all(map(math.isfinite, ends)) else None


def number(value: int | float | None) -> str:
    """Four digits at most beyond the leading ones: `30,112`, `96.31`, `0.0003000`."""
    if value is None:
        return "–"
    if value == 0 or isinstance(value, int) or not math.isfinite(value):
        return f"{value:,.0f}"
    size = math.floor(math.log10(abs(value)))
    if size < -4:
        return f"{value:.3g}"
    return f"{value:,.{max(0, 3 - size)}f}"


def chance(p: float) -> str:
    """`0.0312`, and never the 0 that no test can show."""
    return f"{p:.3g}" if p >= 1e-4 else "< 0.0001"


def words(name: str) -> str:
    """`word_perplexity` as people write it."""
    return name.replace("_", " ")


def conditions(at: Mapping[str, Any]) -> str:
    """`split test, length 512`; empty when there are none."""
    return ", ".join(f"{words(str(name))} {value}" for name, value in at.items())


def _table(records: Sequence[Record]) -> Table:
    first = records[0]
    ends = [end for record in records for end in (record.value, *(finite_interval(record) or ()))]
    scale = _scale(min(ends), max(ends))
    ordered = sorted(records, key=lambda one: one.value, reverse=first.better == "higher")
    fields = ("run", "part", "seed", "training_step")
    varying = [name for name in fields if len(_values(records, name)) > 1]
    return Table(
        metric=first.metric,
        unit=first.unit,
        better=first.better,
        at=first.at,
        protocol=first.protocol,
        protocol_hash=first.protocol_hash,
        scale=scale,
        columns=tuple(varying),
        data=_differing_data(records),
        rows=tuple(_row(record, scale) for record in ordered),
    )


def _row(record: Record, scale: tuple[float, float, str]) -> Row:
    ends = finite_interval(record)
    return Row(
        record=record,
        control=is_control(record),
        marks=marks(record),
        dot=_place(record.value, scale),
        whisker=None if ends is None else (_place(ends[0], scale), _place(ends[1], scale)),
    )


def _scale(low: float, high: float) -> tuple[float, float, str]:
    return low, high, "log" if low > 0 and high / low > _LOG_RATIO else "linear"


def _place(value: float, scale: tuple[float, float, str]) -> float:
    low, high, kind = scale
    if high == low:
        return 50.0
    if kind == "log":
        low, high, value = math.log(low), math.log(high), math.log(value)
    return round(100 * (value - low) / (high - low), 2)


def _values(records: Sequence[Record], name: str) -> set[str]:
    """The distinct values of a field; a control that was never trained has no step to differ in."""
    values = [vars(record)[name] for record in records]
    return {json.dumps(value, sort_keys=True) for value in values if value is not None}


def _differing_data(records: Sequence[Record]) -> tuple[str, ...]:
    """Names of the data of which not every record holds the same."""
    names = dict.fromkeys(name for record in records for name in record.data)
    return tuple(name for name in names if len({record.data.get(name) for record in records}) > 1)
