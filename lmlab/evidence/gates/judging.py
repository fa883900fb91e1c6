"""What `lmlab gate` does: finds the runs, judges them, keeps the judgements, prints and exits."""

import hashlib
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from lmlab.engine.references import resolve
from lmlab.engine.run import Run, find_runs, runs_root, write_json
from lmlab.evidence.gates.grammar import gate_path, load_gates
from lmlab.evidence.gates.judge import Judgement, judge_gates
from lmlab.evidence.gates.outcome import between
from lmlab.evidence.tables import chance, number

FILE = "gates.json"
_HEAD = ("gate", "verdict", "effect [interval]", "n", "seeds", "p", "reason")


@dataclass(frozen=True)
class Told:
    """What the command prints, and with what it ends."""

    lines: list[str]
    exit_code: int


def judge_reference(reference: str, *, gates: str | None = None) -> Told:
    """Judge one run (study/name), or all runs of a study, and write gates.json beside them.

    `gates` is a study's name or a path; without it the study's own file is taken.
    """
    study, _, name = reference.partition("/")
    runs = [resolve(reference).run] if name else find_runs(study)
    if not runs:
        raise ValueError(f"there is no run of {study}")
    folder = runs[0].folder if name else runs_root() / study
    judged = judge_runs(runs, gate_path(gates or study), folder)
    return Told([*table(judged), f"{folder / FILE}"], exit_code(judged))


def judge_runs(runs: Sequence[Run], path: Path, folder: Path) -> list[Judgement]:
    """Judge the runs by the gate file at `path`, and write gates.json into `folder`."""
    file = load_gates(str(path))
    judged = judge_gates(file, runs)
    values = {
        "study": file.study,
        "question": file.question,
        "gates": path.name,
        "gates_sha256": hashlib.sha256(path.read_bytes()).hexdigest(),
        "runs": [run.reference for run in runs],
        "judgements": [asdict(one) for one in judged],
    }
    write_json(folder / FILE, values)
    return judged


def exit_code(judged: Sequence[Judgement]) -> int:
    """0: every gate passes. 1: one fails. 2: none fails, and one is not (or cannot be) decided.

    What does not apply counts for nothing.
    """
    verdicts = {one.verdict for one in judged if one.applies}
    if "fail" in verdicts:
        return 1
    return 0 if verdicts == {"pass"} else 2


def table(judged: Sequence[Judgement]) -> list[str]:
    """One line a gate, in columns; the reason comes last and is as long as it is."""
    rows = [_HEAD, *(_row(one) for one in judged)]
    widths = [max(len(row[column]) for row in rows) for column in range(len(_HEAD) - 1)]
    return [
        "  ".join(
            [*(text.ljust(width) for text, width in zip(row[:-1], widths, strict=True)), row[-1]]
        )
        for row in rows
    ]


def _row(one: Judgement) -> tuple[str, ...]:
    effect = "-" if one.estimate is None else number(one.estimate)
    if one.interval is not None:
        effect += f" {between(one.interval)}"
    p = one.p_corrected if one.p_corrected is not None else one.p
    reason = one.reason + (f" ({', '.join(one.marks)})" if one.marks else "")
    if one.audit != "sound":
        reason += f" (audit: {one.audit})"
    return (
        one.gate,
        one.verdict,
        effect,
        f"{one.n:,}",
        str(one.seeds),
        "-" if p is None else chance(p),
        " ".join(reason.split()),
    )
