"""What a run ends with."""

from pathlib import Path

import pytest
from planted_study import plant_run

from lmlab.engine.run import read_json, write_json
from lmlab.evidence import conclude as module
from lmlab.evidence.conclude import conclude

GATES = """
study: toy
question: Does the arm win?
gates:
  - id: wins
    claim: The arm beats the baseline.
    metric: accuracy
    arm: arm
    baseline: base
    test: {kind: superior}
"""


@pytest.fixture
def gates(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A study's own gate file."""
    path = tmp_path / "toy.yaml"
    path.write_text(GATES, encoding="utf-8")
    monkeypatch.setattr(module, "study_gates", lambda study: path)
    monkeypatch.setattr(module, "decide_target", lambda reference: [f"decided {reference}"])
    return path


def test_a_run_ends_judged_decided_and_with_its_page(tmp_path: Path, gates: Path):
    run = plant_run(tmp_path, arms={"arm": [1.0] * 60, "base": [1.0, 0.0] * 30})
    lines = conclude(run)
    assert read_json(run.folder / "gates.json")["judgements"][0]["verdict"] == "pass"
    assert lines[0].startswith("gate: wins pass: ")
    assert lines[1] == f"decided {run.reference}"
    assert f"report: {run.report_path}" in lines
    assert "The arm beats the baseline." in run.report_path.read_text(encoding="utf-8")


def test_verdicts_by_other_gates_are_left_as_they_are(tmp_path: Path, gates: Path):
    run = plant_run(tmp_path, arms={"arm": [1.0] * 60, "base": [1.0, 0.0] * 30})
    theirs = {"gates": "mine.yaml", "runs": [run.reference], "judgements": []}
    write_json(run.folder / "gates.json", theirs)
    assert conclude(run)[0] == f"report: {run.report_path}"
    assert read_json(run.folder / "gates.json") == theirs


def test_a_run_without_records_has_nothing_to_judge(tmp_path: Path, gates: Path):
    run = plant_run(tmp_path, arms={"arm": [1.0] * 60, "base": [1.0, 0.0] * 30})
    (run.folder / "results.jsonl").unlink()
    assert conclude(run)[0] == f"report: {run.report_path}"
    assert not (run.folder / "gates.json").exists()
