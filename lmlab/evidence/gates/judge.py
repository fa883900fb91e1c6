"""Judges the gates of a file on the records and items of runs.

A gate passes where its interval shows the claim and its p, corrected over the family (every gate of
the file that could be tested), is alpha or less. It fails where the interval shows that the claim
does not hold. All between is `not_enough_evidence`; a gate that cannot be judged is `not_run`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Literal

import numpy as np

from lmlab.engine.run import Run
from lmlab.evidence.gates.audit import audit_gate
from lmlab.evidence.gates.curves import Point, judge_curve, points_of
from lmlab.evidence.gates.finding import AuditVerdict
from lmlab.evidence.gates.grammar import CURVES, Exists, Gate, GateFile, Ranking
from lmlab.evidence.gates.outcome import Bounds, Outcome
from lmlab.evidence.gates.paired import judge_pair, judge_ranking
from lmlab.evidence.gates.pairing import tally_items
from lmlab.evidence.gates.recorded import compared, judge_records, record_points
from lmlab.evidence.gates.selection import Measured, Refused, Selection, read_sets, select_groups
from lmlab.evidence.gates.weighing import Found, found_items, found_records
from lmlab.evidence.tables import chance
from lmlab.metrics.power import smallest_sign_flip_p
from lmlab.metrics.significance import holm

Verdict = Literal["pass", "fail", "not_enough_evidence", "not_run"]
# The exact sign-flip test over fewer seeds stays above .05, two-sided.
LEAST_SEEDS = 6


@dataclass(frozen=True, kw_only=True)
class Judgement:
    """A gate's verdict, and all that it rests on."""

    gate: str
    claim: str
    verdict: Verdict
    reason: str
    estimate: float | None = None
    interval: Bounds | None = None
    n: int = 0
    seeds: int = 0
    test: str = ""
    p: float | None = None
    p_corrected: float | None = None
    minimum_detectable_effect: float | None = None
    audit: AuditVerdict = "not_audited"
    audit_reason: str = ""
    marks: tuple[str, ...] = ()
    # False where no run has the step that it judges: then it is `not_run`, and nothing is missing.
    applies: bool = True
    # Ids of records, then sha256 of the files with the items.
    evidence: tuple[str, ...] = ()


def judge_gates(file: GateFile, runs: Sequence[Run]) -> list[Judgement]:
    """Every gate of the file; what spoils one leaves the others to be judged."""
    found = find_evidence(file, runs)
    tested = {name: one for name, one in found.items() if isinstance(one, Found)}
    outcomes = {
        gate.id: _outcome(gate, tested[gate.id], family=len(tested))
        for gate in file.gates
        if gate.id in tested
    }
    corrected = _correct(outcomes)
    judged: dict[str, Judgement] = {}
    for gate in file.gates:
        one = found[gate.id]
        if isinstance(one, Found):
            made = _judgement(gate, one, outcomes[gate.id], p_corrected=corrected.get(gate.id))
            made = _where_required(_audited(made, gate, one.measured), gate, judged)
        else:
            made = _audited(_not_run(gate, one), gate, None)
        judged[gate.id] = replace(made, applies=applies(gate, runs))
    return list(judged.values())


def find_evidence(file: GateFile, runs: Sequence[Run]) -> dict[str, Found | str]:
    """What each gate is judged on, or why it is not."""
    sets = read_sets(runs)
    found: dict[str, Found | str] = {}
    by_items: list[Selection] = []
    for gate in file.gates:
        if gate.not_run is not None:
            found[gate.id] = gate.not_run
            continue
        if not applies(gate, runs):
            found[gate.id] = f"does not apply: no run was made with the step {gate.step}"
            continue
        try:
            selection = select_groups(gate, sets)
            if _needs_items(selection):
                by_items.append(selection)
            else:
                found[gate.id] = found_records(selection, compared(selection))
        except Refused as refusal:
            found[gate.id] = str(refusal)
    for selection, tallies in zip(by_items, tally_items(by_items), strict=True):
        refused = next((one.refused for one in tallies if one.refused), None)
        found[selection.gate.id] = refused or found_items(selection, tallies)
    return found


def applies(gate: Gate, runs: Sequence[Run]) -> bool:
    """Whether a run was made with the step that the gate judges; a gate without one judges any."""
    return gate.step is None or any(gate.step in run.fingerprints() for run in runs)


def _needs_items(selection: Selection) -> bool:
    gate = selection.gate
    records = [one for group in selection.groups.values() for one in group.records]
    recorded = any(one.metric == gate.metric for one in records)
    return gate.unit != "record" and not (isinstance(gate.test, Exists) and recorded)


def _outcome(gate: Gate, found: Found, *, family: int) -> Outcome:
    """What the data say; a test without a p of its own gets its share of alpha (Bonferroni)."""
    if why := _too_little(gate, found):
        return Outcome(gate.test.kind, why, short=why, p=1.0)
    alpha = gate.alpha / family
    try:
        match gate.test:
            case Exists():
                return Outcome("exists", f"{found.measured.n} were measured", holds=True)
            case Ranking():
                return judge_ranking(found.tallies)
            case test if isinstance(test, CURVES):
                return judge_curve(gate, _points(found, alpha=alpha), alpha=alpha)
            case _ if found.tallies:
                return judge_pair(found.tallies[0])
            case _:
                return judge_records(found.selection, found.records)
    except ValueError as error:
        # One cluster, too few bins: the statistics name what they lack.
        return Outcome(gate.test.kind, str(error), short=str(error), p=1.0)


def _points(found: Found, *, alpha: float) -> list[Point]:
    if found.tallies:
        return points_of(found.tallies[0], alpha=alpha)
    return record_points(found.selection, found.records)


def _too_little(gate: Gate, found: Found) -> str | None:
    n, seeds = found.measured.n, found.measured.seeds
    if n < gate.min_n:
        return f"{n} were measured, {gate.min_n} are needed"
    if seeds < gate.min_seeds:
        return f"{seeds} seeds were measured, {gate.min_seeds} are needed"
    if gate.unit in ("seed", "seed_x_item") and seeds < LEAST_SEEDS:
        least = smallest_sign_flip_p(seeds)
        return (
            f"the number of seeds is {seeds}: even if all agree, p = {least:.3g} at the least "
            f"(exact sign flips, two-sided); a test over seeds takes {LEAST_SEEDS}"
        )
    return None


def _correct(outcomes: Mapping[str, Outcome]) -> dict[str, float]:
    """Holm's correction over every gate of the file that has a p."""
    p = {name: one.p for name, one in outcomes.items() if one.p is not None}
    values = holm(np.array(list(p.values()), float))
    return dict(zip(p, values.tolist(), strict=True))


def _judgement(
    gate: Gate, found: Found, outcome: Outcome, *, p_corrected: float | None
) -> Judgement:
    significant = p_corrected is None or p_corrected <= gate.alpha
    verdict: Verdict = "not_enough_evidence"
    if outcome.short is None and outcome.refuted:
        verdict = "fail"
    elif outcome.short is None and outcome.holds and significant:
        verdict = "pass"
    return Judgement(
        gate=gate.id,
        claim=gate.claim,
        verdict=verdict,
        reason="; ".join([_reason(gate, outcome, p_corrected), *found.notes]),
        estimate=outcome.estimate,
        interval=outcome.interval,
        n=found.measured.n,
        seeds=found.measured.seeds,
        test=outcome.test,
        p=None if outcome.short else outcome.p,
        p_corrected=None if outcome.short else p_corrected,
        minimum_detectable_effect=outcome.minimum_detectable_effect,
        marks=found.selection.marks,
        evidence=found.evidence,
    )


def _reason(gate: Gate, outcome: Outcome, p_corrected: float | None) -> str:
    said = outcome.said
    if outcome.short is None and outcome.p is not None and p_corrected is not None:
        said += f"; p {chance(outcome.p)}"
        if p_corrected != outcome.p:
            said += f", {chance(p_corrected)} after Holm over the file"
        if outcome.holds and p_corrected > gate.alpha:
            said += f", above {gate.alpha:g}"
    return said


def _audited(judgement: Judgement, gate: Gate, known: Measured | None) -> Judgement:
    """A gate that cannot be met, or cannot fail, says nothing when it passes."""
    try:
        audit = audit_gate(gate, known=known)
    except ValueError as error:
        return replace(judgement, verdict="not_run", reason=f"the audit failed: {error}")
    made = replace(judgement, audit=audit.verdict, audit_reason=audit.reason)
    if judgement.verdict != "not_run" and audit.verdict in ("unattainable", "cannot_fail"):
        why = audit.verdict.replace("_", " ")
        reason = f"{why}: {audit.reason}; measured: {judgement.reason}"
        return replace(made, verdict="not_run", reason=reason)
    return made


def _where_required(made: Judgement, gate: Gate, judged: Mapping[str, Judgement]) -> Judgement:
    """A gate says nothing where those that it requires do not pass."""
    open_to = [one for one in gate.requires if judged[one].verdict != "pass"]
    if not open_to:
        return made
    why = ", ".join(f"{one} is {judged[one].verdict.replace('_', ' ')}" for one in open_to)
    reason = f"judged only where {', '.join(open_to)} pass: {why}; measured: {made.reason}"
    return replace(made, verdict="not_run", reason=reason)


def _not_run(gate: Gate, why: str) -> Judgement:
    return Judgement(gate=gate.id, claim=gate.claim, verdict="not_run", reason=why)
