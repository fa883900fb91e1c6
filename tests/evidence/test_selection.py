"""What a gate is judged on: the right records and items, or the reason why there are none."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from planted_study import answers, judge, pair, plant_run

from lmlab.engine.run import Run
from lmlab.evidence.gates.grammar import Gate, load_gates
from lmlab.evidence.gates.judging import judge_reference
from lmlab.evidence.gates.selection import Refused, read_sets, select_groups

GATE = pair("superior")
GOOD = answers(40, 10, 200, both=100)


def reason(runs: list[Run], gate: dict[str, Any] = GATE) -> str:
    """Why the only gate is not run."""
    found = judge(runs, gate)[0]
    assert found.verdict == "not_run"
    return found.reason


def selected(runs: list[Run], **select: Any) -> list[str]:
    """Conditions of what a gate with this `select` is judged on."""
    gate = Gate.model_validate(
        {"id": "g", "claim": "?", "metric": "accuracy"} | GATE | {"select": select}
    )
    found = select_groups(gate, read_sets(runs))
    return sorted({at for _, at, _ in found.groups})


def test_select_matches_conditions_first_then_the_protocol(tmp_path: Path) -> None:
    for length in (128, 256, 512):
        changes = {"protocol": {"window": 2 * length, "length": 1}}
        run = plant_run(tmp_path, arms=GOOD, at={"length": length}, record=changes)
    assert selected([run], length=128) == ['{"length": 128}']
    assert selected([run], length=[256, 512]) == ['{"length": 256}', '{"length": 512}']
    assert selected([run], window=256) == ['{"length": 128}']
    with pytest.raises(Refused, match="arm has no accuracy under length 1"):
        selected([run], length=1)


def test_pairs_are_found_by_seed_conditions_and_item(tmp_path: Path) -> None:
    """Arms of one seed lie in two runs, and their items in another order."""
    rows = np.random.default_rng(0).permutation(200)
    arm = plant_run(tmp_path, "arm", arms={"arm": GOOD["arm"]})
    base = plant_run(tmp_path, "base", arms={"base": GOOD["base"]})
    path = next((base.folder / "items").glob("*"))
    import pandas as pd

    pd.read_parquet(path).iloc[rows].to_parquet(path)
    found = judge([base, arm], GATE)[0]
    together = judge([plant_run(tmp_path, "both", arms=GOOD)], GATE)[0]
    assert (found.estimate, found.interval) == (together.estimate, together.interval)


def test_items_without_counterpart_are_left_out_and_said(tmp_path: Path) -> None:
    arms = {"arm": GOOD["arm"], "base": GOOD["base"][:150]}
    found = judge([plant_run(tmp_path, arms=arms)], GATE)[0]
    assert found.n == 150
    assert "50 items have no counterpart" in found.reason


def test_seeds_without_a_baseline_are_said(tmp_path: Path) -> None:
    runs = [plant_run(tmp_path, "zero", arms=GOOD)]
    runs += [plant_run(tmp_path, "one", arms={"arm": GOOD["arm"]}, seed=1)]
    found = judge(runs, GATE)[0]
    assert (found.n, found.seeds) == (200, 1)
    assert "base was not measured with seed 1" in found.reason


def test_the_same_measurement_in_two_runs_counts_once(tmp_path: Path) -> None:
    runs = [plant_run(tmp_path, name, arms=GOOD) for name in ("one", "two")]
    assert judge(runs, GATE)[0].n == 200
    other = plant_run(tmp_path, "three", arms=answers(30, 10, 200))
    assert "two values of accuracy" in reason([*runs, other])


def test_another_evaluation_counts_only_where_the_own_has_nothing(tmp_path: Path) -> None:
    run = plant_run(tmp_path, arms=GOOD)
    elsewhere = plant_run(tmp_path, "other", arms=answers(30, 10, 200), at={"length": 512})
    other = run.folder / "evaluations" / "abc"
    other.parent.mkdir()
    elsewhere.folder.rename(other)
    assert judge([run], GATE)[0].n == 200
    assert selected([run], length=512) == ['{"length": 512}']


def _drop_baseline(run: Run) -> None:
    run.results().replace("evaluate", [one for one in run.records() if one.arm != "base"])
    lines = (run.folder / "results.jsonl").read_text().splitlines()
    kept = [line for line in lines if '"arm": "base"' not in line]
    (run.folder / "results.jsonl").write_text("\n".join(kept) + "\n")


def _truncate(run: Run) -> None:
    path = run.folder / "results.jsonl"
    path.write_text(path.read_text()[:-200])


def _edit(run: Run) -> None:
    path = run.folder / "results.jsonl"
    path.write_text(path.read_text().replace('"value": 0.7', '"value": 0.9'))


def _forget_weights(run: Run) -> None:
    path = run.folder / "results.jsonl"
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("".join(json.dumps(row | {"weights": {}}) + "\n" for row in rows))


def _write_nan(run: Run) -> None:
    path = run.folder / "results.jsonl"
    path.write_text(path.read_text().replace('"value": 0.7', '"value": NaN'))


def _remove_items(run: Run) -> None:
    for path in (run.folder / "items").glob("*"):
        path.unlink()


def _cut_items(run: Run) -> None:
    path = next((run.folder / "items").glob("*"))
    path.write_bytes(path.read_bytes()[:-100])


def _change_items(run: Run, change: Callable[[Any], Any]) -> None:
    import pandas as pd

    path = next((run.folder / "items").glob("*"))
    change(pd.read_parquet(path)).to_parquet(path)


def _nan_item(run: Run) -> None:
    _change_items(run, lambda found: found.assign(value=found["value"].where(found.index != 7)))


def _double_item(run: Run) -> None:
    import pandas as pd

    _change_items(run, lambda found: pd.concat([found, found.iloc[:1]]))


@pytest.mark.parametrize(
    ("damage", "said"),
    [
        (_drop_baseline, "base has no accuracy under any conditions; only arm"),
        (_truncate, "line 2 is damaged: it is no JSON"),
        (_edit, "does not match its id and digest; the line was edited"),
        (_forget_weights, "arm accuracy names no weights"),
        (_write_nan, "arm accuracy is nan; a record holds a number"),
        (_remove_items, "the runs hold no items of accuracy for arm and base with seed 0"),
        (_cut_items, "of toy/one cannot be read"),
        (_nan_item, "1 items, such as 7, have no value and no error"),
        (_double_item, 'of arm under {"length": 128}, seed 0, item 0 is there twice'),
    ],
)
def test_what_is_damaged_is_named_and_other_gates_are_judged(
    tmp_path: Path, damage: Callable[[Run], None], said: str
) -> None:
    run = plant_run(tmp_path, arms=GOOD)
    damage(run)
    sound = plant_run(tmp_path, "sound", arms={"third": GOOD["arm"], "fourth": GOOD["base"]})
    found = judge([run, sound], GATE, GATE | {"arm": "third", "baseline": "fourth"})
    assert [one.verdict for one in found] == ["not_run", "pass"]
    assert said in found[0].reason


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"protocol": {"window": 64, "words": "lines"}}, "window is 128 (arm in toy/one), 64"),
        ({"data": {"test": "cd" * 32}}, "mixed data"),
        ({"better": "lower"}, "disagree on whether accuracy is better"),
    ],
)
def test_what_is_mixed_is_refused(tmp_path: Path, changes: dict[str, Any], said: str) -> None:
    arm = plant_run(tmp_path, "one", arms={"arm": GOOD["arm"]})
    base = plant_run(tmp_path, "two", arms={"base": GOOD["base"]}, record=changes)
    assert said in reason([arm, base])


def test_missing_controls_are_named(tmp_path: Path) -> None:
    run = plant_run(tmp_path, arms=GOOD | {"chance": [0.5] * 200})
    assert judge([run], GATE | {"controls": ["chance"]})[0].verdict == "pass"
    assert "control no_needle" in reason([run], GATE | {"controls": ["chance", "no_needle"]})


def test_items_are_judged_under_the_protocol_of_the_records_beside_them(tmp_path: Path) -> None:
    """The items' metric has no record of its own, as with NLL behind a perplexity."""
    named = {"metric": "perplexity", "better": "lower"}
    run = plant_run(tmp_path, arms=GOOD, metric="nll", record=named)
    gate = GATE | {"metric": "nll"}
    assert "better higher or lower: add `better`" in reason([run], gate)
    assert judge([run], gate | {"better": "higher"})[0].verdict == "pass"
    other = {"metric": "perplexity", "protocol": {"window": 1}}
    third = plant_run(tmp_path, "third", arms={"third": GOOD["base"]}, metric="nll", record=other)
    mixed = reason([run, third], gate | {"better": "higher", "baseline": "third"})
    assert "mixed protocols" in mixed


def test_arms_that_weigh_items_differently_are_no_pair(tmp_path: Path) -> None:
    arm = plant_run(tmp_path, "one", arms={"arm": GOOD["arm"]}, weights=[2.0] * 200)
    base = plant_run(tmp_path, "two", arms={"base": GOOD["base"]}, weights=[3.0] * 200)
    assert "do not weigh the same" in reason([arm, base])


def test_markup_in_names_stays_text(tmp_path: Path) -> None:
    name = '<script>alert("x")</script>'
    run = plant_run(tmp_path, arms={name: GOOD["arm"], "base": GOOD["base"]})
    found = judge([run], GATE | {"arm": name})[0]
    assert (found.verdict, name in found.reason) == ("pass", True)


def test_the_command_writes_judgements_and_says_by_its_code(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path))
    plant_run(tmp_path, arms=GOOD)
    path = tmp_path / "gates.yaml"

    def told(margin: float, reference: str = "toy/one") -> tuple[int, dict[str, Any]]:
        gate = {"id": "g", "claim": "?", "metric": "accuracy"} | pair("superior", margin)
        path.write_text(json.dumps({"study": "toy", "question": "?", "gates": [gate]}))
        found = judge_reference(reference, gates=str(path))
        written = tmp_path / reference / "gates.json"
        assert found.lines[-1] == str(written)
        return found.exit_code, json.loads(written.read_text())

    assert told(0.0)[0] == 0
    assert told(0.3)[0] == 1
    code, written = told(0.12, "toy")
    assert (code, written["runs"]) == (2, ["toy/one"])
    assert written["judgements"][0]["verdict"] == "not_enough_evidence"
    assert len(written["gates_sha256"]) == 64


def test_a_wrong_gate_file_is_named_with_gate_and_field(tmp_path: Path) -> None:
    path = tmp_path / "gates.yaml"
    gate = {"id": "mine", "claim": "?", "metric": "accuracy"} | pair("superior", -1.0)
    path.write_text(json.dumps({"study": "toy", "question": "?", "gates": [gate]}))
    with pytest.raises(ValueError, match=r"gate mine\.test\.superior\.margin"):
        load_gates(str(path))
