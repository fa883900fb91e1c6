"""Which items fail, for whom, and why."""

import csv
import json
from pathlib import Path

import pytest

from lmlab.engine.run import Run
from lmlab.evidence.comparison.failures import find_failures, lines, write_failures
from lmlab.evidence.imported.importing import import_results
from lmlab.evidence.imported.series import Options

# item: base, tuned. q0 fails for all, q1 for base, q2 for tuned, q3 has an error for tuned.
SCORES = {"q0": ("0", "0"), "q1": ("0.4", "1"), "q2": ("1", "0.2"), "q3": ("1", "timed out")}


@pytest.fixture
def run(tmp_path, monkeypatch) -> Run:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return imported(tmp_path)


def imported(folder: Path, *, name: str = "scores", **options) -> Run:
    path = folder / "scores.csv"
    rows = [
        f"{item},{arm},{score},{length}"
        for length in (128, 512)
        for item, both in SCORES.items()
        for arm, score in zip(("base", "tuned"), both, strict=True)
    ]
    path.write_text("item,arm,score,length\n" + "\n".join(rows) + "\n", encoding="utf-8")
    return import_results(path, Options(name=name, **options)).run


def test_items_are_grouped_by_who_fails_them_under_each_condition(run):
    found = find_failures([run])
    assert [dict(one.at) for one in found] == [{"length": 128}, {"length": 512}]
    for one in found:
        assert one.n == 4
        assert one.by_all == ("q0",)
        assert one.by_one == {
            "imported/scores: base": ("q1",),
            "imported/scores: tuned": ("q2", "q3"),
        }
        assert one.errors == {"score 'timed out' is no number": 1}


def test_the_threshold_moves_what_fails(run):
    lenient = find_failures([run], threshold=0.3)[0]
    assert lenient.by_one["imported/scores: base"] == ()
    assert lenient.by_one["imported/scores: tuned"] == ("q2", "q3")


def test_of_a_loss_what_is_above_the_threshold_fails(run, tmp_path):
    loss = imported(tmp_path, name="loss", better="lower")
    found = find_failures([loss], arm="base")[0]
    assert [case.item_id for case in found.cases] == ["q2", "q3"]


def test_scores_beyond_0_and_1_need_a_threshold_of_their_own(run, tmp_path):
    path = tmp_path / "loss.csv"
    path.write_text("item,arm,score\na,m,3.5\nb,m,1.5\n", encoding="utf-8")
    loss = import_results(path, Options(metric="loss")).run
    with pytest.raises(ValueError, match=r"loss lies between 1.5 and 3.5: say .* --threshold"):
        find_failures([loss])
    assert [case.item_id for case in find_failures([loss], threshold=2.0)[0].cases] == ["a"]


def test_the_csv_holds_every_case_with_its_group(run):
    path = write_failures(find_failures([run]), run, "failures.csv")
    assert path == run.folder / "exports" / "failures.csv"
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    cases = {(json.loads(r["at"])["length"], r["arm"], r["item"]): r for r in rows}
    assert len(cases) == len(rows) == 10
    assert cases[128, "base", "q0"]["group"] == "all"
    assert cases[512, "base", "q1"]["group"] == "one"
    assert cases[512, "base", "q1"]["score"] == "0.4"
    assert cases[512, "tuned", "q3"]["score"] == ""
    assert cases[512, "tuned", "q3"]["error"] == "score 'timed out' is no number"
    with pytest.raises(ValueError, match="is no name"):
        write_failures([], run, "../failures.csv")


def test_the_lines_name_the_items_and_the_errors(run):
    text = "\n".join(lines(find_failures([run])))
    assert "all arms fail 1: q0" in text
    assert "only imported/scores: tuned fails 2: q2, q3" in text
    assert "error x1: score 'timed out' is no number" in text
