"""The page of a run, self-contained, from the files in its folder; tables and figures beside it."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from lmlab.engine.run import Run
from lmlab.evidence.pages.blocks import Pieces
from lmlab.evidence.pages.charts import Chart, choose_charts
from lmlab.evidence.pages.drawing import save
from lmlab.evidence.pages.gains import Gains, gain_sheets, read_gains
from lmlab.evidence.pages.judged import Judged, read_judged
from lmlab.evidence.pages.lines import Curves, median_throughput, training_curves
from lmlab.evidence.pages.markup import duration, short
from lmlab.evidence.pages.parts import divide, environment, write_pages
from lmlab.evidence.pages.table_files import (
    Sheet,
    file_name,
    gate_sheets,
    record_sheets,
    write_sheets,
)
from lmlab.evidence.reading import Material, Training, read_run
from lmlab.evidence.tables import build_tables, number
from lmlab.evidence.verdict import companions, judge

_TILES = 3
# What stands on the first page beside blocks: header, gates, steps, provenance.
FIRST_PAGE = 300_000


def write_report(run: Run, *, force: bool = False) -> Path:
    """Write `report.html`, `tables/` and `figures/` beside it.

    Raises ValueError where somebody edited the page since, unless `force`.
    """
    material = read_run(run)
    said = list(material.warnings)
    known = {record.id for record in material.records}
    judged = read_judged(run.folder, records=known, said=said)
    gains = read_gains(material.records)
    drawn = [one for one in material.records if gains is None or one.id not in gains.ids]
    charts = choose_charts(drawn)
    texts = _render(material, judged, charts, gains, warnings=said)
    write_pages(run.report_path, texts, force=force)
    curves = [one for training in material.trainings for one in training_curves(training)]
    sheets = [*gate_sheets(judged), *gain_sheets(gains), *record_sheets(material.records)]
    write_files(run.report_path, sheets=sheets, pictures=[*charts, *curves])
    return run.report_path


def write_files(path: Path, *, sheets: Sequence[Sheet], pictures: Sequence[Chart | Curves]) -> None:
    """Tables and figures beside a page."""
    write_sheets(sheets, path.with_name("tables"))
    names: dict[str, int] = {}
    for picture in pictures:
        name = file_name(picture.title)
        names[name] = names.get(name, 0) + 1
        numbered = name if names[name] == 1 else f"{name}_{names[name]}"
        save(picture, path.with_name("figures") / numbered)


def _render(
    material: Material,
    judged: Judged,
    charts: Sequence[Chart],
    gains: Gains | None,
    *,
    warnings: Sequence[str],
) -> list[str]:
    templates = environment()
    pieces = Pieces(templates)
    tables = build_tables(material.records)
    verdict = judge(tables)
    told = gains.ids if gains is not None else set[str]()
    blocks = [
        *pieces.charts(charts), *pieces.trainings(material.trainings),
        *pieces.samples(material.samples), *pieces.tables(tables, charts=charts, told=told),
    ]  # fmt: skip
    template = templates.get_template("report.html.j2")
    return [
        template.render(
            page=page,
            pieces=pieces.macros,
            material=material,
            title=material.manifest.get("question") or material.run.reference,
            name=material.run.reference,
            what="run",
            judged=judged,
            gains=gains,
            ids={record.id for record in material.records},
            warnings=warnings,
            verdict=verdict,
            tiles=companions(verdict, tables)[:_TILES],
            facts=_training_facts(material.trainings),
            steps=_in_order(material.steps),
            about={k: v for k, v in material.manifest.items() if k != "attempts"},
            made=datetime.now(UTC).timestamp(),
        )
        for page in divide(blocks, path=material.run.report_path, taken=FIRST_PAGE)
    ]


def _training_facts(trainings: Sequence[Training]) -> list[tuple[str, str, str]]:
    """(name, value, unit) over all parts; what is unknown is left out."""
    tokens = sum(_last(training, "tokens") for training in trainings)
    seconds = sum(training.status.get("seconds") or 0 for training in trainings)
    cost = sum(training.status.get("cost_usd") or 0 for training in trainings)
    rate = median_throughput(trainings)
    found = [
        ("trained on", short(tokens), "tokens") if tokens else None,
        ("training time", duration(seconds), "all attempts") if seconds else None,
        ("median throughput", number(rate), "tokens per second") if rate else None,
        ("cost", number(cost), "USD") if cost else None,
    ]
    return [fact for fact in found if fact is not None]


def _last(training: Training, name: str) -> int:
    return next((row[name] for row in reversed(training.metrics) if name in row), 0)


def _in_order(steps: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """As they began, each with the seconds that it took, known or not."""
    ordered = sorted(steps.items(), key=lambda item: item[1].get("started") or 0)
    return [(name, {"seconds": _took(step), **step}) for name, step in ordered]


def _took(step: Mapping[str, Any]) -> float | None:
    if step.get("started") is None or step.get("finished") is None:
        return None
    return step["finished"] - step["started"]
