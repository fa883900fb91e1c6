"""What was judged before: `gates.json` and `decision.json`, read for pages and tables."""

import json
import math
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

VERDICTS = ("pass", "fail", "not_enough_evidence", "not_run")


@dataclass(frozen=True)
class ShownGate:
    """One judgement as it stands in the file; what is unknown is None or empty."""

    gate: str
    claim: str
    verdict: str
    reason: str
    estimate: float | None
    interval: tuple[float, float] | None
    n: int | None
    seeds: int | None
    test: str
    p: float | None
    p_corrected: float | None
    minimum_detectable_effect: float | None
    audit: str
    audit_reason: str
    marks: tuple[str, ...]
    evidence: tuple[str, ...]
    # Whether it judges anything that the runs were made with.
    applies: bool = True


@dataclass(frozen=True)
class Judged:
    """The gates in the order of their file, and the decision made over them, empty for none."""

    gates: tuple[ShownGate, ...]
    decision: Mapping[str, tuple[str, ...]]

    @property
    def asked(self) -> list[ShownGate]:
        """The gates that apply."""
        return [gate for gate in self.gates if gate.applies]

    @property
    def counts(self) -> list[tuple[str, int]]:
        """(verdict, how many gates), in the order pass, fail, not enough evidence, not run."""
        found = Counter(gate.verdict for gate in self.asked)
        return [(verdict, found[verdict]) for verdict in VERDICTS if found[verdict]]


def read_judged(folder: Path, *, records: Collection[str], said: list[str]) -> Judged:
    """What lies in the folder; damage, and gates over records that are gone, are said."""
    rows = _read(folder / "gates.json", said)
    rows = rows.get("judgements", []) if isinstance(rows, dict) else rows
    gates = []
    for number, row in enumerate(rows or [], start=1):
        try:
            gates.append(_gate(row))
        except (KeyError, TypeError, ValueError) as error:
            said.append(f"gates.json, gate {number} was left out: {error!r} is missing or wrong.")
    for gate in gates:
        gone = [one for one in gate.evidence if _is_record(one) and one not in records]
        if gone:
            said.append(
                f"Gate {gate.gate} was judged on {len(gone)} records that are not here now: "
                "judge again with `lmlab gate`."
            )
    decision = _read(folder / "decision.json", said)
    return Judged(tuple(gates), _decision(decision if isinstance(decision, dict) else {}))


def _read(path: Path, said: list[str]) -> Any:
    if not path.exists():
        return None
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        said.append(f"{path.name} is damaged and was left out ({error}).")
        return None


def _gate(row: Mapping[str, Any]) -> ShownGate:
    verdict = str(row["verdict"])
    if verdict not in VERDICTS:
        raise ValueError(f"verdict {verdict}")
    interval = row.get("interval")
    return ShownGate(
        gate=str(row["gate"]),
        claim=str(row["claim"]),
        verdict=verdict,
        reason=str(row["reason"]),
        estimate=_number(row.get("estimate")),
        interval=_interval(interval),
        n=row.get("n"),
        seeds=row.get("seeds"),
        test=str(row.get("test") or ""),
        p=_number(row.get("p")),
        p_corrected=_number(row.get("p_corrected")),
        minimum_detectable_effect=_number(row.get("minimum_detectable_effect")),
        audit=str(row.get("audit") or "not_audited"),
        audit_reason=str(row.get("audit_reason") or ""),
        marks=tuple(map(str, row.get("marks") or ())),
        evidence=tuple(map(str, row.get("evidence") or ())),
        applies=row.get("applies", True) is not False,
    )


def _interval(value: Any) -> tuple[float, float] | None:
    """Two numbers, as a list or as the low and high of an interval."""
    if isinstance(value, dict):
        value = [value.get("low"), value.get("high")]
    match [_number(end) for end in value or ()]:
        case [float(low), float(high)]:
            return low, high
    return None


def _number(value: Any) -> float | None:
    """None for what is no number: the judge writes none, but a hand may."""
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _decision(found: Mapping[str, Any]) -> dict[str, tuple[str, ...]]:
    """Sentences under each heading that has any."""
    return {
        name: tuple(map(str, found[name]))
        for name in ("actions", "claims", "concerns")
        if found.get(name)
    }


def _is_record(name: str) -> bool:
    """A record's id has 16 letters; other evidence is a file's hash."""
    return len(name) == 16
