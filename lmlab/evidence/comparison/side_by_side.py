"""What was compared, as lines for the terminal: all arms in one table, effects, means of seeds."""

from collections.abc import Sequence
from itertools import zip_longest

from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.evidence.comparison.compare import Compared, Comparison, SeedMean
from lmlab.evidence.tables import (
    build_tables,
    conditions,
    finite_interval,
    is_control,
    marks,
    number,
    words,
)

ALPHA = 0.05


def lines(compared: Compared) -> list[str]:
    """Effects first, then the means over seeds, then what was refused and why."""
    found = [_heading(len(compared.comparisons))] if compared.comparisons else []
    found += [line for one in compared.comparisons for line in _comparison(one)]
    found += [line for one in compared.means for line in _mean(one)]
    found += [f"not compared: {why}" for why in compared.refused]
    return found


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


def _heading(count: int) -> str:
    holm = f", p corrected over {count} comparisons (Holm)" if count > 1 else ""
    return f"effect = arm - baseline, 95 % interval{holm}"


def _comparison(one: Comparison) -> list[str]:
    where = conditions(one.at)
    left = f", {one.unmatched[0]} and {one.unmatched[1]} unmatched" if any(one.unmatched) else ""
    pairs = (
        f"{one.n} pairs{left}"
        if one.paired
        else f"unpaired, {' and '.join(map(str, one.unmatched))} items"
    )
    corrected = f", corrected {_p(one.p_holm)}" if one.p_holm != one.p else ""
    return [
        f"{words(one.metric)}{f', {where}' if where else ''} ({one.better} is better)",
        f"  {one.arm} against {one.baseline}",
        f"  {_signed(one.effect)} [{_signed(one.interval.low)}, {_signed(one.interval.high)}], "
        f"p {_p(one.p)}{corrected} ({one.test}), {pairs}: {_verdict(one)}",
    ]


def _verdict(one: Comparison) -> str:
    if one.p_holm > ALPHA or one.effect == 0:
        return "no difference shown"
    return "better" if (one.effect > 0) == (one.better == "higher") else "worse"


def _mean(one: SeedMean) -> list[str]:
    where = conditions(one.at)
    half = (one.interval.high - one.interval.low) / 2
    seeds = ", ".join(map(str, one.seeds))
    return [
        f"{words(one.metric)}{f', {where}' if where else ''}: {one.arm} {number(one.mean)} "
        f"± {number(half)} (95 % over seeds {seeds}; {', '.join(one.runs)})"
    ]


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
