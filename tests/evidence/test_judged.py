"""Reading verdicts back: what is damaged is said, the rest is shown."""

import json
from pathlib import Path

from lmlab.evidence.gates.judge import Judgement
from lmlab.evidence.pages.judged import read_judged

GATE = {"gate": "g1", "claim": "c", "verdict": "pass", "reason": "r"}


def read(folder: Path, *, records: tuple[str, ...] = ()) -> tuple[list[str], list[str]]:
    """(gates, what was said)."""
    said: list[str] = []
    judged = read_judged(folder, records=records, said=said)
    return [gate.gate for gate in judged.gates], said


def test_where_nothing_was_judged_there_is_nothing_to_say(tmp_path: Path):
    assert read(tmp_path) == ([], [])


def test_a_judgement_comes_back_as_it_was(tmp_path: Path):
    made = Judgement(gate="g", claim="c", verdict="fail", reason="r", estimate=0.25,
                     interval=(0.125, 0.5), n=3, seeds=2, test="t", p=0.5, p_corrected=1.0,
                     minimum_detectable_effect=0.75, audit="underpowered", audit_reason="a",
                     marks=("generated",), evidence=("f" * 64,))  # fmt: skip
    (tmp_path / "gates.json").write_text(json.dumps([vars(made)]))
    (gate,) = read_judged(tmp_path, records=[], said=[]).gates
    assert vars(gate) == vars(made)


def test_counts_go_from_pass_to_not_run(tmp_path: Path):
    verdicts = ("not_run", "pass", "not_enough_evidence", "pass")
    gates = [GATE | {"gate": f"g{i}", "verdict": one} for i, one in enumerate(verdicts)]
    (tmp_path / "gates.json").write_text(json.dumps(gates))
    judged = read_judged(tmp_path, records=[], said=[])
    assert judged.counts == [("pass", 2), ("not_enough_evidence", 1), ("not_run", 1)]


def test_a_cut_file_is_said(tmp_path: Path):
    (tmp_path / "gates.json").write_text(json.dumps([GATE])[:-9])
    (tmp_path / "decision.json").write_text("\x00")
    gates, said = read(tmp_path)
    assert gates == []
    assert [line.split(" is damaged")[0] for line in said] == ["gates.json", "decision.json"]


def test_a_damaged_gate_leaves_the_others(tmp_path: Path):
    odd = [7, {"gate": "x"}, GATE | {"verdict": "maybe"}, GATE | {"estimate": float("nan")}]
    (tmp_path / "gates.json").write_text(json.dumps(odd))
    gates, said = read(tmp_path)
    assert gates == ["g1"]
    assert [line.split(" was left out")[0] for line in said] == [
        f"gates.json, gate {i}" for i in (1, 2, 3)
    ]


def test_a_figure_that_is_no_number_is_unknown(tmp_path: Path):
    odd = GATE | {"estimate": float("nan"), "p": "x", "interval": [1.0, float("inf")]}
    (tmp_path / "gates.json").write_text(json.dumps([odd]))
    (gate,) = read_judged(tmp_path, records=[], said=[]).gates
    assert (gate.estimate, gate.p, gate.interval) == (None, None, None)


def test_a_gate_over_records_that_are_gone_is_stale(tmp_path: Path):
    evidence = {"evidence": ["a" * 16, "b" * 16, "c" * 64]}
    (tmp_path / "gates.json").write_text(json.dumps([GATE | evidence]))
    assert read(tmp_path, records=("a" * 16, "b" * 16))[1] == []
    (said,) = read(tmp_path, records=("a" * 16,))[1]
    assert "judged on 1 records that are not here now" in said
