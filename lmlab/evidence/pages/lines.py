"""Lines over a number: what a training logged, and charts that are curves, with their axes."""

import math
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from lmlab.evidence.pages.charts import MAX_LINES, Chart
from lmlab.evidence.reading import Training
from lmlab.evidence.tables import number, words

_TITLES = {
    "loss": ("Loss", "loss (nats)"),
    "lr": ("Learning rate", "learning rate (no unit)"),
    "grad_norm": ("Gradient norm, before clipping", "norm (no unit)"),
    "tokens_per_second": ("Throughput", "tokens per second"),
}
_STEPS = "step (optimizer updates)"
_NO_CURVES = {"step", "time", "epoch", "tokens", "seconds"}


@dataclass(frozen=True)
class Line:
    """One quantity over x; `band` has an interval for each point, or is empty."""

    name: str
    xs: list[int | float]
    values: list[float | None]
    band: tuple[tuple[float, float] | None, ...] = ()

    @property
    def summary(self) -> str:
        """Where it began and ended, for those who see no picture."""
        known = [value for value in self.values if value is not None]
        if not known:
            return f"{self.name}: not finite"
        return f"{self.name}: {number(known[0])} → {number(known[-1])}"


@dataclass(frozen=True)
class Curves:
    """Lines that share their axes; `said` stands below them."""

    title: str
    x_title: str
    y_title: str
    lines: tuple[Line, ...]
    said: str
    log_x: bool = False
    log_y: bool = False
    from_zero: bool = False


def training_curves(training: Training) -> list[Curves]:
    """Loss, learning rate, gradient norm, throughput, then whatever else was logged."""
    groups: dict[str, list[Line]] = {name: [] for name in _TITLES}
    for line in _lines(training):
        groups.setdefault(line.name.split("/")[-1], []).append(line)
    return [_curves(name, lines) for name, lines in groups.items() if lines]


def losses_over_runs(trainings: Mapping[str, Training]) -> list[Curves]:
    """The held-out loss of several trainings in one picture; the training loss where none has."""
    logged = {name: _lines(own) for name, own in trainings.items()}
    losses = {one.name for own in logged.values() for one in own if one.name.endswith("/loss")}
    if not losses:
        return []
    metric = min(losses, key=lambda name: (name.startswith("train/"), name))
    found = [
        Line(name, one.xs, one.values)
        for name, own in logged.items()
        for one in own
        if one.name == metric
    ]
    shown = tuple(found[:MAX_LINES])
    left = f"; {len(shown)} of {len(found)} trainings" if len(found) > len(shown) else ""
    said = f"{_said(shown)}{left}"
    return [Curves(f"{metric} over runs", _STEPS, "loss (nats)", shown, said)]


def chart_curves(chart: Chart) -> Curves:
    """A chart of one numeric condition."""
    xs = [column for column in chart.columns if not isinstance(column, str)]
    lines = []
    for row in chart.rows:
        found = [(x, cell) for x, cell in zip(xs, row.cells, strict=True) if cell is not None]
        band = tuple(cell.interval for _, cell in found)
        lines.append(
            Line(row.label, [x for x, _ in found], [cell.value for _, cell in found], band)
        )
    return Curves(
        title=chart.title,
        x_title=chart.columns_title,
        y_title=chart.values_title,
        lines=tuple(lines),
        said=chart.said,
        log_x=chart.log_columns,
        log_y=chart.log_values,
    )


def median_throughput(trainings: Sequence[Training]) -> float | None:
    """Tokens per second, over every row of every training."""
    found = [
        value
        for training in trainings
        for line in _lines(training)
        if line.name == "tokens_per_second"
        for value in line.values
        if value is not None
    ]
    return statistics.median(found) if found else None


def _lines(training: Training) -> list[Line]:
    names: dict[str, None] = {}
    for row in training.metrics:
        names |= {name: None for name in row if name not in _NO_CURVES}
    lines = [_line(name, training.metrics) for name in names]
    found = [line for line in lines if line.xs]
    if not any(line.name == "tokens_per_second" for line in found):
        found += _measured_throughput(training)
    return found


def _line(name: str, rows: Sequence[dict[str, Any]]) -> Line:
    pairs = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), int | float)]
    finite = [float(value) if math.isfinite(value) else None for _, value in pairs]
    return Line(name, [step for step, _ in pairs], finite)


def _measured_throughput(training: Training) -> list[Line]:
    """From system.csv, whose rows come every few seconds; a cut row has no number."""
    steps: list[int | float] = []
    values: list[float | None] = []
    for row in training.system:
        step, rate = _float(row.get("step")), _float(row.get("tokens_per_sec"))
        if step is not None and rate is not None:
            steps.append(int(step))
            values.append(rate)
    return [Line("tokens_per_second", steps, values)] if steps else []


def _float(text: str | None) -> float | None:
    try:
        value = float(text or "nan")
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _curves(name: str, lines: Sequence[Line]) -> Curves:
    title, axis = _TITLES.get(name, (words(name).capitalize(), f"{words(name)} (as logged)"))
    # Rates begin at zero: a cut axis makes noise look like a collapse.
    rate = name == "tokens_per_second"
    return Curves(title, _STEPS, axis, tuple(lines), _said(lines), from_zero=rate)


def _said(lines: Sequence[Line]) -> str:
    return "; ".join(line.summary for line in lines)
