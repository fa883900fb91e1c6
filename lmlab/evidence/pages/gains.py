"""What each arm gained on the one before it: one table over every score, controls below.

A gain is a record of its own (`<metric>_gain`, with `against` among its conditions, positive where
the arm is better); its protocol names the one that both arms were scored under.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from lmlab.engine.records import Record
from lmlab.evidence.pages.table_files import Sheet
from lmlab.evidence.tables import conditions, finite_interval, number, words

ENDING = "_gain"
Way = Literal["better", "worse", "unclear"]


@dataclass(frozen=True)
class Cell:
    """An arm's score with what it gained, and on whom."""

    score: Record
    gains: tuple[Record, ...]


@dataclass(frozen=True)
class Column:
    """A score under one set of conditions, and how much of its items was trained on."""

    metric: str
    unit: str
    better: Literal["higher", "lower"]
    at: Mapping[str, Any]
    cells: Mapping[str, Cell]
    overlaps: tuple[Record, ...]

    @property
    def title(self) -> str:
        """`stop rate (task instructions, split test)`."""
        where = conditions(self.at)
        return words(self.metric) + (f" ({where})" if where else "")


@dataclass(frozen=True)
class Gains:
    """Columns by arm: those that were compared in the order of their steps, then the controls."""

    columns: tuple[Column, ...]
    arms: tuple[str, ...]
    controls: tuple[str, ...]

    @property
    def ids(self) -> set[str]:
        """The gains' own records, which need no table beside this one."""
        cells = (cell for column in self.columns for cell in column.cells.values())
        return {gain.id for cell in cells for gain in cell.gains}


def read_gains(records: Sequence[Record]) -> Gains | None:
    """None where no gain was recorded."""
    found: dict[tuple[Any, ...], list[Record]] = {}
    for one in records:
        if one.metric.endswith(ENDING) and "against" in one.at:
            key = (one.protocol["gain_in"], one.protocol["scored_under"], *_place(one))
            found.setdefault(key, []).append(one)
    if not found:
        return None
    columns = tuple(_column(gains, records) for gains in found.values())
    compared = [arm for gains in found.values() for one in gains for arm in _pair(one)]
    named = {arm: cell.score for column in columns for arm, cell in column.cells.items()}
    subjects = [arm for arm in dict.fromkeys(compared) if arm in named]
    trained = [arm for arm in subjects if not named[arm].weightless]
    controls = tuple(arm for arm in named if arm not in trained)
    return Gains(columns, tuple(trained), controls)


def way(gain: Record) -> Way:
    """Better or worse where the interval leaves no doubt of it."""
    low, high = finite_interval(gain) or (0.0, 0.0)
    if low > 0:
        return "better"
    return "worse" if high < 0 else "unclear"


def told(gain: Record) -> str:
    """`0.319 nats per word better than trained [0.309, 0.329]`, as a line of a table."""
    low, high = finite_interval(gain) or (gain.value, gain.value)
    unit = "" if gain.unit == "share" else f" {gain.unit}"
    match way(gain):
        case "better":
            ends = f"[{number(low)}, {number(high)}]"
            return f"{number(gain.value)}{unit} better than {gain.at['against']} {ends}"
        case "worse":
            # Counted in the direction that it is told in.
            ends = f"[{number(-high)}, {number(-low)}]"
            return f"{number(-gain.value)}{unit} worse than {gain.at['against']} {ends}"
        case "unclear":
            ends = f"[{_signed(low)}, {_signed(high)}]"
            return f"not told from {gain.at['against']}: {_signed(gain.value)}{unit} {ends}"


def gain_sheets(gains: Gains | None) -> list[Sheet]:
    """The table as `stage_gains`; csv has a row a gain with the records that it rests on."""
    if gains is None:
        return []
    columns = ("arm", *(column.title for column in gains.columns))
    rows = [
        (arm, *(_text(column.cells.get(arm)) for column in gains.columns))
        for arm in (*gains.arms, *gains.controls)
    ]
    data_columns = (
        "arm", "metric", "unit", "better", "value", "low", "high", "n", "against", "gain",
        "gain_unit", "gain_low", "gain_high", "gain_method", "finding", "at", "record",
        "gain_record",
    )  # fmt: skip
    data = [
        row
        for arm in (*gains.arms, *gains.controls)
        for column in gains.columns
        if (cell := column.cells.get(arm)) is not None
        for row in _data(arm, column, cell)
    ]
    caption = "What each arm gained on the one before it, on the same items; intervals in brackets"
    return [Sheet("stage_gains", caption, columns, tuple(rows), 1, data_columns, tuple(data))]


def _column(gains: Sequence[Record], records: Sequence[Record]) -> Column:
    """Of every arm that was scored as the gains were, of one seed and run."""
    first = gains[0]
    at = dict(_place(first))
    scores: dict[str, Record] = {}
    for one in records:
        same = (one.metric, one.protocol_hash, one.run, one.seed)
        wanted = (first.protocol["gain_in"], first.protocol["scored_under"], first.run, first.seed)
        if same == wanted and dict(one.at) == at:
            scores.setdefault(one.arm, one)
    of_arm = {arm: tuple(one for one in gains if one.arm == arm) for arm in scores}
    score = scores[first.arm]
    return Column(
        metric=score.metric,
        unit=score.unit,
        better=score.better,
        at=at,
        cells={arm: Cell(one, of_arm[arm]) for arm, one in scores.items()},
        overlaps=_overlaps(score, records),
    )


def _overlaps(score: Record, records: Sequence[Record]) -> tuple[Record, ...]:
    """Of the same items; how many samples were drawn of each does not matter to them."""
    place = {name: score.at[name] for name in ("task", "split") if name in score.at}
    return tuple(
        one
        for one in records
        if one.metric.startswith("overlap_")
        and dict(one.at) == place
        and one.data.items() <= score.data.items()
    )


def _place(gain: Record) -> tuple[tuple[str, Any], ...]:
    return tuple((name, value) for name, value in gain.at.items() if name != "against")


def _pair(gain: Record) -> tuple[str, str]:
    return str(gain.at["against"]), gain.arm


def _text(cell: Cell | None) -> str:
    if cell is None:
        return "–"
    ends = finite_interval(cell.score)
    between = f" [{number(ends[0])}, {number(ends[1])}]" if ends else ""
    return "; ".join([f"{number(cell.score.value)}{between}", *map(told, cell.gains)])


def _data(arm: str, column: Column, cell: Cell) -> list[tuple[object, ...]]:
    score = cell.score
    first = (
        arm, column.metric, column.unit, column.better, score.value,
        *(score.interval or (None, None)), score.n,
    )  # fmt: skip
    last = (conditions(column.at), score.id)
    if not cell.gains:
        return [(*first, *(None,) * 7, *last, None)]
    return [
        (
            *first, gain.at["against"], gain.value, gain.unit, *(gain.interval or (None, None)),
            gain.interval_method, way(gain), *last, gain.id,
        )
        for gain in cell.gains
    ]  # fmt: skip


def _signed(value: float) -> str:
    return f"+{number(value)}" if value > 0 else number(value)
