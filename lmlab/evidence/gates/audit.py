"""The audit of a gate: can it be met, can it fail, and would the data planned decide it?

It knows no gate by name. Before a run it has the gate file alone (`known=None`); afterwards also
what was measured.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations

from lmlab.evidence.gates.amount import check_amount
from lmlab.evidence.gates.finding import SEVERITY, AuditVerdict, Finding, worst
from lmlab.evidence.gates.grammar import PAIRED, Exists, Gate, GateFile, Ranking
from lmlab.evidence.gates.reach import check_reach
from lmlab.evidence.gates.selection import Measured


@dataclass(frozen=True)
class Audit:
    """All findings of a gate; the worst of them is the verdict and the reason."""

    gate: str
    verdict: AuditVerdict
    reason: str
    findings: tuple[Finding, ...]

    @property
    def figures(self) -> dict[str, float]:
        """The figures of every finding, by check and name: `items.items_needed`."""
        return {
            f"{one.check}.{name}": value
            for one in self.findings
            for name, value in one.figures.items()
        }


def audit_gate(gate: Gate, *, known: Measured | None = None) -> Audit:
    """Audit one gate. Raises ValueError that names the gate where its range cannot be computed."""
    if gate.not_run is not None:
        findings = [Finding("not_run", "not_audited", gate.not_run)]
    else:
        findings = [
            *check_reach(gate, known),
            *check_amount(gate, known),
            *_check_controls(gate, known),
            *_check_arms(gate, known),
        ]
    ruling = worst(findings)
    return Audit(gate.id, ruling.verdict, ruling.reason, tuple(findings))


def audit_file(file: GateFile, *, known: Mapping[str, Measured] | None = None) -> list[Audit]:
    """Audit every gate; `known` holds what was measured, by the gate's name."""
    return [audit_gate(gate, known=(known or {}).get(gate.id)) for gate in file.gates]


def audit_lines(file: GateFile, audits: Sequence[Audit]) -> list[str]:
    """The audits as text: each gate's claim, its verdict, and what is not sound or depends."""
    lines = []
    for gate, audit in zip(file.gates, audits, strict=True):
        lines.append(f"{audit.verdict:<12}  {gate.id}: {gate.claim}")
        told = [one for one in audit.findings if one.verdict != "sound" or one.conditional]
        lines += [f"{'':<14}{one.check}: {one.reason}" for one in told]
    counts = [(name, sum(one.verdict == name for one in audits)) for name in SEVERITY]
    return [*lines, ", ".join(f"{count} {name}" for name, count in counts if count)]


def _check_controls(gate: Gate, known: Measured | None) -> list[Finding]:
    """Before the run controls are named; afterwards they were measured."""
    if isinstance(gate.test, Exists):
        return []
    if not gate.controls and not isinstance(gate.test, (*PAIRED, Ranking)):
        return [Finding("controls", "not_audited", "it names no arm to be measured beside it")]
    if known is None:
        return [Finding("controls", "sound", f"named: {', '.join(gate.controls) or gate.baseline}")]
    if missing := [arm for arm in gate.controls if arm not in known.arms]:
        return [Finding("controls", "not_audited", f"not measured: {', '.join(missing)}")]
    return [Finding("controls", "sound", "all measured")]


def _check_arms(gate: Gate, known: Measured | None) -> list[Finding]:
    """Two arms that are one and the same cannot be compared, whatever the names."""
    arms = gate.test.order if isinstance(gate.test, Ranking) else (gate.arm, gate.baseline)
    named = [arm for arm in arms if arm is not None]
    found = [_check_pair(one, other, known) for one, other in combinations(named, 2)]
    return [worst(found)] if found else []


def _check_pair(one: str, other: str, known: Measured | None) -> Finding:
    pair = f"{one} and {other}"
    if one == other:
        return _same(f"the two arms are the same: {one}")
    if known is None:
        return Finding("arms", "not_audited", f"nothing was measured or probed of {pair} yet")
    logits = [known.probe.get(arm, {}).get("logits_sha256") for arm in (one, other)]
    if None not in logits:
        if logits[0] == logits[1]:
            return _same(f"the two arms are the same: equal logits of {pair} on the probe batch")
        return Finding("arms", "sound", f"{pair} differ on the probe batch")
    if {one, other} & known.weightless:
        return Finding("arms", "sound", f"of {pair} at least one has no weights")
    weights = [known.weights.get(arm, frozenset()) for arm in (one, other)]
    if not all(weights):
        return Finding("arms", "not_audited", f"no probe.json, and weights of {pair} are unknown")
    if weights[0] != weights[1]:
        return Finding("arms", "sound", f"the weights of {pair} differ")
    # Of a single pair there is no deviation.
    if known.deviation or known.arm != known.baseline:
        return Finding("arms", "sound", f"{pair} share their weights, but not what they answer")
    return _same(f"the two arms are the same: equal weights of {pair}, and no probe.json")


def _same(reason: str) -> Finding:
    return Finding("arms", "unattainable", reason)
