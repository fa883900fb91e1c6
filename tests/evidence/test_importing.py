"""Anybody's csv becomes a run: what is in the records, and what bad files are answered with."""

import json
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file
from scipy.stats import binomtest

from lmlab.engine.items import read_items
from lmlab.engine.references import resolve
from lmlab.engine.weights import weights_hash
from lmlab.evidence import overview
from lmlab.evidence.imported.importing import Imported, import_results
from lmlab.evidence.imported.series import Options
from lmlab.evidence.pages.report import write_report
from lmlab.launch.slurm import job_lines


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def csv_file(folder: Path, text: str, name: str = "scores.csv") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def imported(folder: Path, text: str, **options) -> Imported:
    return import_results(csv_file(folder, text), Options(**options))


def two_arms(num: int = 50) -> str:
    """`tuned` has 4 of 5 right, `base` every other one."""
    rows = [f"q{i},{arm},{score}" for i in range(num) for arm, score in (
        ("tuned", int(i % 5 != 0)), ("base", i % 2),
    )]  # fmt: skip
    return "item,arm,score\n" + "\n".join(rows) + "\n"


def tree(folder: Path) -> dict[str, tuple[int, bytes]]:
    files = [path for path in folder.rglob("*") if path.is_file()]
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in files}


def test_a_csv_of_two_arms_becomes_two_records_and_a_hundred_items(tmp_path):
    made = imported(tmp_path, two_arms())
    records = {record.arm: record for record in made.run.records()}
    assert {arm: (one.value, one.n, one.n_error) for arm, one in records.items()} == {
        "tuned": (0.8, 50, 0),
        "base": (0.5, 50, 0),
    }
    tuned = records["tuned"]
    expected = binomtest(40, 50).proportion_ci(method="wilson")
    assert tuned.interval == pytest.approx((expected.low, expected.high))
    assert tuned.imported
    assert tuned.weights == {}
    assert tuned.better == "higher"
    assert tuned.data == records["base"].data
    items = read_items(made.run.results().items_path("score"))
    assert sorted(items["arm"].value_counts().to_dict().items()) == [("base", 50), ("tuned", 50)]
    assert items[items["arm"] == "tuned"]["value"].sum() == 40


def test_few_answers_get_the_exact_interval(tmp_path):
    made = imported(tmp_path, "item,arm,score\na,m,1\nb,m,1\nc,m,0\n")
    expected = binomtest(2, 3).proportion_ci(method="exact")
    assert made.run.records()[0].interval == pytest.approx((expected.low, expected.high))


def test_the_same_file_again_changes_nothing_and_says_so(tmp_path, runs):
    first = imported(tmp_path, two_arms())
    before = tree(runs)
    again = imported(tmp_path, two_arms())
    assert (first.new, again.new) == (True, False)
    assert again.run.folder == first.run.folder
    assert tree(runs) == before
    assert "imported before; nothing changed" in again.lines()[0]


def test_a_file_that_was_imported_under_a_name_is_known_without_it(tmp_path):
    first = imported(tmp_path, two_arms(), name="mine")
    again = imported(tmp_path, two_arms())
    assert (again.new, again.run.name) == (False, "mine")
    assert first.run.folder == again.run.folder
    assert imported(tmp_path, two_arms(), data_kind="generated").new


def test_another_file_of_the_same_name_is_another_run(tmp_path):
    first = imported(tmp_path, two_arms())
    other = imported(tmp_path, two_arms(40))
    assert first.run.name == "scores"
    assert other.run.name == "scores-2"
    with pytest.raises(ValueError, match="imported/scores exists and is of other results"):
        imported(tmp_path, two_arms(30), name="scores")


def test_an_import_that_was_killed_is_finished_by_the_next(tmp_path):
    first = imported(tmp_path, two_arms())
    (first.run.folder / "results.jsonl").unlink()
    first.run.set_status("import", state="running")
    again = imported(tmp_path, two_arms())
    assert again.new
    assert again.run.folder == first.run.folder
    assert len(again.run.records()) == 2
    assert again.run.status()["steps"]["import"]["state"] == "done"


def test_what_failed_is_counted_and_never_a_zero(tmp_path):
    text = "item,arm,score,error\n" + "".join(
        [
            "a,m,1,\n",
            "b,m,1,\n",
            "c,m,,\n",
            "d,m,nan,\n",
            "e,m,good,\n",
            "f,m,0,timed out\n",
        ]
    )
    run = imported(tmp_path, text).run
    record = run.records()[0]
    assert (record.value, record.n, record.n_error) == (1.0, 2, 4)
    items = read_items(run.results().items_path("score")).set_index("item_id")
    assert items["value"].isna().tolist() == [False, False, True, True, True, True]
    assert items["error"].tolist()[2:] == [
        "no score in the file", "score is nan", "score 'good' is no number", "timed out",
    ]  # fmt: skip


def test_other_columns_are_conditions_and_known_ones_are_not(tmp_path):
    text = "item,arm,score,metric,seed,length,task\n"
    for seed in (1, 2):
        for length in (128, 512):
            text += "".join(f"q{i},m,{i % 2},exact_match,{seed},{length},copy\n" for i in range(10))
    records = imported(tmp_path, text).run.records()
    assert [(one.seed, dict(one.at)) for one in records] == [
        (seed, {"length": length, "task": "copy"}) for seed in (1, 2) for length in (128, 512)
    ]
    assert {one.metric for one in records} == {"exact_match"}


def test_items_of_one_cluster_are_drawn_together(tmp_path):
    """Ten documents whose five questions have one answer each: ten facts, not fifty."""
    rows = [(f"q{d}-{i}", d, d % 2) for d in range(10) for i in range(5)]
    apart = "item,arm,score\n" + "".join(f"{item},m,{score}\n" for item, _, score in rows)
    together = "item,arm,cluster,score\n" + "".join(f"{i},m,d{d},{s}\n" for i, d, s in rows)
    first = imported(tmp_path, apart).run.records()[0]
    second = imported(tmp_path, together).run.records()[0]
    assert first.value == second.value
    assert first.interval is not None
    assert second.interval is not None
    assert second.interval[1] - second.interval[0] > 2 * (first.interval[1] - first.interval[0])


def test_a_weight_counts_an_item_as_often_as_it_says(tmp_path):
    made = imported(tmp_path, "item,arm,score,weight\na,m,1,3\nb,m,0,1\nc,m,0.5,2\n")
    assert made.run.records()[0].value == pytest.approx((3 * 1 + 0 + 2 * 0.5) / 6)


def test_a_file_without_arms_takes_the_name_that_is_given(tmp_path):
    text = "\ufeffItem; Score \na;1\nb;true\nc;0\n"
    assert imported(tmp_path, text, arm="mine").run.records()[0].arm == "mine"
    with pytest.raises(ValueError, match="leave --arm out"):
        imported(tmp_path, two_arms(), arm="mine")


def test_which_way_is_better_must_be_said_unless_the_metric_says_it(tmp_path):
    text = "item,arm,score\na,m,2.5\nb,m,3.5\n"
    assert imported(tmp_path, text, metric="loss").run.records()[0].better == "lower"
    with pytest.raises(ValueError, match="--better higher or --better lower"):
        imported(tmp_path, text, metric="surprise")
    made = imported(tmp_path, text, metric="surprise", better="lower", data_kind="generated")
    assert made.run.records()[0].better == "lower"
    assert made.run.records()[0].data_kind == "generated"


def test_items_that_an_arm_lacks_are_said(tmp_path):
    made = imported(tmp_path, "item,arm,score\na,x,1\nb,x,0\na,y,1\n")
    assert made.notes == (
        "arm y (seed 0) lacks 1 of the 2 items that other arms have of score; "
        "comparisons leave them out",
    )
    x, y = made.run.records()
    assert x.data == y.data


BAD = {
    "": "is empty",
    "item,arm,score\n": "is empty: a header and no row",
    "a,1\nb,0\n": "neither results of lm-eval nor a log of inspect, nor a csv with a header",
    "Item ID,arm,score\na,m,1\n": "no column item; it has item id, arm, score; nearest to item: "
    "item id",
    "item,score\na,1\n": r"no column arm \(or say --arm NAME\)",
    "item,arm,score\na,m,1\nb,m\n": "line 3 has 2 fields and the header 3",
    "item,arm,score\na,m,1\n,m,0\n": "line 3 has nothing in column 'item'",
    "item,arm,score\na,m,1\nb,m,0\na,m,0\n": r"line 4 scores item 'a' of arm 'm' again \(first in "
    "line 2\\)",
    "item,arm,score\na,m,yes\nb,m,no\n": r"no item of m has a number as score \(the first: score "
    "'yes' is no number",
    "item,arm,score,seed\na,m,1,x\n": "line 2: seed 'x' is no whole number",
    "item,arm,score,weight\na,m,1,-1\n": "line 2: weight '-1' is no number above zero",
    "item,arm,score,score\na,m,1,1\n": "two columns 'score'",
    'item,arm,score\n"a,m,1\n': "line 2",
    "item,arm,score,answer\n" + "".join(f"q{i},m,1,text {i}\n" for i in range(20)): "column "
    "'answer' differs in nearly every row",
    '{"item": 1}': "is JSON, but neither",
    '{"results": {"a"': "no whole JSON",
}


@pytest.mark.parametrize("text", BAD, ids=range(len(BAD)))
def test_a_bad_file_is_answered_in_one_line_and_leaves_no_run(tmp_path, runs, text):
    with pytest.raises(ValueError, match=BAD[text]) as caught:
        imported(tmp_path, text)
    assert "\n" not in str(caught.value)
    assert not runs.exists()


def test_what_is_no_text_or_not_there_is_an_error(tmp_path):
    path = tmp_path / "latin.csv"
    path.write_bytes("item,arm,score\nä,m,1\n".encode("latin-1"))
    with pytest.raises(ValueError, match="no UTF-8 text"):
        import_results(path, Options())
    with pytest.raises(ValueError, match="does not exist"):
        import_results(tmp_path / "none.csv", Options())
    with pytest.raises(ValueError, match="holds neither results of lm-eval nor logs of inspect"):
        import_results(tmp_path, Options())


def test_names_may_not_lead_out_of_the_runs_folder(tmp_path):
    for options in ({"name": "../x"}, {"study": "../x"}):
        with pytest.raises(ValueError, match="is no name for a run"):
            imported(tmp_path, two_arms(), **options)


def test_html_and_slashes_in_names_stay_text(tmp_path):
    evil = "<script>alert(1)</script>"
    text = f"item,arm,score,metric\n{evil},{evil},1,../{evil}\nb,{evil},0,../{evil}\n"
    made = imported(tmp_path, text, better="higher")
    record = made.run.records()[0]
    assert (record.arm, record.metric) == (evil, f"../{evil}")
    files = list(made.run.folder.glob("items/*"))
    assert [path.suffix for path in files] == [".parquet"]
    assert evil not in write_report(made.run).read_text(encoding="utf-8")


def test_status_references_and_report_take_an_imported_run(tmp_path):
    made = imported(tmp_path, two_arms())
    assert resolve("imported/scores").run == made.run
    assert resolve("imported/scores", finished=False).run == made.run
    assert overview.details(made.run)[0] == "imported/scores: done"
    assert job_lines(made.run) == []
    page = write_report(made.run).read_text(encoding="utf-8")
    assert "tuned" in page
    assert "weights unknown" in page


def test_named_weights_have_the_hash_that_the_engine_gives(tmp_path):
    tensors = {
        "b": torch.arange(6, dtype=torch.float32).reshape(2, 3),
        "a": torch.tensor([1.5, -2.0], dtype=torch.bfloat16),
        "c": torch.tensor(7),
    }
    folder = tmp_path / "model"
    folder.mkdir()
    save_file({name: tensors[name] for name in ("b", "a")}, folder / "model-1.safetensors")
    save_file({"c": tensors["c"]}, folder / "model-2.safetensors", metadata={"format": "pt"})
    text = "item,arm,score\na,m,1\nb,m,0\n"
    record = imported(tmp_path, text, weights=folder).run.records()[0]
    assert record.weights == {"model": weights_hash(tensors)}
    with pytest.raises(ValueError, match="--weights is for one arm; there are base, tuned"):
        imported(tmp_path, two_arms(), weights=folder)
    with pytest.raises(ValueError, match=r"no file \*.safetensors"):
        imported(tmp_path, text, weights=tmp_path)
    cut = (folder / "model-1.safetensors").read_bytes()[:-3]
    (folder / "model-1.safetensors").write_bytes(cut)
    with pytest.raises(ValueError, match="ends inside"):
        imported(tmp_path, text, weights=folder)


def test_the_manifest_says_what_was_read(tmp_path):
    made = imported(tmp_path, two_arms())
    source = made.run.manifest()["import"]
    assert source["kind"] == "csv"
    assert list(source["files"]) == ["scores.csv"]
    assert json.loads((made.run.folder / "manifest.json").read_text())["dev"] is False
