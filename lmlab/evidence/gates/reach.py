"""Can a gate be met, and can it fail? From the range that it states, or the metric's bounds."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from lmlab.evidence.gates.expressions import Given, UnknownNameError, evaluate
from lmlab.evidence.gates.finding import AuditVerdict, Finding
from lmlab.evidence.gates.grammar import PAIRED, Exists, Gate, Threshold
from lmlab.evidence.gates.selection import Measured
from lmlab.evidence.gates.simulate import Bounds, Region, paired_extremes, passing

# Baselines that are tried where the baseline is not known yet: every hundredth of its bounds.
BASELINES = 101


@dataclass(frozen=True)
class _Case:
    """With this baseline the judged quantity lies here; None: nobody says."""

    baseline: float | None
    lowest: float | None
    highest: float | None


def check_reach(gate: Gate, known: Measured | None) -> list[Finding]:
    """Findings `attainable` and `able_to_fail`, or `range` that there is none to go by.

    Raises ValueError that names the gate.
    """
    if isinstance(gate.test, Exists):
        return [_exists(gate)]
    try:
        cases = _cases(gate, known)
    except UnknownNameError as error:
        if error.name not in ("arm", "baseline"):
            raise ValueError(f"gate {gate.id}: {error}") from error
        return [_unsaid(f"its range needs the value of the {error.name}")]
    except ValueError as error:
        raise ValueError(f"gate {gate.id}: {error}") from error
    if all(one.lowest is None and one.highest is None for one in cases):
        return [_unsaid("neither a range nor the metric's bounds say how far it can go")]
    region = passing(gate.test)
    return [_attainable(region, cases), _able_to_fail(region, cases)]


def metric_bounds(gate: Gate, known: Measured | None) -> Bounds | None:
    """The metric's own bounds: `bounds` of the range's data, or 0 and 1 of right and wrong items.

    None where there are none, or where a paired test's better side is not known.
    """
    given = gate.range.data.get("bounds") if gate.range else None
    if given is not None and not (
        isinstance(given, tuple) and len(given) == 2 and given[0] < given[1]
    ):
        raise ValueError(f"gate {gate.id}: bounds are a low and a high number, not {given}")
    binary = (gate.planned is not None and gate.planned.discordant is not None) or (
        known is not None and known.discordant is not None
    )
    better = gate.better or (known.better if known else None)
    if isinstance(gate.test, Threshold):
        better = better or "higher"
    if better is None or not (given or binary):
        return None
    low, high = given or (0.0, 1.0)
    return Bounds(float(low), float(high), better == "higher")


def baseline_value(gate: Gate, known: Measured | None) -> float | None:
    """As measured; else as the gate's data expects it."""
    if known is not None and known.baseline is not None:
        return known.baseline
    expected = gate.range.data.get("baseline") if gate.range else None
    return float(expected) if isinstance(expected, int | float) else None


def _exists(gate: Gate) -> Finding:
    least = {"min_n": float(gate.min_n), "min_seeds": float(gate.min_seeds)}
    asked = [f"{name} {value:g}" for name, value in least.items() if value > 1]
    if asked:
        return Finding("able_to_fail", "sound", f"it asks for {' and '.join(asked)}", least)
    return Finding(
        "able_to_fail", "cannot_fail", "whatever is recorded passes, be it one number", least
    )


def _cases(gate: Gate, known: Measured | None) -> list[_Case]:
    """One case; one for each baseline that there can be, where it matters and is not known."""
    bounds, baseline = metric_bounds(gate, known), baseline_value(gate, known)
    if baseline is not None or bounds is None or not isinstance(gate.test, PAIRED):
        return [_case(gate, known, bounds, baseline)]
    if gate.range and gate.range.lowest and gate.range.highest:
        try:
            return [_case(gate, known, bounds, None)]
        except UnknownNameError as error:
            if error.name != "baseline":
                raise
    grid = np.linspace(bounds.low, bounds.high, BASELINES).tolist()
    return [_case(gate, known, bounds, each) for each in grid]


def _case(
    gate: Gate, known: Measured | None, bounds: Bounds | None, baseline: float | None
) -> _Case:
    lowest, highest = _from_bounds(gate, bounds, baseline)
    if gate.range:
        names: dict[str, Given] = dict(gate.range.data)
        if known is not None and known.arm is not None:
            names["arm"] = known.arm
        if baseline is not None:
            names["baseline"] = baseline
        lowest = _one(gate.range.lowest, names) if gate.range.lowest else lowest
        highest = _one(gate.range.highest, names) if gate.range.highest else highest
    if lowest is not None and highest is not None and lowest > highest:
        raise ValueError(f"its range ends at {highest:g}, below its beginning {lowest:g}")
    return _Case(baseline, lowest, highest)


def _from_bounds(
    gate: Gate, bounds: Bounds | None, baseline: float | None
) -> tuple[float | None, float | None]:
    if bounds is None:
        return None, None
    if isinstance(gate.test, Threshold):
        return bounds.low, bounds.high
    if isinstance(gate.test, PAIRED) and baseline is not None:
        return paired_extremes(bounds, baseline)
    return None, None


def _one(expression: str, names: dict[str, Given]) -> float | None:
    """None for what is no number, such as 0/0."""
    found = evaluate(expression, names)
    if isinstance(found, np.ndarray):
        raise ValueError(f"{expression!r} gives {found.size} numbers; a range's end is one")
    return None if math.isnan(found) else found


def _attainable(region: Region, cases: Sequence[_Case]) -> Finding:
    return _finding("attainable", "unattainable", region, cases, region.none_passes)


def _able_to_fail(region: Region, cases: Sequence[_Case]) -> Finding:
    return _finding("able_to_fail", "cannot_fail", region, cases, region.all_pass)


_SAID = {"attainable": "it can be met", "able_to_fail": "it can fail"}


def _finding(
    check: str,
    bad: AuditVerdict,
    region: Region,
    cases: Sequence[_Case],
    is_bad: Callable[[float, float], bool],
) -> Finding:
    """Bad where it is so whatever the baseline; else which baselines leave the question open."""
    ends = [(_or(one.lowest, -math.inf), _or(one.highest, math.inf)) for one in cases]
    figures = _figures(region, ends)
    open_to = [case for case, each in zip(cases, ends, strict=True) if not is_bad(*each)]
    if not open_to:
        return Finding(check, bad, f"{_asks(region)}, {_lies(figures)}", figures)
    if any(_missing(check, region, case) for case in cases):
        return Finding(
            check, "not_audited", f"{_asks(region)}, {_lies(figures)}; nothing else is said"
        )
    if len(open_to) == len(cases):
        return Finding(
            check, "sound", f"{_SAID[check]}: {_asks(region)}, {_lies(figures)}", figures
        )
    baselines = [one.baseline for one in open_to if one.baseline is not None]
    figures |= {"baseline_from": min(baselines), "baseline_to": max(baselines)}
    return Finding(
        check,
        "sound",
        f"{_SAID[check]} only with a baseline of {min(baselines):.3g} to {max(baselines):.3g}: "
        f"{_asks(region)}",
        figures,
        conditional=True,
    )


def _missing(check: str, region: Region, case: _Case) -> bool:
    """The end that the question turns on is not said."""
    upper = (check == "attainable") == (region.low > -math.inf)
    return (case.highest if upper else case.lowest) is None


def _figures(region: Region, ends: Sequence[tuple[float, float]]) -> dict[str, float]:
    found = {
        "needed_low": region.low,
        "needed_high": region.high,
        "lowest": min(low for low, _ in ends),
        "highest": max(high for _, high in ends),
    }
    return {name: value for name, value in found.items() if math.isfinite(value)}


def _asks(region: Region) -> str:
    if region.low > -math.inf and region.high < math.inf:
        return f"it asks for more than {region.low:.3g} and less than {region.high:.3g}"
    if region.low > -math.inf:
        return f"it asks for {'at least' if region.closed else 'more than'} {region.low:.3g}"
    return f"it asks for {'at most' if region.closed else 'less than'} {region.high:.3g}"


def _lies(figures: dict[str, float]) -> str:
    match figures.get("lowest"), figures.get("highest"):
        case float() as low, float() as high:
            return (
                f"and it is {low:.3g} whatever is measured"
                if low == high
                else (f"and it lies between {low:.3g} and {high:.3g} whatever is measured")
            )
        case float() as low, None:
            return f"and it is at least {low:.3g} whatever is measured"
        case None, float() as high:
            return f"and it is at most {high:.3g} whatever is measured"
    return "and nothing limits it"


def _or(value: float | None, otherwise: float) -> float:
    return otherwise if value is None else value


def _unsaid(why: str) -> Finding:
    return Finding("range", "not_audited", why)
