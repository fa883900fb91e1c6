"""lm-eval's results and samples become records with items, and what does not fit is refused."""

import json
import math
from pathlib import Path

import lm_eval_files as lm_eval
import pytest

from lmlab.engine.items import read_items
from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.evidence.imported.importing import import_results
from lmlab.evidence.imported.series import Options

TASKS = {
    "choice": lm_eval.multiple_choice(),
    "math": lm_eval.filtered(),
    "text": lm_eval.rolling(),
}


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def imported(folder: Path, **options) -> Run:
    return import_results(folder, Options(**options)).run


def record(run: Run, metric: str, **at) -> Record:
    found = [one for one in run.records() if one.metric == metric and dict(one.at) == at]
    assert len(found) == 1
    return found[0]


def samples_of(folder: Path, task: str) -> Path:
    return next(folder.rglob(f"samples_{task}_*.jsonl"))


def test_accuracies_come_with_their_items(tmp_path):
    run = imported(lm_eval.write(tmp_path / "out", TASKS))
    acc = record(run, "acc", task="choice")
    expected = sum(row["acc"] for row in TASKS["choice"]) / 40
    assert (acc.arm, acc.value, acc.n, acc.better) == ("org/tiny", expected, 40, "higher")
    assert acc.interval_method is not None
    assert acc.interval_method.startswith("Wilson")
    assert record(run, "acc_norm", task="choice").value == 0.5
    items = read_items(run.results().items_path("acc"))
    assert items["value"].tolist() == [row["acc"] for row in TASKS["choice"]]
    assert items["item_id"].tolist() == [str(i) for i in range(40)]


def test_every_filter_is_a_condition_and_a_protocol_of_its_own(tmp_path):
    run = imported(lm_eval.write(tmp_path / "out", TASKS))
    strict = record(run, "exact_match", task="math", filter="strict-match")
    flexible = record(run, "exact_match", task="math", filter="flexible-extract")
    assert strict.value == pytest.approx(10 / 30)
    assert flexible.value == pytest.approx(15 / 30)
    assert strict.protocol_hash != flexible.protocol_hash
    assert strict.data == flexible.data


def test_a_perplexity_is_exp_of_the_nll_of_its_items(tmp_path):
    run = imported(lm_eval.write(tmp_path / "out", TASKS))
    nll = [-row["word_perplexity"][0] for row in TASKS["text"]]
    words = [row["word_perplexity"][1] for row in TASKS["text"]]
    words_record = record(run, "word_perplexity", task="text")
    assert words_record.value == pytest.approx(math.exp(sum(nll) / sum(words)))
    assert words_record.better == "lower"
    assert words_record.interval is not None
    assert words_record.interval[0] < words_record.value < words_record.interval[1]
    assert words_record.protocol["max_length"] == 256
    items = read_items(run.results().items_path("nll_per_word"))
    assert items["value"].tolist() == nll
    assert items["weight"].tolist() == words
    bits = record(run, "bits_per_byte", task="text")
    assert bits.value == pytest.approx(sum(nll) / (6 * sum(words)) / math.log(2))
    items = read_items(run.results().items_path("bits_per_byte"))
    assert items["value"].sum() / items["weight"].sum() == pytest.approx(bits.value)


def test_the_protocol_holds_what_changes_a_number_and_not_which_model_it_was(tmp_path):
    first = imported(lm_eval.write(tmp_path / "a", TASKS))
    other = lm_eval.results(TASKS, model_name="/home/somebody/other")
    other["config"]["model_args"] = "pretrained=/home/somebody/other,dtype=bfloat16"
    second = imported(lm_eval.write(tmp_path / "b", TASKS, content=other))
    a, b = (record(run, "acc", task="choice") for run in (first, second))
    assert b.arm == "other"
    assert a.protocol == b.protocol
    assert a.data == b.data
    for name, value in {
        "task": "choice", "task_version": 1.0, "num_fewshot": 0, "filter": "none",
        "harness": "lm-eval 0.4.13", "dataset": "json", "split": "validation", "model_args": {},
    }.items():  # fmt: skip
        assert a.protocol[name] == value
    longer = lm_eval.results(TASKS)
    longer["config"]["model_args"] = {"pretrained": "org/tiny", "max_length": 64}
    third = imported(lm_eval.write(tmp_path / "c", TASKS, content=longer))
    assert record(third, "acc", task="choice").protocol_hash != a.protocol_hash


def test_other_prompts_are_another_protocol_and_other_documents_other_data(tmp_path):
    rows = lm_eval.multiple_choice()
    a = imported(lm_eval.write(tmp_path / "a", {"choice": rows})).records()[0]
    prompted = [row | {"prompt_hash": lm_eval.sha(f"{row['doc_id']}!")} for row in rows]
    b = imported(lm_eval.write(tmp_path / "b", {"choice": prompted})).records()[0]
    assert a.protocol_hash != b.protocol_hash
    assert a.data == b.data
    changed = [rows[0] | {"doc_hash": lm_eval.sha("another")}, *rows[1:]]
    c = imported(lm_eval.write(tmp_path / "c", {"choice": changed})).records()[0]
    assert c.data != a.data
    assert c.protocol_hash == a.protocol_hash


def test_a_results_file_alone_finds_its_samples_also_where_they_were_renamed(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    lm_eval.write(tmp_path / "out", {"choice": lm_eval.multiple_choice(10)}, stamp="2026-11-03T1")
    run = imported(next(folder.rglob(f"results_{lm_eval.STAMP}.json")))
    assert record(run, "acc", task="choice").n == 40
    renamed = lm_eval.write(tmp_path / "renamed", TASKS)
    for number, path in enumerate(sorted(renamed.rglob("*.jsonl"))):
        path.rename(path.with_name(f"{number}.jsonl"))
    assert len(imported(renamed).records()) == len(run.records())


def test_two_models_in_one_folder_are_two_arms_and_two_results_of_one_are_refused(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    other = lm_eval.results(TASKS, model_name="org/other")
    lm_eval.write(folder, TASKS, content=other, stamp="2026-11-02T11-00-00.000000")
    run = imported(folder, metric="acc")
    assert {one.arm for one in run.records()} == {"org/tiny", "org/other"}
    with pytest.raises(ValueError, match="2 models, so --arm cannot name one"):
        imported(folder, arm="mine")
    lm_eval.write(folder, TASKS, stamp="2026-11-03T10-00-00.000000")
    with pytest.raises(ValueError, match=r"acc of org/tiny .* twice, from different files"):
        imported(folder)


def test_a_folder_without_samples_says_how_to_get_them(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    for path in folder.rglob("*.jsonl"):
        path.unlink()
    with pytest.raises(ValueError, match=r"no samples of task choice.*--log_samples"):
        imported(folder)


def test_samples_alone_are_refused(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    with pytest.raises(ValueError, match=r"holds the samples alone; name its results_\*.json"):
        imported(samples_of(folder, "choice"))


def test_a_line_that_was_cut_is_named(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    path = samples_of(folder, "choice")
    path.write_bytes(path.read_bytes()[:-40])
    with pytest.raises(ValueError, match=r"samples_choice_.*, line 40 is no JSON .* cut or edited"):
        imported(folder)


def test_samples_that_lack_documents_are_refused(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    path = samples_of(folder, "choice")
    path.write_text("".join(path.read_text().splitlines(keepends=True)[:-1]))
    with pytest.raises(ValueError, match=r"has 39 documents and results_.* scored 40"):
        imported(folder)


def test_samples_of_another_data_set_are_refused(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    path = samples_of(folder, "choice")
    path.write_text(path.read_text().replace(TASKS["choice"][7]["doc_hash"], "0" * 64))
    with pytest.raises(ValueError, match="the hash of its documents differs"):
        imported(folder)


def test_a_score_that_was_edited_is_refused(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    path = samples_of(folder, "choice")
    path.write_text(path.read_text().replace('"acc": 0.0', '"acc": 1.0', 1))
    with pytest.raises(ValueError, match=r"choice: acc is 0.65 in the results and 0.675 by the"):
        imported(folder)


def test_a_document_scored_twice_is_refused(tmp_path):
    rows = lm_eval.multiple_choice(5)
    folder = lm_eval.write(tmp_path / "out", {"choice": [*rows, rows[2]]})
    with pytest.raises(ValueError, match=r"line 6 scores document 2 \(filter none\) again; .* 3"):
        imported(folder)


def test_a_missing_score_is_a_failed_item(tmp_path):
    rows = lm_eval.multiple_choice(10)
    rows[4]["acc"] = float("nan")
    content = lm_eval.results({"choice": rows})
    content["results"]["choice"]["acc,none"] = float("nan")
    run = imported(lm_eval.write(tmp_path / "out", {"choice": rows}, content=content))
    acc = record(run, "acc", task="choice")
    assert (acc.n, acc.n_error) == (9, 1)


def test_a_number_that_is_no_mean_of_items_comes_alone_and_says_so(tmp_path):
    rows = [lm_eval.sample(i, {"bleu": ["a b", "a c"], "acc": 1.0}) for i in range(6)]
    content = lm_eval.results({"choice": [row | {"metrics": ["acc"]} for row in rows]})
    content["results"]["choice"] |= {"bleu,none": 31.5, "bleu_stderr,none": 0.4}
    content["higher_is_better"]["choice"]["bleu"] = True
    made = import_results(
        lm_eval.write(tmp_path / "out", {"choice": rows}, content=content), Options()
    )
    bleu = record(made.run, "bleu", task="choice")
    assert (bleu.value, bleu.n, bleu.interval) == (31.5, 6, None)
    assert made.notes == (
        "choice: bleu is no mean of its items: imported as one number, without items",
    )
    assert not (made.run.folder / "items" / "bleu.parquet").exists()


def test_a_metric_without_a_direction_asks_for_it(tmp_path):
    rows = [lm_eval.sample(i, {"oddness": float(i)}) for i in range(6)]
    content = lm_eval.results({"odd": rows})
    content["higher_is_better"]["odd"] = {"oddness": None}
    folder = lm_eval.write(tmp_path / "out", {"odd": rows}, content=content)
    with pytest.raises(ValueError, match="say --better"):
        imported(folder)
    assert imported(folder, better="lower").records()[0].better == "lower"
    with pytest.raises(ValueError, match="says higher for acc"):
        imported(lm_eval.write(tmp_path / "b", TASKS), better="lower")


def test_numbers_that_numpy_wrote_as_text_are_numbers(tmp_path):
    rows = [lm_eval.sample(i, {"acc": i % 2}) for i in range(6)]
    folder = lm_eval.write(tmp_path / "out", {"choice": rows})
    path = samples_of(folder, "choice")
    text = path.read_text().replace('"acc": 1', '"acc": "True"').replace('"acc": 0', '"acc": "0.0"')
    path.write_text(text)
    assert imported(folder).records()[0].value == 0.5


def test_a_damaged_results_file_is_named(tmp_path):
    folder = lm_eval.write(tmp_path / "out", TASKS)
    path = next(folder.rglob("results_*.json"))
    path.write_text(path.read_text()[:-30])
    with pytest.raises(ValueError, match=r"results_.*json is no whole JSON"):
        imported(folder)


def test_the_manifest_names_every_file_with_its_hash(tmp_path):
    run = imported(lm_eval.write(tmp_path / "out", TASKS))
    source = run.manifest()["import"]
    assert source["kind"] == "lm-eval"
    assert len(source["files"]) == 4
    assert source["facts"]["org/tiny"]["transformers_version"] == "5.23.0"
    assert "pretrained" not in json.dumps(source)
