"""Gates that judge a step, and gates that say something only where others pass."""

from pathlib import Path

import pytest
from planted_study import answers, gate_file, judge, pair, plant_run

from lmlab.engine.run import Run, write_json
from lmlab.evidence.gates.decide import decide
from lmlab.evidence.gates.judge import Judgement
from lmlab.evidence.gates.judging import FILE, exit_code
from lmlab.evidence.pages.judged import ShownGate, read_judged
from lmlab.evidence.pages.report import write_report

WON, LOST = answers(40, 10, 200, both=100), answers(10, 40, 200, both=100)


def made_with(run: Run, *steps: str) -> Run:
    """The run as one that was made with these steps."""
    run.write_manifest({"fingerprints": dict.fromkeys(steps, "0" * 16)})
    return run


def shown(run: Run, judged: list[Judgement]) -> tuple[ShownGate, ...]:
    """The judgements as they are read from disk."""
    write_json(run.folder / FILE, {"judgements": [vars(one) for one in judged]})
    known = {record.id for record in run.records()}
    return read_judged(run.folder, records=known, said=[]).gates


def test_to_a_run_without_its_step_a_gate_does_not_apply_and_blocks_nothing(tmp_path: Path):
    run = made_with(plant_run(tmp_path, arms=WON), "pretrain", "evaluate")
    gates = [pair("superior"), pair("superior", step="sft", arm="sft")]
    whole, other = judge([run], *gates)
    assert (whole.applies, whole.verdict) == (True, "pass")
    assert (other.applies, other.verdict) == (False, "not_run")
    assert "no run was made with the step sft" in other.reason
    assert exit_code([whole, other]) == 0
    assert whole.p_corrected == judge([run], gates[0])[0].p_corrected
    decision = decide(gate_file(*gates), shown(run, [whole, other]), None)
    named = {gate for one in (*decision.actions, *decision.concerns) for gate in one.gates}
    assert named == {"g0"}


def test_a_run_with_the_step_that_lacks_the_arm_is_told_so(tmp_path: Path):
    run = made_with(plant_run(tmp_path, arms=WON), "pretrain", "sft")
    [found] = judge([run], pair("superior", step="sft", arm="sft"))
    assert (found.applies, found.verdict) == (True, "not_run")
    assert "sft has no accuracy" in found.reason
    assert exit_code([found]) == 2


def test_one_of_several_runs_with_the_step_is_enough(tmp_path: Path):
    runs = [
        made_with(plant_run(tmp_path, "without", arms={"base": [1.0] * 20}, seed=1), "pretrain"),
        made_with(plant_run(tmp_path, "whole", arms=WON), "pretrain", "sft"),
    ]
    [found] = judge(runs, pair("superior", step="sft"))
    assert (found.applies, found.verdict) == (True, "pass")


def test_a_page_lists_what_applies_and_names_the_rest(tmp_path: Path):
    run = made_with(plant_run(tmp_path, arms=WON), "pretrain")
    judged = judge([run], pair("superior"), pair("superior", step="sft", claim="It answers."))
    shown(run, judged)
    write_report(run)
    page = run.report_path.read_text(encoding="utf-8")
    assert 'id="gate-g0"' in page
    assert 'id="gate-g1"' not in page
    assert "It answers." not in page
    assert "<code>g1</code>" in page
    assert "1 pass" in page
    assert "not run" not in page.split('id="results"')[0]


@pytest.mark.parametrize(
    ("arms", "room"),
    [(WON, "pass"), (LOST, "fail"), (answers(20, 16, 200, both=100), "not_enough_evidence")],
)
def test_a_gate_is_judged_only_where_what_it_requires_passes(
    tmp_path: Path, arms: dict[str, list[float]], room: str
):
    run = plant_run(tmp_path, arms=arms)
    threshold = {"test": {"kind": "threshold", "at_most": 0.99}, "arm": "arm"}
    [first, found] = judge([run], pair("superior"), threshold | {"requires": ["g0"]})
    assert first.verdict == room
    assert found.verdict == ("pass" if room == "pass" else "not_run")
    if room != "pass":
        said = f"judged only where g0 pass: g0 is {room.replace('_', ' ')}; measured: accuracy"
        assert found.reason.startswith(said)


def test_a_gate_requires_gates_that_stand_before_it():
    with pytest.raises(ValueError, match="gate g0 requires g1, no gate before it"):
        gate_file(pair("superior", requires=["g1"]), pair("superior"))
