"""One page over several runs: gates and decision, the runs, and their records side by side."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from lmlab.engine.references import resolve
from lmlab.engine.run import Run, find_runs, runs_root
from lmlab.evidence.exports import write_exports
from lmlab.evidence.overview import read_entry
from lmlab.evidence.pages.blocks import Pieces
from lmlab.evidence.pages.charts import MAX_LINES, choose_charts
from lmlab.evidence.pages.judged import Judged, read_judged
from lmlab.evidence.pages.lines import Curves, losses_over_runs
from lmlab.evidence.pages.parts import divide, environment, write_pages
from lmlab.evidence.pages.report import FIRST_PAGE, write_files, write_report
from lmlab.evidence.pages.table_files import file_name, gate_sheets, record_sheets
from lmlab.evidence.reading import Summary, read_summary, read_trainings
from lmlab.evidence.tables import build_tables, number
from lmlab.evidence.verdict import Verdict, judge


@dataclass(frozen=True)
class RunLine:
    """A run as the table of runs shows it; `link` is empty while it has no page."""

    reference: str
    name: str
    link: str
    state: str
    created: float | None
    preset: str | None
    records: int
    verdict: Verdict
    about: dict[str, Any]


def report(references: Sequence[str], *, force: bool = False) -> Path:
    """The page of one run, with its exports; of a study by its bare name; of several runs."""
    if len(references) == 1 and "/" in references[0]:
        run = resolve(references[0]).run
        page = write_report(run, force=force)
        write_exports(run)
        return page
    runs = [run for one in references for run in _runs(one)]
    folder = runs_root() / (references[0] if len(references) == 1 else _folder(runs))
    return write_study_report(list(dict.fromkeys(runs)), folder, force=force)


def write_study_report(runs: Sequence[Run], folder: Path, *, force: bool = False) -> Path:
    """Write `report.html` in the folder, with the gates judged there."""
    path = folder / "report.html"
    summaries = [read_summary(run) for run in runs]
    said = [f"{one.run.reference}: {line}" for one in summaries for line in one.warnings]
    records = [record for one in summaries for record in one.records]
    judged = read_judged(folder, records={one.id for one in records}, said=said)
    charts = [*choose_charts(records), *_losses(runs)]
    templates = environment()
    pieces = Pieces(templates)
    blocks = [
        *pieces.charts(charts),
        *pieces.tables(build_tables(records), charts=charts, told=set()),
    ]
    pages = divide(blocks, path=path, taken=FIRST_PAGE + 2_000 * len(runs))
    values = _values(summaries, judged, folder) | {"warnings": said}
    template = templates.get_template("study.html.j2")
    texts = [template.render(page=page, pieces=pieces.macros, **values) for page in pages]
    write_pages(path, texts, force=force)
    sheets = [*gate_sheets(judged), *record_sheets(records)]
    write_files(path, sheets=sheets, pictures=charts)
    return path


def _values(summaries: Sequence[Summary], judged: Judged, folder: Path) -> dict[str, Any]:
    lines = [_line(one, folder) for one in summaries]
    studies = sorted({one.run.study for one in summaries})
    questions = {one.manifest.get("question") for one in summaries}
    name = studies[0] if len(studies) == 1 else ", ".join(studies)
    shared = questions.pop() if len(questions) == 1 else None
    return {
        "title": shared or f"What {number(len(lines))} runs of {name} show",
        "name": folder.relative_to(runs_root()).as_posix(),
        "what": "runs",
        "studies": studies,
        "judged": judged,
        "ids": {record.id for one in summaries for record in one.records},
        "runs": lines,
        "facts": _facts(lines),
        "made": datetime.now(UTC).timestamp(),
    }


def _line(summary: Summary, folder: Path) -> RunLine:
    run, manifest = summary.run, summary.manifest
    page = Path(os.path.relpath(run.report_path, folder)).as_posix()
    return RunLine(
        reference=run.reference,
        name=run.name,
        link=quote(page) if run.report_path.exists() else "",
        state=read_entry(run).state,
        created=manifest.get("created"),
        preset=manifest.get("preset"),
        records=len(summary.records),
        verdict=judge(build_tables(summary.records)),
        about={key: value for key, value in manifest.items() if key != "attempts"},
    )


def _facts(lines: Sequence[RunLine]) -> list[tuple[str, str, str]]:
    done = sum(one.state == "done" for one in lines)
    return [
        ("runs", number(len(lines)), f"{number(done)} done"),
        ("records", number(sum(one.records for one in lines)), "of all runs"),
    ]


def _losses(runs: Sequence[Run]) -> list[Curves]:
    """Of as many runs as can be told apart; what of them is damaged, their own pages say."""
    found = {
        f"{run.name} · {training.name}": training
        for run in runs[:MAX_LINES]
        for training in read_trainings(run, said=[])
    }
    return losses_over_runs(found) if len(found) > 1 else []


def _runs(reference: str) -> list[Run]:
    if "/" in reference:
        return [resolve(reference).run]
    runs = find_runs(reference)
    if not runs:
        raise ValueError(f"no runs of {reference!r} in {runs_root()}")
    return runs


def _folder(runs: Sequence[Run]) -> str:
    """Where the page over chosen runs lies; more than a few names are counted."""
    names = [f"{run.study}_{run.name}" for run in runs]
    shown = "_and_".join(names[:2]) + (f"_and_{len(names) - 2}_more" if len(names) > 2 else "")
    return f"reports/{file_name(shown)}"
