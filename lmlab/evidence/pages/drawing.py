"""Charts and curves with matplotlib: png and pdf for a paper, SVG in the page's own colours."""

import hashlib
import io
import logging
import math
import re
import textwrap
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.projections.polar import PolarAxes

from lmlab.evidence.pages.charts import Cell, Chart, brief, label_value
from lmlab.evidence.pages.lines import Curves, Line, chart_curves

# It tells of every letter that it embeds, as loud as others tell of a training.
logging.getLogger("fontTools.subset").setLevel(logging.WARNING)

# Okabe and Ito's, in the order of the page's --c1, --c2 ...
_LINES = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#555555", "#8c6d1f")
_INK, _QUIET, _RULE = "#1d2126", "#5f6770", "#e3e4e0"
_MARKERS = "osD^xvP*"
_FEW, _MAX_TICKS = 24, 12
_VARIABLES = {
    _INK: "--ink", _QUIET: "--quiet", _RULE: "--line",
    **{colour: f"--c{i}" for i, colour in enumerate(_LINES, start=1)},
}  # fmt: skip
_STYLE: dict[Any, Any] = {
    "font.family": "DejaVu Sans", "font.size": 9, "text.color": _INK, "axes.labelcolor": _QUIET,
    "axes.edgecolor": _RULE, "axes.titlesize": 10, "axes.titlelocation": "left",
    "xtick.color": _QUIET, "ytick.color": _QUIET, "grid.color": _RULE, "axes.grid": True,
    "axes.axisbelow": True, "axes.spines.top": False, "axes.spines.right": False,
    "legend.frameon": False, "legend.fontsize": 8, "figure.constrained_layout.use": True,
    "svg.fonttype": "none", "pdf.fonttype": 42, "text.parse_math": False,
}  # fmt: skip
_DPI = 160
# From this share of the colour scale on, black is read better than white.
_BRIGHT = 0.55
# Inches a letter takes, and the letters after which a name goes on in the next line.
_LETTER, _NAME = 0.08, 22
# Of an inch, as SVG counts.
_POINTS = 72


def draw(picture: Chart | Curves, *, titled: bool) -> Figure:
    """A figure that stands alone with `titled`; else its page says title and caption."""
    with mpl.rc_context(_STYLE):
        match picture:
            case Curves():
                figure = _draw_curves(picture)
            case Chart(kind="curve"):
                figure = _draw_curves(chart_curves(picture))
            case Chart(kind="radar"):
                figure = _draw_radar(picture)
            case Chart():
                figure = _draw_cells(picture)
        if titled:
            figure.suptitle(picture.title, x=0.01, ha="left", size=10)
            figure.supxlabel(_wrapped(picture.said), x=0.01, ha="left", size=7, color=_QUIET)
        return figure


def save(picture: Chart | Curves, path: Path) -> list[Path]:
    """`path` with .png and .pdf, the same bytes for the same picture; an equal one stays."""
    path.parent.mkdir(parents=True, exist_ok=True)
    png, pdf = path.with_name(f"{path.name}.png"), path.with_name(f"{path.name}.pdf")
    # Drawing is most of a report's time, and few pictures change between two reports of a run.
    digest = hashlib.sha256(f"{picture!r}{Path(__file__).read_text()}".encode()).hexdigest()
    if png.exists() and pdf.exists() and digest.encode() in png.read_bytes()[:1000]:
        return [png, pdf]
    figure = draw(picture, titled=True)
    with mpl.rc_context(_STYLE):
        # Placed once for both files.
        layout = figure.get_layout_engine()
        assert layout is not None
        layout.execute(figure)
        figure.set_layout_engine("none")
        figure.savefig(pdf, metadata={"CreationDate": None})
        figure.savefig(png, dpi=_DPI, metadata={"Software": None, "Description": digest})
    return [png, pdf]


def svg(figure: Figure) -> str:
    """For a page: in its colours, as wide as its place, with ids that no other figure has."""
    file = io.StringIO()
    with mpl.rc_context({**_STYLE, "svg.hashsalt": "lmlab"}):
        figure.savefig(file, format="svg", transparent=True, metadata={"Date": None})
    text = file.getvalue()
    text = text[text.index("<svg") :]
    # Its style sheet would hold for the whole page, which has these rules for `.drawn` alone.
    text = re.sub(r"<(metadata|style).*?</\1>", "", text, flags=re.DOTALL)
    text = re.sub(r"'DejaVu Sans'[^;\"]*", "var(--sans)", text)
    own = hashlib.sha256(text.encode()).hexdigest()[:8]
    text = re.sub(r'( id="|url\(#|href="#)', rf"\g<1>{own}-", text)
    for colour, variable in _VARIABLES.items():
        text = text.replace(f": {colour}", f": var({variable})")
    # As wide as its place, within what keeps its letters legible; the first two are the root's.
    width = figure.get_figwidth() * _POINTS
    size = f'<svg style="min-width: {0.9 * width:.0f}px; max-width: {1.5 * width:.0f}px"'
    return size + re.sub(r' (?:width|height)="[^"]*pt"', "", text, count=2).removeprefix("<svg")


def _draw_curves(curves: Curves) -> Figure:
    figure = _figure(5.6, 3.4)
    axes = figure.add_subplot()
    for i, line in enumerate(curves.lines):
        _draw_line(axes, line, i)
    axes.set_xlabel(curves.x_title)
    axes.set_ylabel(curves.y_title)
    if curves.log_x:
        axes.set_xscale("log")
        xs = sorted({x for line in curves.lines for x in line.xs})
        if len(xs) <= _MAX_TICKS:
            axes.set_xticks(xs, [label_value(x) for x in xs])
            axes.set_xticks([], minor=True)
    if curves.log_y:
        axes.set_yscale("log")
    if curves.from_zero:
        axes.set_ylim(bottom=0)
    if len(curves.lines) > 1:
        axes.legend()
    return figure


def _draw_line(axes: Axes, line: Line, i: int) -> None:
    colour = _LINES[i % len(_LINES)]
    marker = _MARKERS[i % len(_MARKERS)] if len(line.xs) <= _FEW else ""
    values = [math.nan if value is None else value for value in line.values]
    axes.plot(line.xs, values, color=colour, marker=marker, ms=4, lw=1.5, label=_label(line.name))
    bands = zip(line.xs, line.band, strict=True) if line.band else ()
    known = [(x, ends) for x, ends in bands if ends is not None]
    if known:
        lows, highs = [ends[0] for _, ends in known], [ends[1] for _, ends in known]
        axes.fill_between([x for x, _ in known], lows, highs, color=colour, alpha=0.18, lw=0)


def _draw_cells(chart: Chart) -> Figure:
    """A heat map or an ablation grid: every cell with its number, interval and colour."""
    across = [_label(label_value(one)) for one in chart.columns]
    down = [_label(row.label) for row in chart.rows]
    wide = max(0.95 if chart.kind == "grid" else 0.7, _LETTER * _longest(across))
    figure = _figure(
        1.6 + _LETTER * _longest(down) + wide * len(across), 1.3 + 0.45 * len(chart.rows)
    )
    axes = figure.add_subplot()
    log = chart.log_values
    tones = [[_tone(cell, log=log) for cell in row.cells] for row in chart.rows]
    low, high = (math.log10(end) if log else end for end in chart.scale)
    image = axes.imshow(tones, cmap="viridis", vmin=low, vmax=high, aspect="auto")
    for y, row in enumerate(chart.rows):
        for x, cell in enumerate(row.cells):
            if cell is not None:
                bright = high > low and (tones[y][x] - low) / (high - low) > _BRIGHT
                _write(axes, _cell_text(cell, chart), x, y, "#000000" if bright else "#ffffff")
    axes.set_xticks(range(len(across)), across)
    axes.set_yticks(range(len(down)), down)
    axes.set_xlabel(chart.columns_title)
    axes.set_ylabel(chart.rows_title)
    axes.grid(visible=False)
    if chart.kind == "heat":
        axes.invert_yaxis()
    title = f"log10 of {chart.values_title}" if log else chart.values_title
    figure.colorbar(image, ax=axes, label=_wrapped(title, 28)).outline.set_visible(False)  # type: ignore[union-attr]
    return figure


def _write(axes: Axes, text: str, x: int, y: int, colour: str) -> None:
    axes.text(x, y, text, color=colour, ha="center", va="center", size=7, linespacing=1.3)


def _draw_radar(chart: Chart) -> Figure:
    figure = _figure(5.6, 4.2)
    axes = figure.add_subplot(projection="polar")
    assert isinstance(axes, PolarAxes)
    turns = [2 * math.pi * i / len(chart.columns) for i in range(len(chart.columns))]
    for i, row in enumerate(chart.rows):
        colour, cells = _LINES[i % len(_LINES)], [cell for cell in row.cells if cell is not None]
        ring = [cell.value for cell in [*cells, cells[0]]]
        axes.plot(
            [*turns, turns[0]], ring, color=colour, marker=_MARKERS[i], ms=4, lw=1.5,
            label=_label(row.label),
        )  # fmt: skip
        for turn, cell in zip(turns, cells, strict=True):
            if cell.interval is not None:
                axes.plot([turn, turn], cell.interval, color=colour, alpha=0.35, lw=3)
    axes.set_theta_zero_location("N")
    axes.set_theta_direction(-1)
    axes.set_xticks(turns, [_label(label_value(column)) for column in chart.columns])
    axes.tick_params(axis="x", pad=2)
    for turn, spoke in zip(turns, axes.get_xticklabels(), strict=True):
        spoke.set_horizontalalignment(_beside(math.sin(turn)))
    axes.set_ylim(0, 1)
    axes.set_yticks([0.25, 0.5, 0.75, 1.0], ["0.25", "0.5", "0.75", "1"], size=7)
    axes.spines["polar"].set_color(_RULE)
    axes.set_xlabel(_wrapped(f"{chart.columns_title}; {chart.values_title}"))
    figure.legend(loc="outside right upper")
    return figure


def _beside(sideways: float) -> Literal["left", "center", "right"]:
    """Names of spokes stand outside the circle."""
    if abs(sideways) < 0.1:
        return "center"
    return "left" if sideways > 0 else "right"


def _figure(width: float, height: float) -> Figure:
    figure = Figure(figsize=(width, height))
    FigureCanvasAgg(figure)
    return figure


def _cell_text(cell: Cell, chart: Chart) -> str:
    if cell.interval is None or chart.kind == "heat":
        return brief(cell.value)
    return f"{brief(cell.value)}\n{brief(cell.interval[0])} – {brief(cell.interval[1])}"


def _tone(cell: Cell | None, *, log: bool) -> float:
    if cell is None:
        return math.nan
    return math.log10(cell.value) if log else cell.value


def _label(name: str) -> str:
    """In lines. One that begins with an underscore would be left out of a legend."""
    return _wrapped(f" {name}" if name.startswith("_") else name, _NAME)


def _longest(labels: Sequence[str]) -> int:
    return max(len(line) for label in labels for line in label.split("\n"))


def _wrapped(text: str, width: int = 90) -> str:
    return "\n".join(textwrap.wrap(text, width, drop_whitespace=False, break_on_hyphens=False))
