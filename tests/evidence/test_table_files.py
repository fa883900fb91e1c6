"""Tables as files: every name survives, every value can be read back."""

import csv
import io
from pathlib import Path

import pytest
from markdown_it import MarkdownIt
from sample_records import make_record

from lmlab.engine.records import Record
from lmlab.evidence.pages.judged import Judged, read_judged
from lmlab.evidence.pages.table_files import (
    as_csv,
    file_name,
    gate_sheets,
    latex,
    markdown,
    record_sheets,
    write_sheets,
)

EVIL = r"a%b_c & <b>|x| *y* \z {q} $1 #2 ~ ^"


def records() -> list[Record]:
    return [
        make_record(arm=EVIL, value=12.3456789, data_kind="generated", n_error=3),
        make_record(arm="unigram", value=1234.5, weightless=True, weights={}, interval=None,
                    interval_method=None, training_step=None),
        make_record(arm="theirs", value=11.0, imported=True, weights={}),
    ]  # fmt: skip


def cells(text: str) -> list[list[str]]:
    """The table as a Markdown reader sees it."""
    tokens = MarkdownIt("commonmark").enable("table").parse(text)
    rows: list[list[str]] = []
    for token in tokens:
        if token.type == "tr_open":
            rows.append([])
        elif token.type == "inline" and rows:
            assert token.children is not None
            assert all(one.type in ("text", "text_special") for one in token.children)
            rows[-1].append("".join(one.content for one in token.children))
    return rows


def test_markdown_keeps_names_as_text_and_the_best_row_first():
    (sheet,) = record_sheets(records())
    rows = cells(markdown(sheet))
    assert rows[0] == ["arm", "training step", "marks", "value", "n", "failed"]
    assert [row[0] for row in rows[1:]] == ["theirs", EVIL, "unigram"]
    assert rows[2][2:] == ["generated", "12.35 [11.00, 13.50]", "400", "3"]
    assert rows[1][2] == "imported, weights unknown"
    assert rows[3][1] == "–"


def test_csv_keeps_every_digit_and_the_record():
    made = records()
    (sheet,) = record_sheets(made)
    rows = list(csv.DictReader(io.StringIO(as_csv(sheet))))
    by_arm = {row["arm"]: row for row in rows}
    assert float(by_arm[EVIL]["value"]) == 12.3456789
    assert {row["record"] for row in rows} == {one.id for one in made}
    assert by_arm["unigram"]["low"] == ""
    assert by_arm["theirs"]["length"] == "128"


def test_latex_escapes_what_it_would_read():
    (sheet,) = record_sheets(records())
    text = latex(sheet)
    (row,) = [line for line in text.splitlines() if line.startswith("a\\%b")]
    assert row.startswith(
        r"a\%b\_c \& \textless{}b\textgreater{}\textbar{}x\textbar{} *y* \textbackslash{}z "
        r"\{q\} \$1 \#2 \textasciitilde{} \textasciicircum{} & 10 & generated & "
    )
    (form,) = [line for line in text.splitlines() if line.startswith("\\begin")]
    body = [line for line in text.splitlines() if line.endswith(r" \\")]
    width = len(form.removeprefix(r"\begin{tabular}{").rstrip("}"))
    assert all(line.replace(r"\&", "").count("&") == width - 1 for line in body)
    assert len(body) == 4


def test_a_metric_with_two_protocols_gives_two_tables(tmp_path: Path):
    made = [*records(), make_record(protocol={"window": 1})]
    sheets = record_sheets(made)
    assert len({sheet.name for sheet in sheets}) == len(sheets) == 2
    written = write_sheets(sheets, tmp_path / "tables")
    assert sorted({path.suffix for path in written}) == [".csv", ".md", ".tex"]
    assert len(set(written)) == 6


@pytest.mark.parametrize("text", ["../../x", "a/b", "", "é/%", "." * 300])
def test_any_metric_gives_a_plain_file_name(text: str):
    name = file_name(text)
    assert name
    assert "/" not in name
    assert not name.startswith(".")
    assert len(name) <= 80


def test_gates_stand_in_a_table_with_their_marks(tmp_path: Path):
    (tmp_path / "gates.json").write_text(
        '[{"gate": "g", "claim": "A | B", "verdict": "not_enough_evidence", "reason": "r", '
        '"estimate": 0.5, "interval": [0.1, 0.9], "n": 7, "seeds": 2, "p": 0.2, '
        '"p_corrected": 0.4, "marks": ["generated"]}]'
    )
    (sheet,) = gate_sheets(read_judged(tmp_path, records=[], said=[]))
    assert cells(markdown(sheet))[1] == [
        "g", "A | B", "not enough evidence", "not audited", "0.5000 [0.1000, 0.9000]", "7", "2",
        "0.4",
    ]  # fmt: skip
    (row,) = csv.DictReader(io.StringIO(as_csv(sheet)))
    assert (row["p"], row["marks"]) == ("0.2", "generated")
    assert gate_sheets(Judged((), {})) == []
