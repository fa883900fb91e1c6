"""What was compared, as lines for the terminal: arms in a table, effects, seeds, rankings."""

from collections.abc import Sequence
from itertools import zip_longest

from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.evidence.comparison.compare import Asked, Compared, Comparison, SeedMean
from lmlab.evidence.comparison.ranking import Ranking, Rankings
from lmlab.evidence.tables import (
    build_tables,
    conditions,
    finite_interval,
    is_control,
    marks,
    number,
    words,
)

_CORRECTIONS = {"holm": "Holm", "benjamini_hochberg": "Benjamini-Hochberg"}


def lines(compared: Compared) -> list[str]:
    """Effects first, then the means over seeds, then what was refused and why."""
    asked, found = compared.asked, []
    if compared.comparisons:
        many = _family(len(compared.comparisons), asked)
        found.append(f"effect = arm - baseline, {_level(asked)} interval{many}")
    alpha = asked.method.alpha
    found += [line for one in compared.comparisons for line in _comparison(one, alpha=alpha)]
    found += [_mean(one, level=_level(asked)) for one in compared.means]
    found += [f"not compared: {why}" for why in compared.refused]
    return found


def ranking_lines(rankings: Rankings) -> list[str]:
    """How it was ranked first, then each ranking, then what was refused and why."""
    asked = rankings.asked
    many = _family(sum(len(one.contests) for one in rankings.found), asked)
    found = [
        f"ranked by score; arms of one place are not told apart at p {asked.method.alpha:.3g}; "
        f"difference to the best with its {_level(asked)} interval{many}"
    ]
    found += [line for one in rankings.found for line in _ranking(one, asked.method.alpha)]
    return [*found, *(f"not ranked: {why}" for why in rankings.refused)]


def tables(runs: Sequence[Run], *, metric: str | None = None, arm: str | None = None) -> list[str]:
    """Every arm and control of the runs: one table a metric, condition and protocol."""
    records = [record for run in runs for record in run.records()]
    chosen = [one for one in records if metric in (None, one.metric) and arm in (None, one.arm)]
    found: list[str] = []
    for table in build_tables(chosen):
        where = conditions(table.at)
        found.append(
            f"{words(table.metric)} ({table.unit}, {table.better} is better)"
            + (f", {where}" if where else "")
            + f", protocol {table.protocol_hash}"
        )
        found += [f"  {line}" for line in _aligned([_row(row.record) for row in table.rows])]
    return found


def _row(record: Record) -> list[str]:
    ends = finite_interval(record)
    said = [*(("control",) if is_control(record) else ()), *marks(record)]
    return [
        f"{record.run}: {record.arm}",
        number(record.value),
        f"[{number(ends[0])}, {number(ends[1])}]" if ends else "no interval",
        f"n {record.n:,}" + (f", {record.n_error:,} failed" if record.n_error else ""),
        f"seed {record.seed}",
        ", ".join(said),
    ]


def _family(count: int, asked: Asked) -> str:
    name = _CORRECTIONS[asked.correction]
    return f", p corrected over {count} comparisons ({name})" if count > 1 else ""


def _level(asked: Asked) -> str:
    return f"{100 * asked.method.confidence:g} %"


def _ranking(one: Ranking, alpha: float) -> list[str]:
    tests = ", ".join(dict.fromkeys(found.test for found in one.contests.values()))
    left = f" (up to {one.left_out} more of an arm are left out)" if one.left_out else ""
    best, *others = one.ranked(alpha=alpha)
    rows = [[f"{best.group}.", best.arm, number(best.score), "", "", ""]]
    for arm in others:
        effect = one.contests[arm.arm, best.arm]
        assert arm.p_above is not None
        told = [
            _effect(effect),
            f"p {_p(effect.p_corrected)}",
            f"to the one above {_p(arm.p_above)}",
        ]
        rows.append([f"{arm.group}.", arm.arm, number(arm.score), *told])
    return [
        f"{_place(one)}: {one.n} items that all have{left}; {tests}",
        *(f"  {line}" for line in _aligned(rows)),
    ]


def _comparison(one: Comparison, *, alpha: float) -> list[str]:
    left = f", {one.unmatched[0]} and {one.unmatched[1]} unmatched" if any(one.unmatched) else ""
    pairs = (
        f"{one.n} pairs{left}"
        if one.paired
        else f"unpaired, {' and '.join(map(str, one.unmatched))} items"
    )
    corrected = f", corrected {_p(one.p_corrected)}" if one.p_corrected != one.p else ""
    return [
        _place(one),
        f"  {one.arm} against {one.baseline}",
        f"  {_effect(one)}, p {_p(one.p)}{corrected} ({one.test}), {pairs}: "
        f"{_verdict(one, alpha=alpha)}",
    ]


def _place(one: Comparison | Ranking) -> str:
    where = conditions(one.at)
    return f"{words(one.metric)}{f', {where}' if where else ''} ({one.better} is better)"


def _effect(one: Comparison) -> str:
    return f"{_signed(one.effect)} [{_signed(one.interval.low)}, {_signed(one.interval.high)}]"


def _verdict(one: Comparison, *, alpha: float) -> str:
    if one.p_corrected > alpha or one.effect == 0:
        return "no difference shown"
    return "better" if (one.effect > 0) == (one.better == "higher") else "worse"


def _mean(one: SeedMean, *, level: str) -> str:
    where = conditions(one.at)
    half = (one.interval.high - one.interval.low) / 2
    seeds = ", ".join(map(str, one.seeds))
    return (
        f"{words(one.metric)}{f', {where}' if where else ''}: {one.arm} {number(one.mean)} "
        f"± {number(half)} ({level} over seeds {seeds}; {', '.join(one.runs)})"
    )


def _p(value: float) -> str:
    return f"{value:.4f}" if value >= 0.0001 else f"{value:.1e}"


def _signed(value: float) -> str:
    return f"{'+' if value > 0 else ''}{number(value)}"


def _aligned(rows: Sequence[Sequence[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip_longest(*rows, fillvalue="")]
    return [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
