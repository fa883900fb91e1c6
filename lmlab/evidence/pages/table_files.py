"""Tables beside the page, as Markdown and LaTeX for a paper and csv for a program.

Markdown and LaTeX write a value with its interval and n, four digits long; csv keeps every digit.
"""

import csv
import io
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from lmlab.engine.records import Record
from lmlab.engine.run import write_text
from lmlab.evidence.markdown import plain
from lmlab.evidence.pages.judged import Judged
from lmlab.evidence.tables import chance, finite_interval, marks, number, words

_LATEX = {
    "\\": r"\textbackslash{}", "&": r"\&", "%": r"\%", "$": r"\$", "#": r"\#", "_": r"\_",
    "{": r"\{", "}": r"\}", "~": r"\textasciitilde{}", "^": r"\textasciicircum{}",
    "<": r"\textless{}", ">": r"\textgreater{}", "|": r"\textbar{}", '"': r"\textquotedbl{}",
}  # fmt: skip
_FIELDS = ("run", "part", "seed", "training_step")


@dataclass(frozen=True)
class Sheet:
    """A table as text, the first `num_words` columns words; `rows` for people, `data` for csv."""

    name: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_words: int
    data_columns: tuple[str, ...]
    data: tuple[tuple[object, ...], ...]


def record_sheets(records: Sequence[Record]) -> list[Sheet]:
    """One a metric and protocol; two protocols of one metric have its hash in their names."""
    groups: dict[tuple[str, str, str], list[Record]] = {}
    for one in records:
        groups.setdefault((one.metric, one.unit, one.protocol_hash), []).append(one)
    metrics = [metric for metric, _, _ in groups]
    return [
        _record_sheet(metric + (f"_{key[:8]}" if metrics.count(metric) > 1 else ""), group)
        for (metric, _, key), group in groups.items()
    ]


def gate_sheets(judged: Judged) -> list[Sheet]:
    """The gates as they were judged; none where none was."""
    if not judged.gates:
        return []
    columns = ("gate", "claim", "verdict", "audit", "effect", "n", "seeds", "p corrected")
    rows = [
        (
            one.gate, one.claim, words(one.verdict), words(one.audit),
            _estimate(one.estimate, one.interval), number(one.n), number(one.seeds),
            "–" if one.p_corrected is None else chance(one.p_corrected),
        )
        for one in judged.asked
    ]  # fmt: skip
    data_columns = (
        "gate", "verdict", "claim", "estimate", "low", "high", "n", "seeds", "test", "p",
        "p_corrected", "audit", "audit_reason", "reason", "marks",
    )  # fmt: skip
    data = [
        (
            one.gate, one.verdict, one.claim, one.estimate, *(one.interval or (None, None)), one.n,
            one.seeds, one.test, one.p, one.p_corrected, one.audit, one.audit_reason, one.reason,
            "; ".join(one.marks),
        )
        for one in judged.gates
    ]  # fmt: skip
    return [Sheet("gates", "Gates", columns, tuple(rows), 4, data_columns, tuple(data))]


def write_sheets(sheets: Sequence[Sheet], folder: Path) -> list[Path]:
    """`name.md`, `name.csv` and `name.tex` of each."""
    folder.mkdir(parents=True, exist_ok=True)
    written = []
    for sheet in sheets:
        stem = file_name(sheet.name)
        forms = {"md": markdown(sheet), "csv": as_csv(sheet), "tex": latex(sheet)}
        for ending, text in forms.items():
            path = folder / f"{stem}.{ending}"
            write_text(path, text)
            written.append(path)
    return written


def file_name(text: str) -> str:
    """A name for a file, whatever stands in the text."""
    return re.sub(r"[^A-Za-z0-9.-]+", "_", text).strip("_.")[:80] or "table"


def markdown(sheet: Sheet) -> str:
    """A pipe table, whose first columns are words and the others numbers."""
    rule = [":---" if i < sheet.num_words else "---:" for i in range(len(sheet.columns))]
    rows = [[*map(plain, row[: sheet.num_words]), *row[sheet.num_words :]] for row in sheet.rows]
    lines = [f"| {' | '.join(row)} |" for row in [map(plain, sheet.columns), rule, *rows]]
    return f"{plain(sheet.caption)}\n\n" + "\n".join(lines) + "\n"


def latex(sheet: Sheet) -> str:
    """A tabular that compiles without any package."""
    form = "".join("l" if i < sheet.num_words else "r" for i in range(len(sheet.columns)))
    rows = [" & ".join(map(_tex, row)) + r" \\" for row in (sheet.columns, *sheet.rows)]
    body = "\n".join([rows[0], r"\hline", *rows[1:]])
    top, bottom = rf"\begin{{tabular}}{{{form}}}", r"\end{tabular}"
    return f"% {' '.join(sheet.caption.split())}\n{top}\n\\hline\n{body}\n\\hline\n{bottom}\n"


def as_csv(sheet: Sheet) -> str:
    """Every digit; an unknown value is empty."""
    file = io.StringIO()
    csv.writer(file, lineterminator="\n").writerows([sheet.data_columns, *sheet.data])
    return file.getvalue()


def _record_sheet(name: str, records: Sequence[Record]) -> Sheet:
    first = records[0]
    at = list(dict.fromkeys(str(key) for one in records for key in one.at))
    shown = [key for key in at if len({one.at.get(key) for one in records}) > 1]
    fields = [key for key in _FIELDS if len({vars(one)[key] for one in records}) > 1]
    sign = 1 if first.better == "lower" else -1
    ordered = sorted(
        records, key=lambda one: ([_order(one.at.get(k)) for k in at], sign * one.value)
    )
    columns = ("arm", *map(words, shown), *map(words, fields), "marks", "value", "n", "failed")
    rows = [
        (
            one.arm, *(_text(one.at.get(key)) for key in shown),
            *(_text(vars(one)[key]) for key in fields), ", ".join(marks(one)) or "–",
            _estimate(one.value, finite_interval(one)), number(one.n), number(one.n_error),
        )
        for one in ordered
    ]  # fmt: skip
    data_columns = (
        "arm", *at, *_FIELDS, "metric", "unit", "better", "value", "low", "high",
        "interval_method", "n", "n_error", "marks", "protocol_hash", "record",
    )  # fmt: skip
    data = [
        (
            one.arm, *(one.at.get(key) for key in at), *(vars(one)[key] for key in _FIELDS),
            one.metric, one.unit, one.better, one.value, *(one.interval or (None, None)),
            one.interval_method, one.n, one.n_error, "; ".join(marks(one)), one.protocol_hash,
            one.id,
        )
        for one in ordered
    ]  # fmt: skip
    same = {key: first.at[key] for key in at if key in first.at and key not in shown}
    return Sheet(
        name=name,
        caption=_caption(first, same),
        columns=columns,
        rows=tuple(rows),
        num_words=2 + len(shown) + len(fields),
        data_columns=data_columns,
        data=tuple(data),
    )


def _caption(first: Record, same: Mapping[str, object]) -> str:
    where = "".join(f"; {words(key)} {value}" for key, value in same.items())
    method = f"; interval: {first.interval_method}" if first.interval_method else ""
    return (
        f"{words(first.metric)} ({words(first.unit)}; {first.better} is better){where}{method}; "
        f"protocol {first.protocol_hash[:8]}"
    )


def _estimate(value: float | None, interval: tuple[float, float] | None) -> str:
    if interval is None:
        return number(value)
    return f"{number(value)} [{number(interval[0])}, {number(interval[1])}]"


def _text(value: object) -> str:
    if value is None:
        return "–"
    return number(value) if isinstance(value, int) else str(value)


def _order(value: object) -> tuple[bool, float, str]:
    """Numbers by size, then names."""
    if isinstance(value, int | float):
        return (False, float(value), "")
    return (True, 0.0, str(value))


def _tex(text: str) -> str:
    return "".join(_LATEX.get(letter, letter) for letter in " ".join(text.split()))
