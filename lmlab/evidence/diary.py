"""The dated diary of experiments: what was asked, done, found and noted.

Everything in it comes from records, manifests and notes; the same files give the same diary.
"""

import shlex
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from lmlab.engine.records import Record
from lmlab.engine.run import find_runs, runs_root
from lmlab.evidence.markdown import code, plain
from lmlab.evidence.notes import Note, read_notes
from lmlab.evidence.overview import Entry, read_entries
from lmlab.evidence.pages.judged import Judged, read_judged
from lmlab.evidence.reading import Material, read_run
from lmlab.evidence.tables import build_tables, conditions, number, words
from lmlab.evidence.verdict import judge


def diary(*, study: str | None = None, since: str | None = None) -> str:
    """The diary as Markdown, the oldest run first.

    `since` is a day, YYYY-MM-DD: runs begun or noted on it or later, in UTC. Raises ValueError for
    what is no day, and for a study without runs.
    """
    start = _start_of(since) if since is not None else float("-inf")
    entries = [one for one in reversed(read_entries()) if study in (None, one.run.study)]
    if study is not None and not entries:
        raise ValueError(f"no runs of a study {study!r} in {runs_root()}")
    lines, day = ["# Experiment diary"], ""
    for entry in entries:
        said: list[str] = []
        notes = read_notes(entry.run, said=said)
        if max([entry.created, *(note.time for note in notes)]) < start:
            continue
        if _moment(entry.created)[:10] != day:
            day = _moment(entry.created)[:10]
            lines += ["", f"## {day}"]
        lines += ["", *_entry(entry, notes, said)]
    lines += [line for one in sorted({one.run.study for one in entries}) for line in _study(one)]
    return "\n".join(lines if len(lines) > 1 else [*lines, "", "Nothing yet."]) + "\n"


def hardware(attempt: Mapping[str, Any]) -> str:
    """Processor, GPUs, system and torch of a start, as its manifest says."""
    gpus = ", ".join(map(str, attempt.get("gpus") or [])) or "no GPU"
    processor = f"{attempt.get('cpu_count', '?')} x {attempt.get('processor', 'unknown processor')}"
    torch = (attempt.get("versions") or {}).get("torch", "unknown")
    return f"{processor}; {gpus}; {attempt.get('system', 'unknown system')}; torch {torch}"


def _entry(entry: Entry, notes: Sequence[Note], said: Sequence[str]) -> Iterator[str]:
    material = read_run(entry.run)
    question = str(material.manifest.get("question") or entry.run.reference)
    yield f"### {plain(question)}"
    yield ""
    yield f"- **Run**: {code(entry.run.reference)}, {entry.state}, {_moment(entry.created)}"
    yield from _origin(material)
    yield from _result(material)
    judged = read_judged(
        entry.run.folder, records={one.id for one in material.records}, said=material.warnings
    )
    yield from _verdicts(judged) if judged.gates else ["- **Verdict**: no gate was judged"]
    for warning in dict.fromkeys([*entry.problems, *material.warnings, *said]):
        yield f"- **To know**: {plain(warning)}"
    for note in notes:
        yield f"- **Note**, {_moment(note.time)}: {_paragraph(note.text)}"
    yield from _next(judged)


def _origin(material: Material) -> Iterator[str]:
    """Command, hardware and code of the last start."""
    attempts = material.manifest.get("attempts") or []
    if not attempts:
        return
    last = attempts[-1]
    starts = f", the last of {len(attempts)} starts" if len(attempts) > 1 else ""
    yield f"- **Command**: {code(shlex.join(last.get('command', [])))}{starts}"
    yield f"- **Hardware**: {plain(hardware(last))}"
    commit = str(last.get("commit") or "unknown")[:12]
    yield f"- **Code**: {commit}{' with uncommitted changes' if last.get('diff_sha256') else ''}"


def _result(material: Material) -> Iterator[str]:
    """The sentence, and the table that it speaks of: an arm never stands without its controls."""
    tables = build_tables(material.records)
    verdict = judge(tables)
    marks = f" ({', '.join(verdict.marks)})" if verdict.marks else ""
    yield f"- **Result**: {plain(verdict.sentence)}{marks}"
    for table in tables:
        if verdict.record is not None and verdict.record in table.subjects:
            for row in table.rows:
                yield f"    - {_measured(row.record)}{' (control)' if row.control else ''}"


def _verdicts(judged: Judged) -> Iterator[str]:
    for gate in judged.asked:
        yield f"- **Verdict**: {plain(f'{gate.gate}: {words(gate.verdict)}. {gate.reason}')}"


def _next(judged: Judged) -> Iterator[str]:
    for heading, sentences in judged.decision.items():
        name = {"actions": "Next", "claims": "Claim", "concerns": "Concern"}[heading]
        yield from (f"- **{name}**: {plain(sentence)}" for sentence in sentences)


def _study(study: str) -> Iterator[str]:
    """What was judged and decided over all runs of a study."""
    folder = runs_root() / study
    if not any((folder / name).exists() for name in ("gates.json", "decision.json")):
        return
    said: list[str] = []
    known = {record.id for run in find_runs(study) for record in read_run(run).records}
    judged = read_judged(folder, records=known, said=said)
    yield from ["", f"## All runs of {plain(study)}", ""]
    yield from [*_verdicts(judged), *(f"- **To know**: {plain(one)}" for one in said)]
    yield from _next(judged)


def _measured(record: Record) -> str:
    between = ""
    if record.interval is not None:
        between = f" [{number(record.interval[0])}, {number(record.interval[1])}]"
    place = f"{conditions(record.at)}, " if record.at else ""
    value = f"{words(record.metric)} {number(record.value)}{between} {record.unit}"
    return plain(f"{record.arm}: {value}; {place}n {record.n:,}, seed {record.seed}")


def _paragraph(text: str) -> str:
    """The lines of a note, each one a line here too."""
    return "  \n  ".join(plain(line) for line in text.splitlines() if line.strip())


def _start_of(day: str) -> float:
    try:
        return datetime.combine(date.fromisoformat(day), datetime.min.time(), UTC).timestamp()
    except ValueError:
        raise ValueError(f"{day!r} is no day; write it as 2026-01-31") from None


def _moment(seconds: float) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M UTC")
