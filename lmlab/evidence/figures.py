"""The curves of a training as Plotly figures: data and axes; the page gives them its colours."""

import math
import statistics
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from lmlab.evidence.reading import Training
from lmlab.evidence.tables import number, words

# More points than pixels show nothing more and make the page heavy.
MAX_POINTS = 1500
_TITLES = {
    "loss": ("Loss", "loss (nats)"),
    "lr": ("Learning rate", "learning rate (no unit)"),
    "grad_norm": ("Gradient norm, before clipping", "norm (no unit)"),
    "tokens_per_second": ("Throughput", "tokens per second"),
}
_NO_CURVES = {"step", "time", "epoch", "tokens", "seconds"}


@dataclass(frozen=True)
class Line:
    """One quantity over the steps."""

    name: str
    steps: list[int]
    values: list[float | None]

    @property
    def summary(self) -> str:
        """Where it began and ended, for those who see no picture."""
        known = [value for value in self.values if value is not None]
        if not known:
            return f"{self.name}: not finite"
        return f"{self.name}: {number(known[0])} → {number(known[-1])}"


@dataclass(frozen=True)
class Figure:
    """`plot` is what Plotly draws; `note` says what was left out of it."""

    id: str
    title: str
    lines: tuple[Line, ...]
    plot: dict[str, Any]
    note: str


def build_figures(training: Training, *, prefix: str) -> list[Figure]:
    """Loss, learning rate, gradient norm, throughput, then whatever else was logged."""
    groups: dict[str, list[Line]] = {name: [] for name in _TITLES}
    for line in _lines(training):
        groups.setdefault(line.name.split("/")[-1], []).append(line)
    drawn = [(name, lines) for name, lines in groups.items() if lines]
    return [_figure(name, lines, id=f"{prefix}-{i}") for i, (name, lines) in enumerate(drawn)]


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
    found = [line for line in lines if line.steps]
    if not any(line.name == "tokens_per_second" for line in found):
        found += _measured_throughput(training)
    return found


def _line(name: str, rows: Sequence[dict[str, Any]]) -> Line:
    pairs = [(row["step"], row[name]) for row in rows if isinstance(row.get(name), int | float)]
    finite = [float(value) if math.isfinite(value) else None for _, value in pairs]
    return Line(name, [step for step, _ in pairs], finite)


def _measured_throughput(training: Training) -> list[Line]:
    """From system.csv, whose rows come every few seconds; a cut row has no number."""
    steps: list[int] = []
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


def _figure(name: str, lines: Sequence[Line], *, id: str) -> Figure:
    title, axis = _TITLES.get(name, (words(name).capitalize(), f"{words(name)} (as logged)"))
    stride = max(math.ceil(len(line.steps) / MAX_POINTS) for line in lines)
    plot = {
        "data": [_trace(line, alone=len(lines) == 1) for line in lines],
        "layout": {
            "xaxis": {"title": {"text": "step (optimizer updates)"}},
            "yaxis": {"title": {"text": axis}, **_range(name)},
        },
    }
    note = f"Every {stride}th row is drawn." if stride > 1 else ""
    return Figure(id, title, tuple(lines), plot, note)


def _range(name: str) -> dict[str, Any]:
    """Rates begin at zero: a cut axis makes noise look like a collapse."""
    if name == "tokens_per_second":
        return {"rangemode": "tozero"}
    return {"exponentformat": "e"} if name == "lr" else {}


def _trace(line: Line, *, alone: bool) -> dict[str, Any]:
    """Held-out values are few: marked, so that they differ from the training's by more than hue."""
    stride = math.ceil(len(line.steps) / MAX_POINTS)
    marked = not line.name.startswith("train/") and not alone
    return {
        "type": "scatter",
        "name": line.name,
        "mode": "lines+markers" if marked or len(line.steps) == 1 else "lines",
        "x": line.steps[::stride],
        "y": line.values[::stride],
    }
