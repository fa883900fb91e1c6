"""Which chart shows a set of records: chosen from the conditions that vary in `at`.

One numeric condition gives a curve, two a heat map, a named condition a grid, or a radar where all
values are shares; seeds are averaged where there are three. Nothing here knows a study, and nothing
draws (see `figures` and `drawing`).
"""

import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from typing import Literal

# Not scipy.stats, whose import takes longer than the rest of a page.
from scipy.special import stdtrit

from lmlab.engine.records import Record
from lmlab.evidence.tables import conditions, finite_interval, number, words

Value = str | int | float
Kind = Literal["curve", "heat", "radar", "grid"]
# More lines than colours that everybody can tell apart show nothing.
MAX_LINES = 8
# Student's interval over two seeds is wider than any chart.
_MIN_SEEDS = 3
_FIELDS = ("run", "part", "seed", "training_step")
_MIN_SPOKES, _MAX_SPOKES, _MAX_ARMS = 3, 12, 6
# Beyond this ratio of the largest to the smallest a linear axis shows one point and a heap.
_LOG_RATIO = 30
_MIN_FACTORS = 4
_STEP = "training_step"
_UNITS = {
    "length": "tokens", "depth": "share of the length", "layer": "index", "position": "token index",
    "offset": "tokens", "frequency": "cycles a token", "seed": "index", _STEP: "optimizer updates",
}  # fmt: skip


@dataclass(frozen=True)
class Cell:
    """What is drawn at one place: a record's value, or the mean of several seeds' records."""

    value: float
    interval: tuple[float, float] | None
    records: tuple[Record, ...]


@dataclass(frozen=True)
class ChartRow:
    """A line, or a row of a map: a cell for every column, None where nothing was measured."""

    label: str
    cells: tuple[Cell | None, ...]


@dataclass(frozen=True)
class Chart:
    """Rows by columns of cells; titles carry the units, siblings share their `scale`."""

    kind: Kind
    title: str
    columns: tuple[Value, ...]
    columns_title: str
    rows: tuple[ChartRow, ...]
    rows_title: str
    values_title: str
    scale: tuple[float, float]
    note: str = ""

    @property
    def cells(self) -> list[Cell]:
        """Everything that is drawn."""
        return [cell for row in self.rows for cell in row.cells if cell is not None]

    @property
    def said(self) -> str:
        """n, how intervals and means were made, and what was left out."""
        records = [record for cell in self.cells for record in cell.records]
        counts = sorted({record.n for record in records})
        seeds = sorted({len(cell.records) for cell in self.cells} - {1})
        methods = {str(one.interval_method) for one in records if finite_interval(one)}
        means = f"mean over {_between(seeds)} seeds, Student's 95 % interval over them"
        shown = f"interval: {', '.join(sorted(methods))}" if methods else "no interval"
        pieces = [f"n {_between(counts)}", means if seeds else shown, self.note]
        return "; ".join(filter(None, pieces))

    @property
    def log_columns(self) -> bool:
        """Whether the columns are numbers that span magnitudes, or grow by a factor each."""
        numbers = [one for one in self.columns if not isinstance(one, str)]
        return _spans(numbers) or _grow_by_a_factor(numbers)

    @property
    def log_values(self) -> bool:
        """Whether the values span magnitudes; shares never do, and a band has no log below 0."""
        banded = self.kind == "curve"
        lows = [cell.interval[0] for cell in self.cells if banded and cell.interval is not None]
        return _spans(self.scale) and self.scale[1] > 1 and min(lows, default=1) > 0


def choose_charts(records: Sequence[Record]) -> list[Chart]:
    """In the order of the records; only what was measured the same way meets in one chart."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        shape = ",".join(sorted(record.at))
        key = (record.metric, record.unit, record.better, record.protocol_hash, shape)
        groups.setdefault(key, []).append(record)
    found = [chart for group in groups.values() for chart in _charts(group)]
    return found + _radars_over_metrics(records)


def label_value(value: Value) -> str:
    """`32,768`, `0.1`, `qa`."""
    return value if isinstance(value, str) else f"{value:,g}" if value % 1 else f"{value:,.0f}"


def brief(value: float) -> str:
    """`0.967`, `24.9`, `136,594`: for a cell, where there is room for three digits."""
    return number(value) if abs(value) >= 1000 else f"{value:.3g}"


def axis_title(name: str) -> str:
    """A condition with its unit, which its name ends in, or which the field agrees on."""
    stem, _, unit = name.rpartition("_")
    if stem and unit in ("tokens", "seconds", "mb", "usd"):
        return (
            f"{words(stem)} ({'MB' if unit == 'mb' else unit.upper() if unit == 'usd' else unit})"
        )
    return f"{words(name)} ({_UNITS.get(name, 'as recorded')})"


def _charts(group: Sequence[Record]) -> list[Chart]:
    varying = _varying(group)
    named = [name for name, values in varying.items() if any(isinstance(v, str) for v in values)]
    numeric = sorted(varying.keys() - set(named), key=lambda name: (-len(varying[name]), name))
    match numeric, named:
        case [across, down, *_], _:
            return _heat_maps(group, across=across, down=down)
        case [along], _:
            return _curves(group, along=along)
        case [], [] if _differs_within_arm(group, _STEP):
            return _curves([one for one in group if one.training_step is not None], along=_STEP)
        case [], [_, *_]:
            return _grids(group, across=max(named, key=lambda name: len(varying[name])))
    return []


def _curves(group: Sequence[Record], *, along: str) -> list[Chart]:
    charts = []
    for facet, records in _facets(group, {along}).items():
        labels = _labels(records, {along})
        chart = _chart("curve", [(labels[one.id], _at(one, along), one) for one in records])
        chart = replace(chart, title=_title(chart, facet), columns_title=axis_title(along))
        if len(chart.rows) > MAX_LINES:
            note = f"{MAX_LINES} of {len(chart.rows)} lines are drawn; the tables have all."
            chart = replace(chart, rows=chart.rows[:MAX_LINES], note=note)
        # A line has two points; arms with one are drawn beside it.
        lines = [row for row in chart.rows if len(row.cells) - row.cells.count(None) > 1]
        charts += [chart] if lines else []
    return charts


def _heat_maps(group: Sequence[Record], *, across: str, down: str) -> list[Chart]:
    """One an arm (and seed); all of a group share their colours, so that they can be compared."""
    charts = []
    for facet, records in _facets(group, {across, down}).items():
        labels = _labels(records, {across, down})
        for label in dict.fromkeys(labels.values()):
            own = [one for one in records if labels[one.id] == label]
            own.sort(key=lambda one: _order(_at(one, down)))
            cells = [(label_value(_at(one, down)), _at(one, across), one) for one in own]
            chart = replace(
                _chart("heat", cells),
                columns_title=axis_title(across),
                rows_title=axis_title(down),
                scale=_scale(group),
            )
            named = replace(chart, title=_title(chart, facet, label))
            charts += [named] if len(chart.rows) > 1 and len(chart.columns) > 1 else []
    return charts


def _grids(group: Sequence[Record], *, across: str) -> list[Chart]:
    """Arms (and further named conditions) by the values of the richest named condition."""
    labels = _labels(group, {across})
    chart = _chart("grid", [(labels[one.id], _at(one, across), one) for one in group])
    chart = replace(chart, columns_title=words(across))
    if _suits_radar(chart):
        return [replace(chart, kind="radar")]
    return [chart] if len(chart.rows) > 1 else []


def _radars_over_metrics(records: Sequence[Record]) -> list[Chart]:
    """Several shares of the same answers, such as exact match beside F1 and recall."""
    groups: dict[tuple[str, ...], list[Record]] = {}
    for record in records:
        at = json.dumps(dict(record.at), sort_keys=True)
        key = (at, record.unit, record.better, record.protocol_hash)
        groups.setdefault(key, []).append(record)
    found = []
    for group in groups.values():
        labels = _labels(group, set())
        chart = _chart("radar", [(labels[one.id], words(one.metric), one) for one in group])
        first = group[0]
        if _suits_radar(chart):
            found.append(
                replace(
                    chart,
                    title=" · ".join(
                        filter(None, [f"{len(chart.columns)} metrics", conditions(first.at)])
                    ),
                    columns_title="metric",
                    values_title=f"{words(first.unit)}; {first.better} is better",
                )
            )
    return found


def _suits_radar(chart: Chart) -> bool:
    shares = all(0 <= cell.value <= 1 for cell in chart.cells)
    spokes = _MIN_SPOKES <= len(chart.columns) <= _MAX_SPOKES
    whole = all(None not in row.cells for row in chart.rows)
    return shares and spokes and whole and 2 <= len(chart.rows) <= _MAX_ARMS


def _chart(kind: Kind, places: Sequence[tuple[str, Value, Record]]) -> Chart:
    """Of (row, column, record)."""
    columns = sorted(dict.fromkeys(column for _, column, _ in places), key=_order)
    rows: dict[str, dict[Value, list[Record]]] = {}
    for label, column, record in places:
        rows.setdefault(label, {}).setdefault(column, []).append(record)
    first = places[0][2]
    return Chart(
        kind=kind,
        title=words(first.metric),
        columns=tuple(columns),
        columns_title="",
        rows=tuple(
            ChartRow(label, tuple(_cell(own.get(column, [])) for column in columns))
            for label, own in rows.items()
        ),
        rows_title="arm",
        values_title=f"{words(first.metric)} ({words(first.unit)}; {first.better} is better)",
        scale=_scale([record for _, _, record in places]),
    )


def _cell(records: Sequence[Record]) -> Cell | None:
    """Several records are seeds of one arm (see `_labels`); two that are not: the first stands."""
    if not records:
        return None
    if len({record.seed for record in records}) < _MIN_SEEDS:
        return Cell(records[0].value, finite_interval(records[0]), (records[0],))
    values = [record.value for record in records]
    mean, count = statistics.mean(values), len(values)
    half = float(stdtrit(count - 1, 0.975)) * statistics.stdev(values) / count**0.5
    return Cell(mean, (mean - half, mean + half), tuple(records))


def _title(chart: Chart, *pieces: str) -> str:
    return " · ".join(filter(None, [chart.title, *pieces]))


def _facets(records: Sequence[Record], used: set[str]) -> dict[str, list[Record]]:
    """A chart for each combination of the other conditions that vary."""
    others = [name for name in _varying(records) if name not in used]
    found: dict[str, list[Record]] = {}
    for record in records:
        found.setdefault(conditions({name: record.at[name] for name in others}), []).append(record)
    return found


def _labels(records: Sequence[Record], used: set[str]) -> dict[str, str]:
    """Record id -> its arm, with whatever else tells it from others of the same arm."""
    named = [name for name in _varying(records) if name not in used]
    fields = {name for name in _FIELDS if _differs_within_arm(records, name)} - used
    if _are_seeds(records):
        fields -= {"run", "seed"}
    return {
        one.id: " · ".join(
            [one.arm]
            + [f"{words(name)} {one.at[name]}" for name in named]
            + [_field(one, name) for name in _FIELDS if name in fields]
        )
        for one in records
    }


def _field(record: Record, name: str) -> str:
    match name:
        case "run":
            return record.run.split("/", 1)[-1]
        case "part":
            return record.part
        case _:
            return f"{words(name)} {vars(record)[name]}"


def _are_seeds(records: Sequence[Record]) -> bool:
    """Whether records that meet in all but run and seed have distinct seeds, and enough of them."""
    met: dict[tuple[str, ...], list[int]] = {}
    for record in records:
        at = json.dumps(dict(record.at), sort_keys=True)
        key = (record.arm, record.metric, record.part, str(record.training_step), at)
        met.setdefault(key, []).append(record.seed)
    distinct = all(len(set(seeds)) == len(seeds) for seeds in met.values())
    return distinct and max(map(len, met.values())) >= _MIN_SEEDS


def _differs_within_arm(records: Sequence[Record], name: str) -> bool:
    """Whether two records of one arm differ in a field; an unknown step differs from none."""
    seen: dict[str, set[object]] = {}
    for record in records:
        if vars(record)[name] is not None:
            seen.setdefault(record.arm, set()).add(vars(record)[name])
    return any(len(values) > 1 for values in seen.values())


def _varying(records: Sequence[Record]) -> dict[str, list[Value]]:
    """Condition -> its distinct values, where there are several."""
    found: dict[str, dict[Value, None]] = {}
    for record in records:
        for name, value in record.at.items():
            found.setdefault(str(name), {})[value] = None
    return {name: list(values) for name, values in found.items() if len(values) > 1}


def _at(record: Record, name: str) -> Value:
    if name == _STEP:
        assert record.training_step is not None
        return record.training_step
    return record.at[name]


def _order(value: Value) -> tuple[bool, float]:
    """Numbers first, by size; names stay as they come."""
    return (True, 0.0) if isinstance(value, str) else (False, float(value))


def _scale(records: Sequence[Record]) -> tuple[float, float]:
    values = [record.value for record in records]
    return min(values), max(values)


def _between(counts: Sequence[int]) -> str:
    """`400`, or `60 to 400`."""
    return " to ".join(number(one) for one in dict.fromkeys([*counts[:1], *counts[-1:]]))


def _grow_by_a_factor(values: Sequence[int | float]) -> bool:
    """Such as 1,024, 2,048, 4,096: on a linear axis most of them would lie in a heap."""
    if len(values) < _MIN_FACTORS or min(values) <= 0:
        return False
    ratios = [high / low for low, high in pairwise(values)]
    return min(ratios) >= 1.5 and max(ratios) / min(ratios) < 1.5


def _spans(values: Sequence[int | float]) -> bool:
    return bool(values) and min(values) > 0 and max(values) / min(values) > _LOG_RATIO
