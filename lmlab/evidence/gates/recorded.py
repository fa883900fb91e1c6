"""Gates over whole records, with the interval that each brings: bytes, rates, times."""

from collections.abc import Sequence
from dataclasses import dataclass

from lmlab.engine.records import Record
from lmlab.evidence.gates.curves import Point
from lmlab.evidence.gates.grammar import PAIRED, Equivalent, NonInferior, Superior, Threshold
from lmlab.evidence.gates.outcome import Bounds, Outcome, asked, between, falls, stands
from lmlab.evidence.gates.selection import Selection
from lmlab.evidence.gates.tally import point_of
from lmlab.evidence.tables import number


@dataclass(frozen=True)
class Compared:
    """An arm's record, and its baseline's under the same conditions with the same seed."""

    arm: Record
    baseline: Record | None

    def difference(self, *, better: str) -> float:
        """The value, or the difference to the baseline, oriented so that higher is better."""
        if self.baseline is None:
            return self.arm.value
        return (1 if better == "higher" else -1) * (self.arm.value - self.baseline.value)

    def bounds(self, *, better: str) -> Bounds | None:
        """The least and most it can be, by both intervals; None where a record has none."""
        own = _bounds(self.arm)
        if self.baseline is None or own is None:
            return own
        other = _bounds(self.baseline)
        if other is None:
            return None
        (low, high), (least, most) = (own, other) if better == "higher" else (other, own)
        return low - most, high - least


def compared(selection: Selection) -> list[Compared]:
    """The records of the gate's arm, each with its baseline's where the test compares."""
    gate = selection.gate
    paired = isinstance(gate.test, PAIRED)
    found = []
    for (arm, at, seed), group in selection.groups.items():
        other = selection.groups.get((str(gate.baseline), at, seed)) if paired else None
        if arm == gate.arm and (other is not None or not paired):
            found.append(Compared(group.records[0], other.records[0] if other else None))
    return found


def judge_records(selection: Selection, found: Sequence[Compared]) -> Outcome:
    """Every record must stand, by its own interval; the worst is told."""
    test, better = selection.gate.test, selection.better
    assert isinstance(test, Superior | NonInferior | Equivalent | Threshold)
    name = f"{test.kind}, each record by its own interval"
    judged = [(one, one.bounds(better=better)) for one in found]
    known = [(one, bounds) for one, bounds in judged if bounds is not None]
    if len(known) < len(found):
        missing = next(one.arm for one, bounds in judged if bounds is None)
        why = f"{missing.metric} of {missing.arm} or its baseline has no interval and is not exact"
        return Outcome(name, why, short=why)
    worst, bounds = max(known, key=lambda one: (falls(test, one[1]), not stands(test, one[1])))
    estimate = worst.difference(better=better)
    kind = "" if worst.baseline is None else f" against {worst.baseline.arm}, better as positive,"
    return Outcome(
        name,
        f"{worst.arm.metric} of {worst.arm.arm}{kind} is {number(estimate)} {between(bounds)} "
        f"in the worst of {len(found)} records, asked {asked(test)}",
        holds=all(stands(test, one) for _, one in known),
        refuted=any(falls(test, one) for _, one in known),
        estimate=estimate,
        interval=bounds,
    )


def record_points(selection: Selection, found: Sequence[Compared]) -> list[Point]:
    """The curve of the records."""
    points = []
    for one in found:
        x = point_of(selection.gate, one.arm)
        assert x is not None
        points.append(Point(x, one.arm.value, _bounds(one.arm)))
    return points


def _bounds(record: Record) -> Bounds | None:
    if record.interval is None and record.interval_method == "exact":
        return record.value, record.value
    return record.interval
