"""Curves and heat maps as Plotly figures: data and axes; the page gives them its colours.

Plotly reads a little HTML in every text, so that names are escaped here as well as in the page.
"""

import math
from html import escape
from typing import Any

from lmlab.evidence.pages.charts import Cell, Chart, brief, label_value
from lmlab.evidence.pages.lines import Curves, Line
from lmlab.evidence.tables import number

# More points than pixels show nothing more and make the page heavy.
MAX_POINTS = 1500
# Beyond this many cells their numbers would cover each other.
_MAX_NUMBERED = 150
# As many as have a symbol each.
_FEW = 24
# Validations are marked while their marks are apart.
_MARKED = 100
_MAX_TICKS = 12
_MAX_NAME = 30
_SYMBOLS = ("circle", "square", "diamond", "triangle-up", "x", "triangle-down", "cross", "star")
_ROW_PIXELS, _AROUND_PIXELS = 34, 110


def plot_curves(curves: Curves) -> dict[str, Any]:
    """Lines, with a band where there are intervals."""
    alone = len(curves.lines) == 1
    traces = [
        trace
        for i, line in enumerate(curves.lines)
        for trace in [*_band(line, i), _trace(line, i, alone=alone)]
    ]
    y_axis = _axis(curves.y_title, log=curves.log_y)
    if curves.from_zero:
        y_axis["rangemode"] = "tozero"
    x_axis = _axis(curves.x_title, log=curves.log_x)
    xs = sorted({x for line in curves.lines for x in line.xs})
    if curves.log_x and len(xs) <= _MAX_TICKS:
        x_axis |= {"tickvals": xs, "ticktext": [label_value(x) for x in xs]}
    return {"data": traces, "layout": {"xaxis": x_axis, "yaxis": y_axis}}


def plot_heat_map(chart: Chart) -> dict[str, Any]:
    """Cells in one colour scale with their numbers; n and interval when pointed at."""
    low, high = (_tone(end, log=chart.log_values) for end in chart.scale)
    title = f"log10 of {chart.values_title}" if chart.log_values else chart.values_title
    trace = {
        "type": "heatmap",
        "x": [label_value(column) for column in chart.columns],
        "y": [escape(row.label) for row in chart.rows],
        "z": [
            [
                None if cell is None else _tone(cell.value, log=chart.log_values)
                for cell in row.cells
            ]
            for row in chart.rows
        ],
        "text": [
            ["" if cell is None else brief(cell.value) for cell in row.cells] for row in chart.rows
        ],
        "customdata": [
            ["" if cell is None else _details(cell) for cell in row.cells] for row in chart.rows
        ],
        "texttemplate": "%{text}" if len(chart.cells) <= _MAX_NUMBERED else "",
        "hovertemplate": "%{x}, %{y}: %{text} %{customdata}<extra></extra>",
        "colorscale": "Viridis",
        "zmin": low,
        "zmax": high,
        "xgap": 1,
        "ygap": 1,
        "hoverongaps": False,
        "colorbar": {"title": {"text": escape(title), "side": "right"}, "thickness": 12},
    }
    layout = {
        "xaxis": {**_axis(chart.columns_title), "type": "category"},
        "yaxis": {**_axis(chart.rows_title), "type": "category"},
        "hovermode": "closest",
        "height": max(260, _AROUND_PIXELS + _ROW_PIXELS * len(chart.rows)),
    }
    return {"data": [trace], "layout": layout}


def stride(line: Line) -> int:
    """Every how many points one is drawn."""
    return max(1, math.ceil(len(line.xs) / MAX_POINTS))


def said_stride(curves: Curves) -> str:
    """That not every point is drawn, where that is so."""
    every = max(map(stride, curves.lines))
    return f"Every {every}th row is drawn." if every > 1 else ""


def _trace(line: Line, colour: int, *, alone: bool) -> dict[str, Any]:
    """Held-out values are few: marked, so that they differ from the training's by more than hue."""
    every = stride(line)
    marked = not line.name.startswith("train/") and not alone and len(line.xs) <= _MARKED
    few = len(line.xs) <= _FEW
    trace: dict[str, Any] = {
        "type": "scatter",
        "name": escape(_shortened(line.name)),
        "mode": "lines+markers" if marked or few else "lines",
        "x": line.xs[::every],
        "y": line.values[::every],
        "meta": {"colour": colour},
        "marker": {"symbol": _SYMBOLS[colour % len(_SYMBOLS)]},
    }
    if any(line.band):
        trace["text"] = [_ends(ends) for ends in line.band[::every]]
        trace["hovertemplate"] = "%{y:.4~g} %{text}"
    return trace


def _band(line: Line, colour: int) -> list[dict[str, Any]]:
    """The upper edge, then the lower one with what lies between."""
    known = [i for i, ends in enumerate(line.band) if ends is not None]
    if not known:
        return []
    ends = [ends for ends in line.band if ends is not None]
    edge = {
        "type": "scatter", "mode": "lines", "x": [line.xs[i] for i in known], "showlegend": False,
        "hoverinfo": "skip", "meta": {"colour": colour, "edge": True},
    }  # fmt: skip
    lows, highs = [low for low, _ in ends], [high for _, high in ends]
    return [{**edge, "y": highs}, {**edge, "y": lows, "fill": "tonexty"}]


def _axis(title: str, *, log: bool = False) -> dict[str, Any]:
    axis: dict[str, Any] = {"title": {"text": escape(title)}}
    return axis | {"type": "log"} if log else axis


def _shortened(name: str) -> str:
    """Both ends of a long name: a legend has no second line."""
    half = _MAX_NAME // 2
    return name if len(name) <= _MAX_NAME else f"{name[:half]}…{name[-half:]}"


def _tone(value: float, *, log: bool) -> float:
    return math.log10(value) if log else value


def _details(cell: Cell) -> str:
    if len(cell.records) == 1:
        return f"{_ends(cell.interval)} n {number(cell.records[0].n)}"
    return f"{_ends(cell.interval)} mean over {len(cell.records)} seeds"


def _ends(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f"[{number(interval[0])}, {number(interval[1])}]"
