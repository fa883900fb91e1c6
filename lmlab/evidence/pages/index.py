"""`runs/index.html`: every run in one table that can be filtered, sorted and followed to its page.

One file without a network; it is written again only where it would differ.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import quote

import jinja2

from lmlab.engine.run import runs_root, write_text
from lmlab.evidence.overview import Entry
from lmlab.evidence.pages.judged import read_judged
from lmlab.evidence.tables import words

TEMPLATES = Path(__file__).parent / "templates"
_RESULTS = ("results.jsonl", "evaluations/*/results.jsonl")


@dataclass(frozen=True)
class Line:
    """A run as the table shows it."""

    study: str
    name: str
    link: str
    folder: str
    state: str
    preset: str
    question: str
    created: float
    seconds: float
    records: int
    gates: str
    problems: tuple[str, ...]

    @property
    def began(self) -> str:
        """The day and minute, in UTC."""
        return datetime.fromtimestamp(self.created, UTC).strftime("%Y-%m-%d %H:%M")

    @property
    def took(self) -> str:
        """`1 h 02 min`, `2 min 13 s`, `4 s`; empty where no step has ended."""
        minutes, seconds = divmod(round(self.seconds), 60)
        hours, minutes = divmod(minutes, 60)
        if hours:
            return f"{hours} h {minutes:02d} min"
        return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s" if seconds else ""


def write_index(entries: Sequence[Entry]) -> Path:
    """The page of these runs, in the folder of all runs."""
    path = runs_root() / "index.html"
    page = render(entries)
    if path.parent.is_dir() and (not path.exists() or path.read_text(encoding="utf-8") != page):
        write_text(path, page)
    return path


def render(entries: Sequence[Entry]) -> str:
    """The page; the same runs give the same bytes."""
    lines = [_line(entry) for entry in entries]
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    studies = sorted({line.study for line in lines})
    return environment.get_template("index.html.j2").render(
        lines=lines,
        studies=studies,
        states=sorted({line.state for line in lines}),
        pages=[one for one in studies if (runs_root() / one / "report.html").is_file()],
    )


def _line(entry: Entry) -> Line:
    run = entry.run
    folder = f"{quote(run.study)}/{quote(run.name)}/"
    failed = [f"{name}: {step['error']}" for name, step in entry.steps if step.get("error")]
    seconds = [step.get("seconds") for _, step in entry.steps]
    return Line(
        study=run.study,
        name=run.name,
        link=f"{folder}report.html" if run.report_path.is_file() else folder,
        folder=folder,
        state=entry.state,
        preset=str(entry.manifest.get("preset", "")),
        question=str(entry.manifest.get("question", "")),
        created=entry.created,
        seconds=sum((float(one) for one in seconds if isinstance(one, (int, float))), 0.0),
        records=sum(_count_lines(path) for name in _RESULTS for path in run.folder.glob(name)),
        gates=_gates(run.folder),
        problems=(*entry.problems, *failed),
    )


def _count_lines(path: Path) -> int:
    return path.read_bytes().count(b"\n")


def _gates(folder: Path) -> str:
    """`3 pass, 1 fail`; empty where no gate was judged."""
    said: list[str] = []
    judged = read_judged(folder, records=(), said=said)
    return ", ".join(f"{count} {words(verdict)}" for verdict, count in judged.counts)
