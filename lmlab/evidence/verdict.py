"""One sentence on what a run showed, computed from its records alone."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

from lmlab.engine.records import Record
from lmlab.evidence.tables import Table, conditions, is_control, marks, number, words

# better: beats every control. unclear: an interval overlaps with a control's. worse: a control is
# as good. alone: nothing to compare with. none: nothing measured.
Standing = Literal["better", "unclear", "worse", "alone", "none"]
_CAVEATS = {
    "dev": "A dev run: its numbers decide nothing.",
    "generated": "Generated data: this can prove a method, not a claim about language.",
    "weights unknown": "Weights unknown: the number was imported.",
}


@dataclass(frozen=True)
class Verdict:
    """The sentence, how the run stands against its controls, and the record that it speaks of."""

    sentence: str
    standing: Standing
    marks: tuple[str, ...] = ()
    caveats: tuple[str, ...] = ()
    record: Record | None = None


def judge(tables: Sequence[Table]) -> Verdict:
    """The table with the most controls speaks; of equals the first."""
    judged = [table for table in tables if table.subjects]
    if not judged:
        said = "Only controls have been measured so far." if tables else "Nothing measured yet."
        return Verdict(said, "none")
    table = max(judged, key=lambda one: len({record.arm for record in one.controls}))
    subject = _subject(table)
    against, standing = _against(subject, _best_of_each_arm(table.controls))
    found = marks(subject)
    return Verdict(
        f"{_reached(subject, table)}; {against}.",
        standing,
        marks=found,
        caveats=(
            *(_CAVEATS[mark] for mark in found if mark in _CAVEATS),
            *(_overlapping(overlap) for overlap in overlaps_of(subject, tables)),
        ),
        record=subject,
    )


def companions(verdict: Verdict, tables: Sequence[Table]) -> list[Record]:
    """The verdict's record, then what else was measured of the same arm under its conditions."""
    subject = verdict.record
    if subject is None:
        return []
    found = {subject.metric: subject}
    for record in (record for table in tables for record in table.subjects):
        if (record.arm, record.at, record.seed) == (subject.arm, subject.at, subject.seed):
            found.setdefault(record.metric, record)
    return list(found.values())


def overlaps_of(record: Record, tables: Sequence[Table]) -> list[Record]:
    """How much of the record's text was trained on: what was measured of the same data."""
    return [
        row.record
        for table in tables
        for row in table.rows
        if row.record.metric.startswith("overlap_")
        and row.record.at == record.at
        and row.record.data.items() <= record.data.items()
    ]


def _overlapping(record: Record) -> str:
    return (
        f"{words(record.metric).capitalize()} of the scored text with the training text: "
        f"{record.value:.2%}."
    )


def _subject(table: Table) -> Record:
    """The best arm at its last step, by its worst seed: seeds are not there to be chosen among.

    An imported number speaks only where the run has none of its own.
    """
    arms: dict[str, list[Record]] = {}
    own = [record for record in table.subjects if not record.imported]
    for record in own or table.subjects:
        arms.setdefault(record.arm, []).append(record)
    worst = []
    for found in arms.values():
        last = max(record.training_step or 0 for record in found)
        worst.append([one for one in found if (one.training_step or 0) == last][-1])
    return min(worst, key=lambda record: _cost(record.value, table.better))


def _best_of_each_arm(controls: Sequence[Record]) -> list[Record]:
    """`controls` come best first."""
    best: dict[str, Record] = {}
    for record in controls:
        best.setdefault(record.arm, record)
    return list(best.values())


def _reached(subject: Record, table: Table) -> str:
    arms = {one.arm for one in table.subjects if one.imported == subject.imported}
    several = f", the best of {len(arms)} arms," if len(arms) > 1 else ""
    interval = subject.interval
    between = f" [{number(interval[0])}, {number(interval[1])}]" if interval else ""
    value = f"{words(subject.metric)} {number(subject.value)}{between}"
    return f"{subject.arm}{several} reaches {value} on {_where(subject)}"


def _where(subject: Record) -> str:
    at = dict(subject.at)
    data = str(subject.protocol.get("dataset") or ", ".join(subject.data))
    split = at.pop("split", None)
    place = f"the {split} split of {data}" if split else data
    return f"{place} ({conditions(at)})" if at else place


def _against(subject: Record, controls: Sequence[Record]) -> tuple[str, Standing]:
    if not controls:
        return (
            "no control was measured under the same protocol, so the number stands alone",
            "alone",
        )
    unbeaten = [one for one in controls if not _is_better(subject.value, one.value, subject.better)]
    close = [one for one in controls if one not in unbeaten and _overlap(subject, one)]
    if unbeaten:
        return f"it does not beat {_named(unbeaten)}", "worse"
    if close:
        return (
            f"not enough evidence that it beats {_named(close)}, whose interval overlaps",
            "unclear",
        )
    return f"better than every control: {_named(controls)}", "better"


def _is_better(value: float, other: float, better: str) -> bool:
    return value < other if better == "lower" else value > other


def _cost(value: float, better: str) -> float:
    return value if better == "lower" else -value


def _overlap(one: Record, other: Record) -> bool:
    low, high = one.interval or (one.value, one.value)
    other_low, other_high = other.interval or (other.value, other.value)
    return low <= other_high and other_low <= high


def _named(records: Sequence[Record]) -> str:
    assert all(is_control(record) for record in records)
    return ", ".join(f"{record.arm} ({number(record.value)})" for record in records)
