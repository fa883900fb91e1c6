"""What `lmlab gate --audit` does: audits a gate file alone, or on what was measured."""

from collections.abc import Sequence

from lmlab.engine.references import resolve
from lmlab.engine.run import find_runs
from lmlab.evidence.gates.audit import audit_file, audit_lines
from lmlab.evidence.gates.grammar import gate_path, load_gates
from lmlab.evidence.gates.judge import Judgement, judge_gates


def audit_reference(reference: str, *, gates: str | None = None) -> list[str]:
    """The audit of a gate file (a path that ends in .yaml), of a study's gates, or of a run's.

    A file, and a study without runs, is audited as it stands: nothing needs to have been run.
    """
    if reference.endswith((".yaml", ".yml")):
        file = load_gates(reference)
        return audit_lines(file, audit_file(file))
    study, _, name = reference.partition("/")
    file = load_gates(str(gate_path(gates or study)))
    runs = [resolve(reference, finished=False).run] if name else find_runs(study)
    return _measured(judge_gates(file, runs)) if runs else audit_lines(file, audit_file(file))


def _measured(judged: Sequence[Judgement]) -> list[str]:
    return [
        line
        for one in judged
        for line in (f"{one.audit:<12}  {one.gate}: {one.claim}", f"{'':<14}{one.audit_reason}")
    ]
