"""The page of a run: one self-contained HTML file made from what lies in the run's folder."""

import hashlib
import json
import re
from collections.abc import Mapping
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import jinja2
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from lmlab.engine.run import Run, write_text
from lmlab.evidence.figures import build_figures, median_throughput
from lmlab.evidence.reading import Material, Training, read_run
from lmlab.evidence.tables import build_tables, conditions, number, words
from lmlab.evidence.verdict import companions, judge

TEMPLATES = Path(__file__).parent / "templates"
_SEAL = re.compile(r"<!-- lmlab report sha256 ([0-9a-f]{64}) -->\n\Z")
_TILES = 3


def write_report(run: Run, *, force: bool = False) -> Path:
    """Write `report.html`. Raises ValueError where somebody edited it since, unless `force`."""
    path = run.report_path
    if path.exists() and not force and not _is_ours(path.read_bytes()):
        raise ValueError(
            f"{path} was edited since it was written; move it away, or give --force to replace it"
        )
    page = render(read_run(run))
    write_text(path, f"{page}<!-- lmlab report sha256 {_digest(page)} -->\n")
    return path


def render(material: Material) -> str:
    """The page of what was read."""
    tables = build_tables(material.records)
    verdict = judge(tables)
    figures = [
        build_figures(training, prefix=f"figure-{i}")
        for i, training in enumerate(material.trainings)
    ]
    plots = {figure.id: figure.plot for group in figures for figure in group}
    template = _environment().get_template("report.html.j2")
    return template.render(
        material=material,
        title=material.manifest.get("question") or material.run.reference,
        verdict=verdict,
        tiles=companions(verdict, tables)[:_TILES],
        facts=_training_facts(material.trainings),
        tables=tables,
        trainings=list(zip(material.trainings, figures, strict=True)),
        plots=plots,
        plotly=Markup(get_plotlyjs()) if plots else "",
        samples=[_sample(one) for one in material.samples],
        steps=_in_order(material.steps),
        about={k: v for k, v in material.manifest.items() if k != "attempts"},
        made=datetime.now(UTC).timestamp(),
    )


def _environment() -> jinja2.Environment:
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters |= {
        "number": number, "words": words, "conditions": conditions, "moment": _moment,
        "duration": _duration, "fields": asdict, "plain": _plain,
    }  # fmt: skip
    return environment


def _is_ours(stored: bytes) -> bool:
    text = stored.decode("utf-8", errors="replace")
    seal = _SEAL.search(text)
    return seal is not None and seal[1] == _digest(text[: seal.start()])


def _digest(page: str) -> str:
    return hashlib.sha256(page.encode()).hexdigest()


def _training_facts(trainings: list[Training]) -> list[tuple[str, str, str]]:
    """(name, value, unit) over all parts; what is unknown is left out."""
    tokens = sum(_last(training, "tokens") for training in trainings)
    seconds = sum(training.status.get("seconds") or 0 for training in trainings)
    cost = sum(training.status.get("cost_usd") or 0 for training in trainings)
    rate = median_throughput(trainings)
    found = [
        ("trained on", _short(tokens), "tokens") if tokens else None,
        ("training time", _duration(seconds), "all attempts") if seconds else None,
        ("median throughput", number(rate), "tokens per second") if rate else None,
        ("cost", number(cost), "USD") if cost else None,
    ]
    return [fact for fact in found if fact is not None]


def _last(training: Training, name: str) -> int:
    return next((row[name] for row in reversed(training.metrics) if name in row), 0)


def _sample(sample: Mapping[str, Any]) -> dict[str, Any]:
    """Each text apart from the prompt that it repeats."""
    texts = [(prompt, str(text).removeprefix(prompt)) for prompt, text in sample["samples"].items()]
    about = {name: value for name, value in sample.items() if name != "samples"}
    settings = about.pop("settings", None)
    return {"about": about | (settings if isinstance(settings, dict) else {}), "texts": texts}


def _in_order(steps: Mapping[str, Mapping[str, Any]]) -> list[tuple[str, dict[str, Any]]]:
    """As they began, each with the seconds that it took, known or not."""
    ordered = sorted(steps.items(), key=lambda item: item[1].get("started") or 0)
    return [(name, {"seconds": _took(step), **step}) for name, step in ordered]


def _took(step: Mapping[str, Any]) -> float | None:
    if step.get("started") is None or step.get("finished") is None:
        return None
    return step["finished"] - step["started"]


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _duration(seconds: float | None) -> str:
    """`1 h 02 min`, `2 min 13 s`, `4.1 s`."""
    if seconds is None:
        return "–"
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


def _short(count: int) -> str:
    """`12.27 M`."""
    for size, letter in ((1e9, "G"), (1e6, "M"), (1e3, "k")):
        if count >= size:
            return f"{number(count / size)} {letter}"
    return str(count)


def _plain(value: Any) -> str:
    """A value of a manifest or a record on one line; a command is joined as it was typed."""
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(value) or "–"
    if value is None or value == "":
        return "–"
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)
