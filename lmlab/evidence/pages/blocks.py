"""The pieces of a report: charts, tables with their records, trainings and samples, as HTML."""

import json
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import replace
from typing import Any

import jinja2
from markupsafe import Markup

from lmlab.evidence.pages.charts import Chart
from lmlab.evidence.pages.drawing import draw, svg
from lmlab.evidence.pages.figures import plot_curves, plot_heat_map, said_stride
from lmlab.evidence.pages.lines import Curves, chart_curves, training_curves
from lmlab.evidence.pages.parts import MAX_OPEN, Block
from lmlab.evidence.reading import Training
from lmlab.evidence.tables import Table

# More rows than anybody reads at once; a report can be divided between tables only.
MAX_ROWS = 300


class Pieces:
    """Makes blocks with the macros of `pieces.html.j2`."""

    def __init__(self, environment: jinja2.Environment) -> None:
        self.macros: Any = environment.get_template("pieces.html.j2").module

    def charts(self, pictures: Sequence[Chart | Curves]) -> list[Block]:
        """Curves and heat maps for Plotly; radars and grids are drawn here, as SVG."""
        return [self._chart(one, f"chart-{i}") for i, one in enumerate(pictures)]

    def tables(
        self,
        tables: Sequence[Table],
        *,
        charts: Sequence[Chart | Curves],
        told: Collection[str],
    ) -> list[Block]:
        """Each with the records that its numbers link to; `told` are those shown elsewhere."""
        drawn = [chart for chart in charts if isinstance(chart, Chart)]
        shown = {*told} | {
            one.id for chart in drawn for cell in chart.cells for one in cell.records
        }
        many = len(tables) > MAX_OPEN
        return [
            Block(
                "tables",
                self.macros.result(table, f"table-{i}", said),
                records=self.macros.records(table, many),
                charted=many and all(row.record.id in shown for row in table.rows),
            )
            for i, (table, said) in enumerate(_in_pieces(tables))
        ]

    def trainings(self, trainings: Sequence[Training]) -> list[Block]:
        """The curves of each part."""
        return [self._training(one, f"figure-{i}") for i, one in enumerate(trainings)]

    def samples(self, samples: Sequence[Mapping[str, Any]]) -> list[Block]:
        """What models wrote; several of the same prompts and settings stand side by side."""
        groups: dict[str, list[Mapping[str, Any]]] = {}
        for one in samples:
            key = json.dumps([one.get("settings"), one.get("seed"), [*one["samples"]]])
            groups.setdefault(key, []).append(one)
        return [
            Block("samples", self.macros.sample(_sample(group[0])))
            if len(group) == 1
            else Block("samples", self.macros.samples(_side_by_side(group)))
            for group in groups.values()
        ]

    def _chart(self, picture: Chart | Curves, name: str) -> Block:
        plot, drawn = None, Markup("")
        match picture:
            case Curves():
                plot = plot_curves(picture)
            case Chart(kind="curve"):
                plot = plot_curves(chart_curves(picture))
            case Chart(kind="heat"):
                plot = plot_heat_map(picture)
            case Chart():
                drawn = Markup(svg(draw(picture, titled=False)))
        matrix = picture if isinstance(picture, Chart) else None
        html = self.macros.figure(name, picture.title, picture.said, drawn, matrix)
        return Block("charts", html, {name: plot} if plot else {})

    def _training(self, training: Training, name: str) -> Block:
        found = {f"{name}-{i}": one for i, one in enumerate(training_curves(training))}
        figures = [
            self.macros.figure(key, one.title, _said(one), Markup(""), None)
            for key, one in found.items()
        ]
        plots = {key: plot_curves(one) for key, one in found.items()}
        return Block("training", self.macros.training(training, Markup("").join(figures)), plots)


def _in_pieces(tables: Sequence[Table]) -> Iterator[tuple[Table, str]]:
    """Long tables in pieces that say which rows they show."""
    for table in tables:
        rows = len(table.rows)
        for start in range(0, rows, MAX_ROWS):
            piece = table.rows[start : start + MAX_ROWS]
            said = f"rows {start + 1} to {start + len(piece)} of {rows:,}"
            yield replace(table, rows=piece), said if rows > MAX_ROWS else ""


def _said(curves: Curves) -> str:
    return ". ".join(filter(None, [curves.said, said_stride(curves)]))


def _side_by_side(samples: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """What they share, and by prompt what each made of it."""
    first, *others = [_sample(one) for one in samples]
    shared = {
        name: value
        for name, value in first["about"].items()
        if all(one["about"].get(name) == value for one in others)
    }
    names = [str(one.get("checkpoint") or one.get("run_name")) for one in samples]
    rows = [
        (
            prompt,
            [(name, one["texts"][i][1]) for name, one in zip(names, [first, *others], strict=True)],
        )
        for i, (prompt, _) in enumerate(first["texts"])
    ]
    return {"about": shared, "rows": rows}


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Each text apart from the prompt that it repeats."""
    texts = [(prompt, str(text).removeprefix(prompt)) for prompt, text in sample["samples"].items()]
    about = {name: value for name, value in sample.items() if name != "samples"}
    settings = about.pop("settings", None)
    return {"about": about | (settings if isinstance(settings, dict) else {}), "texts": texts}
