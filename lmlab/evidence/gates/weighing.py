"""What a gate was found to be judged on, in figures, and what was left out of it."""

import json
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from lmlab.evidence.gates.recorded import Compared
from lmlab.evidence.gates.selection import Measured, Refused, Selection, read_probes
from lmlab.evidence.gates.tally import Tally


@dataclass(frozen=True)
class Found:
    """Either tallies of items or records, never both."""

    selection: Selection
    measured: Measured
    tallies: tuple[Tally, ...] = ()
    records: tuple[Compared, ...] = ()
    notes: tuple[str, ...] = ()
    evidence: tuple[str, ...] = ()


def found_items(selection: Selection, tallies: Sequence[Tally]) -> Found:
    """Of a ranking the pair with the fewest items speaks for n and seeds."""
    least = min(tallies, key=lambda one: one.n)
    arm, baseline, weight = least.totals
    paired = least.baseline is not None
    measured = Measured(
        arm=float(arm / weight),
        baseline=float(baseline / weight) if paired else None,
        better=selection.better,
        n=least.n,
        seeds=len(least.seeds),
        deviation=_deviation(least),
        discordant=(least.gains + least.losses) / least.n if paired and least.answers else None,
    )
    measured = _with_arms(measured, selection)
    files = {digest for one in tallies for digest in one.files.values()}
    notes = tuple(dict.fromkeys(note for one in tallies for note in _left_out(one)))
    evidence = (*_ids(selection), *sorted(files))
    return Found(selection, measured, tuple(tallies), notes=notes, evidence=evidence)


def found_records(selection: Selection, records: Sequence[Compared]) -> Found:
    """Raises Refused where no record of the arm has its baseline's beside it."""
    gate = selection.gate
    if not records:
        raise Refused(f"{gate.arm} and {gate.baseline} share no conditions and seed")
    baselines = [one.baseline.value for one in records if one.baseline is not None]
    differences = [one.difference(better=selection.better) for one in records]
    measured = Measured(
        arm=float(np.mean([one.arm.value for one in records])),
        baseline=float(np.mean(baselines)) if baselines else None,
        better=selection.better,
        n=len(records),
        seeds=len({one.arm.seed for one in records}),
        deviation=float(np.std(differences, ddof=1)) if len(records) > 1 else None,
    )
    measured = _with_arms(measured, selection)
    failed = sum(one.arm.n_error for one in records)
    notes = (f"{failed} items of {gate.arm} failed and are in no record",) if failed else ()
    return Found(selection, measured, records=tuple(records), notes=notes, evidence=_ids(selection))


def _with_arms(measured: Measured, selection: Selection) -> Measured:
    weights: dict[str, set[str]] = defaultdict(set)
    weightless = set()
    for (arm, _, _), group in selection.groups.items():
        for record in group.records:
            weights[arm] |= {json.dumps(dict(record.weights), sort_keys=True)} - {"{}"}
            weightless |= {arm} if record.weightless else set()
    used = {id(group.source.run): group.source for group in selection.groups.values()}
    return replace(
        measured,
        arms=frozenset(weights),
        weights={arm: frozenset(found) for arm, found in weights.items()},
        weightless=frozenset(weightless),
        probe=read_probes(used.values()),
    )


def _deviation(tally: Tally) -> float | None:
    """Of one item's difference from the score, a unit of weight; linearised where weights vary."""
    if tally.n < 2:
        return None
    squared, crossed, weights = tally.squares
    arm, baseline, weight = tally.totals
    score = (arm - baseline) / weight
    left = squared - 2 * tally.sign * score * crossed + score**2 * weights
    return float((max(left, 0.0) / (tally.n - 1)) ** 0.5 / (weight / tally.n))


def _left_out(tally: Tally) -> list[str]:
    """Items and seeds that are in no pair."""
    notes = [
        f"{count} items of {arm} failed and are left out"
        for arm, count in tally.errors.items()
        if count
    ]
    if tally.unpaired:
        notes.append(f"{tally.unpaired} items have no counterpart and are left out")
    own = {seed for arm, _, seed in tally.selection.groups if arm == tally.arm}
    if alone := sorted(own - tally.seeds):
        named = ", ".join(map(str, alone[:6]))
        notes.append(f"{tally.baseline} was not measured with seed {named}, which are left out")
    return notes


def _ids(selection: Selection) -> tuple[str, ...]:
    found = {record.id for group in selection.groups.values() for record in group.records}
    return tuple(sorted(found))
