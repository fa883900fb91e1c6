"""Everything that a run's folder tells, with a sentence for whatever is missing or damaged."""

import csv
import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from lmlab.engine.records import Record, parse_record
from lmlab.engine.run import Part, Results, Run

SAMPLES = "lm_generation_samples.json"


@dataclass(frozen=True)
class Training:
    """What one part left: its status, the rows of metrics.jsonl and those of system.csv."""

    name: str
    status: dict[str, Any]
    metrics: list[dict[str, Any]]
    system: list[dict[str, str]]


@dataclass(frozen=True)
class Summary:
    """What a run is and what it measured; `warnings` says what could not be read."""

    run: Run
    manifest: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    records: list[Record]
    warnings: list[str]


@dataclass(frozen=True)
class Material:
    """All that the page of a run is made of."""

    run: Run
    manifest: dict[str, Any]
    steps: dict[str, dict[str, Any]]
    records: list[Record]
    trainings: list[Training]
    samples: list[dict[str, Any]]
    config: str
    warnings: list[str]


def read_run(run: Run) -> Material:
    """Read what is there; what is damaged is left out and said, the rest stays."""
    said: list[str] = []
    summary = read_summary(run)
    return Material(
        run=run,
        manifest=summary.manifest,
        steps=summary.steps,
        records=summary.records,
        trainings=read_trainings(run, said=said),
        samples=[
            sample for results in run.all_results() for sample in _samples(results, run, said)
        ],
        config=_config(run, said),
        warnings=[*summary.warnings, *said],
    )


def read_summary(run: Run) -> Summary:
    """The small files and the records."""
    said: list[str] = []
    manifest = _read(run.manifest, where="manifest.json", said=said)
    if not manifest:
        said.append("There is no manifest: the commit and the command behind this run are unknown.")
    steps = _read(run.status, where="status.json", said=said).get("steps", {})
    records = [record for results in run.all_results() for record in _records(results, run, said)]
    if not records:
        said.append("There are no records yet: nothing has been measured.")
    distinct = _distinct(records, said)
    warnings = [*_unfinished(steps, run), *_continued(manifest), *said]
    return Summary(run, manifest, steps, distinct, warnings)


def read_trainings(run: Run, *, said: list[str]) -> list[Training]:
    """Every part's status and logs."""
    return [_training(part, said) for part in run.parts()]


def _read(read: Callable[[], dict[str, Any]], *, where: str, said: list[str]) -> dict[str, Any]:
    try:
        return read()
    except ValueError as error:
        said.append(f"{where} is damaged and was left out ({error}).")
        return {}


def _records(results: Results, run: Run, said: list[str]) -> list[Record]:
    path, found = results.folder / "results.jsonl", []
    where = path.relative_to(run.folder)
    for number, line in _lines(path):
        try:
            found.append(parse_record(line, "it"))
        except ValueError as error:
            said.append(f"{where}, line {number} was left out: {error}.")
    return found


def _distinct(records: list[Record], said: list[str]) -> list[Record]:
    """One record an id: an evaluation run again measures the same thing."""
    kept: dict[str, Record] = {}
    for record in records:
        first = kept.setdefault(record.id, record)
        if first.value != record.value:
            said.append(
                f"Record {record.id} was measured twice, as {first.value} and {record.value}; "
                "the first is shown."
            )
    return list(kept.values())


def _training(part: Part, said: list[str]) -> Training:
    status = _read(part.status, where=f"{part.name}/status.json", said=said)
    metrics, where = [], f"{part.name}/metrics.jsonl"
    for number, line in _lines(part.metrics_path):
        row = _json(line)
        if isinstance(row, dict) and isinstance(row.get("step"), int):
            metrics.append(row)
        else:
            said.append(f"{where}, line {number} is cut or damaged and was left out.")
    last = metrics[-1]["step"] if metrics else 0
    if not metrics:
        said.append(f"{where} has no rows: there are no curves of this training.")
    elif status.get("state") == "done" and last < status.get("step", 0):
        said.append(f"{where} ends at step {last}, the training at step {status['step']}.")
    return Training(part.name, status, metrics, _system(part))


def _system(part: Part) -> list[dict[str, str]]:
    if not part.system_path.exists():
        return []
    with part.system_path.open(newline="", encoding="utf-8", errors="replace") as file:
        return [dict(row) for row in csv.DictReader(file)]


def _samples(results: Results, run: Run, said: list[str]) -> list[dict[str, Any]]:
    path = results.export(SAMPLES)
    if not path.exists():
        return []
    found = _json(path.read_text(encoding="utf-8", errors="replace"))
    rows = found if isinstance(found, list) else []
    good = [row for row in rows if isinstance(row, dict) and isinstance(row.get("samples"), dict)]
    if not isinstance(found, list) or len(good) < len(rows):
        said.append(f"{path.relative_to(run.folder)} is damaged; what is legible is shown.")
    return good


def _config(run: Run, said: list[str]) -> str:
    if not run.config_path.exists():
        said.append("There is no config.yaml: the settings of this run are unknown.")
        return ""
    return run.config_path.read_text(encoding="utf-8", errors="replace")


def _unfinished(steps: dict[str, dict[str, Any]], run: Run) -> list[str]:
    found = [] if steps else ["No step of this run has begun."]
    for name, step in steps.items():
        match step.get("state"):
            case "failed":
                found.append(f"Step {name} failed: {step.get('error')}")
            case "preempted":
                found.append(f"Step {name} was interrupted; the same command goes on with it.")
            case "running" if not run.is_running():
                found.append(f"Step {name} was killed; the same command goes on with it.")
            case "running":
                found.append(f"Step {name} is still running: this page shows a moment of it.")
    return found


def _continued(manifest: dict[str, Any]) -> list[str]:
    """What was begun in spite of a gate."""
    return [
        f"Phase {one['phase']} was begun although a gate failed: {'; '.join(one['gates'])}. The "
        f"reason given: {one['why']}"
        for one in manifest.get("continued", [])
    ]


def _lines(path: Path) -> list[tuple[int, str]]:
    """Numbered from 1. Split at newlines alone: `str.splitlines` would cut inside JSON strings."""
    if not path.exists():
        return []
    lines = path.read_text(encoding="utf-8", errors="replace").split("\n")
    return [(number, line) for number, line in enumerate(lines, start=1) if line]


def _json(text: str) -> Any:
    """None for what is no JSON."""
    try:
        return json.loads(text)
    except json.JSONDecodeError:
        return None
