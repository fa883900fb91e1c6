"""What a run ends with: its gates judged, what follows from them, its page, its exports."""

from lmlab.engine.run import Run, read_json
from lmlab.evidence.exports import write_exports
from lmlab.evidence.gates.decide import decide_target
from lmlab.evidence.gates.grammar import study_gates
from lmlab.evidence.gates.judging import FILE, judge_runs
from lmlab.evidence.pages.report import write_report


def conclude(run: Run) -> list[str]:
    """Make all of it from what is on disk; says what was made, a line each."""
    lines = []
    gates = study_gates(run.study)
    if gates is not None and run.records() and not _judged_otherwise(run, gates.name):
        judged = judge_runs([run], gates, run.folder)
        asked = [one for one in judged if one.applies]
        lines += [f"gate: {one.gate} {one.verdict}: {one.reason}" for one in asked]
        lines += decide_target(run.reference)
    lines.append(f"report: {write_report(run)}")
    return [*lines, *(f"export: {path}" for path in write_exports(run))]


def _judged_otherwise(run: Run, own: str) -> bool:
    """Somebody judged it by gates of their own (`lmlab gate --gates`): those verdicts stay."""
    return read_json(run.folder / FILE).get("gates", own) != own
