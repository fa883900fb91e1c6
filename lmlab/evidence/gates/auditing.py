"""What `lmlab gate --audit` does: audits a gate file alone, or on what was measured."""

from collections.abc import Sequence
from dataclasses import replace

from lmlab.engine.references import resolve
from lmlab.engine.run import Run, find_runs
from lmlab.evidence.gates.audit import Audit, audit_file, audit_gate, audit_lines
from lmlab.evidence.gates.finding import Finding
from lmlab.evidence.gates.grammar import Gate, GateFile, gate_path, load_gates
from lmlab.evidence.gates.judge import find_evidence
from lmlab.evidence.gates.weighing import Found


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
    return audit_lines(file, audit_runs(file, runs) if runs else audit_file(file))


def audit_runs(file: GateFile, runs: Sequence[Run]) -> list[Audit]:
    """Each gate on what was measured for it, else as it stands, with the reason."""
    found = find_evidence(file, runs)
    return [_audit(gate, found[gate.id]) for gate in file.gates]


def _audit(gate: Gate, found: Found | str) -> Audit:
    if isinstance(found, Found):
        return audit_gate(gate, known=found.measured)
    audit = audit_gate(gate)
    if gate.not_run is not None:
        return audit
    refusal = Finding("measured", "not_audited", found)
    return replace(audit, findings=(refusal, *audit.findings))
