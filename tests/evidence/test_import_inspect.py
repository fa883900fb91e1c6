"""Logs of inspect_ai become records with items, whether .json or .eval."""

from pathlib import Path

import inspect_files as inspect
import pytest

from lmlab.engine.items import read_items
from lmlab.engine.run import Run
from lmlab.evidence.imported.importing import import_results
from lmlab.evidence.imported.series import Options

VALUES = ["C", "I", "C", "P", "N", "C"]
QUIZ = [inspect.sample(i, value) for i, value in enumerate(VALUES)]
LOG = inspect.log(QUIZ, accuracy=3.5 / 6)


@pytest.fixture(autouse=True)
def runs(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def imported(path: Path, **options) -> Run:
    return import_results(path, Options(**options)).run


def test_a_log_becomes_a_record_with_its_items(tmp_path):
    run = imported(inspect.write_json(tmp_path / "log.json", LOG))
    record = run.records()[0]
    assert (record.arm, record.metric, record.better) == ("lab/model", "accuracy", "higher")
    assert record.value == pytest.approx(3.5 / 6)
    assert dict(record.at) == {"task": "quiz", "scorer": "match"}
    assert record.protocol["generation"] == {"temperature": 0.0}
    assert record.protocol["harness"] == "inspect_ai 0.3.200"
    assert record.protocol["solver"] == [{"solver": "generate", "params": {}}]
    items = read_items(run.results().items_path("accuracy"))
    assert items["value"].tolist() == [1, 0, 1, 0.5, 0, 1]


@pytest.mark.parametrize("zstd", [False, True])
def test_an_eval_file_holds_the_same_as_the_json(tmp_path, zstd):
    plain = imported(inspect.write_json(tmp_path / "log.json", LOG)).records()[0]
    path = inspect.write_eval(tmp_path / "named-at-will", LOG, zstd=zstd)
    packed = imported(path).records()[0]
    assert packed.value == plain.value
    assert packed.protocol == plain.protocol
    assert packed.data == plain.data


def test_what_was_not_scored_is_an_error_and_no_zero(tmp_path):
    broken = inspect.sample(3, "C") | {"error": {"message": "out of memory\nmore", "traceback": ""}}
    samples = [
        inspect.sample(0, "C"),
        inspect.sample(1, float("nan")),
        inspect.sample(2, None),
        broken,
        inspect.sample(4, "maybe"),
        inspect.sample(5, "C") | {"invalidation": {"author": "me"}},
    ]
    run = imported(inspect.write_json(tmp_path / "log.json", inspect.log(samples, accuracy=0.5)))
    record = run.records()[0]
    assert (record.value, record.n, record.n_error) == (1.0, 1, 5)
    items = read_items(run.results().items_path("accuracy"))
    assert items["error"].tolist()[1:] == [
        "unscored", "not scored", "out of memory", 'score "maybe" is no number', "invalidated",
    ]  # fmt: skip


def test_epochs_of_a_sample_are_one_cluster(tmp_path):
    samples = [inspect.sample(i, "CI"[i % 2], epoch=e) for i in range(8) for e in (1, 2, 3)]
    content = inspect.log(samples, accuracy=0.5)
    content["results"]["scores"][0]["reducer"] = "mean"
    run = imported(inspect.write_json(tmp_path / "log.json", content))
    items = read_items(run.results().items_path("accuracy"))
    assert items["item_id"].nunique() == 24
    assert items["cluster_id"].nunique() == 8
    record = run.records()[0]
    assert record.n == 24
    assert record.interval_method is not None
    assert "clusters" in record.interval_method
    assert record.protocol["epochs"] == 3


def test_another_reducer_than_the_mean_takes_the_reduced_scores(tmp_path):
    samples = [inspect.sample(i, v, epoch=e) for i in range(4) for e, v in ((1, "C"), (2, "I"))]
    content = inspect.log(samples, accuracy=1.0)
    content["results"]["scores"][0]["reducer"] = "max"
    with pytest.raises(ValueError, match="lacks the reductions of match by max"):
        imported(inspect.write_json(tmp_path / "log.json", content))
    reduced = [{"value": 1.0, "sample_id": i} for i in range(4)]
    content["reductions"] = [{"scorer": "match", "reducer": "max", "samples": reduced}]
    record = imported(inspect.write_json(tmp_path / "log.json", content)).records()[0]
    assert (record.value, record.n, record.at["reducer"]) == (1.0, 4, "max")


def test_a_scorer_with_several_values_gives_each_a_record(tmp_path):
    samples = [inspect.sample(i, {"style": i % 2, "facts": 1}) for i in range(6)]
    content = inspect.log(samples, accuracy=None)
    content["results"]["scores"] = [
        {"name": name, "scorer": "match", "metrics": {"mean": {"name": "mean", "value": value}}}
        for name, value in (("style", 0.5), ("facts", 1.0))
    ]
    path = inspect.write_json(tmp_path / "log.json", content)
    with pytest.raises(ValueError, match="is a higher or a lower 'mean' better"):
        imported(path)
    records = imported(path, better="higher").records()
    assert {one.at["scorer"]: one.value for one in records} == {"style": 0.5, "facts": 1.0}


def test_logs_of_two_models_in_a_folder_are_two_arms(tmp_path):
    folder = tmp_path / "logs"
    folder.mkdir()
    inspect.write_eval(folder / "a.eval", LOG)
    other = inspect.log(QUIZ, accuracy=3.5 / 6)
    other["eval"]["model"] = "lab/other"
    inspect.write_json(folder / "b.json", other)
    first, second = imported(folder).records()
    assert {first.arm, second.arm} == {"lab/model", "lab/other"}
    assert first.protocol_hash == second.protocol_hash
    assert first.data == second.data


BAD = {
    "ended with status 'error' (no memory)": {"status": "error", "error": {"message": "no memory"}},
    "has no samples": {"samples": None},
    "is 0.9 in the results and": {
        "results": inspect.log(QUIZ, accuracy=0.9)["results"],
    },
    "nothing was scored": {"results": None},
    "has sample 0 twice": {"samples": [*QUIZ, QUIZ[0]]},
}


@pytest.mark.parametrize("reason", BAD)
def test_a_log_that_is_no_result_is_refused(tmp_path, runs, reason):
    path = inspect.write_json(tmp_path / "log.json", LOG | BAD[reason])
    with pytest.raises(ValueError, match=r"log\.json") as caught:
        imported(path)
    assert reason in str(caught.value)
    assert not runs.exists()


def test_a_damaged_or_foreign_zip_is_refused(tmp_path):
    path = inspect.write_eval(tmp_path / "log.eval", LOG)
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(ValueError, match=r"log\.eval is damaged"):
        imported(path)
    content = inspect.write_eval(tmp_path / "b.eval", LOG).read_bytes()
    path.write_bytes(content.replace(b"header.json", b"reader.json"))
    with pytest.raises(ValueError, match="an unfinished log of inspect"):
        imported(path)
