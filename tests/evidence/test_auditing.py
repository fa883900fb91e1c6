"""`lmlab gate --audit` on what was measured: every finding, and why a gate has nothing."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from planted_study import answers, gate_file, pair, plant_run
from sample_records import make_record

from lmlab.engine.run import Run
from lmlab.evidence.gates.auditing import audit_reference

RANGE = {"range": {"data": {"bounds": (0, 1)}}}


@pytest.fixture(autouse=True)
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def audited(root: Path, *gates: dict[str, Any], reference: str = "toy/one") -> list[str]:
    path = root / "mine.yaml"
    path.write_text(yaml.safe_dump(gate_file(*gates).model_dump(mode="json")))
    return audit_reference(reference, gates=str(path))


def test_every_finding_of_a_measured_gate_is_told(root: Path):
    """200 items that disagree on one in four are too few for a point, and weights are unknown."""
    imported = {"imported": True, "weights": {}}
    plant_run(root, arms=answers(25, 25, 200, both=100), record=imported)
    lines = audited(root, pair("noninferior", 0.01, **RANGE))
    assert lines[0].split()[:2] == ["underpowered", "g0:"]
    told = {line.split(":")[0].strip() for line in lines[1:-1]}
    assert {"items", "arms"} <= told
    assert any("weights of arm and base are unknown" in line for line in lines)
    assert lines[-1] == "1 underpowered"


def test_the_same_gate_is_told_for_a_run_and_for_its_study(root: Path):
    plant_run(root, arms=answers(40, 10, 200, both=100))
    planned = {"planned": {"items": 200, "discordant": 0.3, "effect": 0.2}}
    gates = [pair("superior", margin, **RANGE, **planned) for margin in (0.0, 0.9)]
    lines = audited(root, *gates)
    assert lines == audited(root, *gates, reference="toy")
    assert [line.split()[0] for line in lines[:2]] == ["sound", "unattainable"]
    assert lines[-1] == "1 unattainable, 1 sound"


def test_a_gate_that_nothing_was_measured_for_says_why(root: Path):
    plant_run(root, arms=answers(40, 10, 200), record={"dev": True})
    here, nowhere = pair("superior", **RANGE), {"not_run": "no such machine"}
    lines = audited(root, here, pair("superior", **RANGE) | nowhere)
    assert lines[1].strip() == "measured: dev: the numbers of a dev run decide nothing"
    assert sum("measured:" in line for line in lines) == 1
    assert any(line.strip() == "not_run: no such machine" for line in lines)


@pytest.mark.parametrize(("values", "same"), [((5.0, 9.0), False), ((5.0, 5.0), True)])
def test_one_pair_of_records_tells_arms_of_one_model_apart(root: Path, values, same):
    """A window and full attention over the same weights, measured once."""
    run = Run(root, "toy", "one")
    run.folder.mkdir(parents=True)
    run.config_path.write_text("study: toy\n")
    fields = {"run": run.reference, "metric": "accuracy", "weights": {"model": "ab" * 32}}
    records = [
        make_record(arm=arm, value=value, interval=None, interval_method="exact", **fields)
        for arm, value in zip(("arm", "base"), values, strict=True)
    ]
    run.results().replace("evaluate", records)
    lines = audited(root, pair("superior", unit="record"))
    assert any("the two arms are the same" in line for line in lines) is same
    assert lines[0].startswith("unattainable") is same
