"""The promised files, parsed back and compared with the records behind them."""

import csv
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sample_records import make_record

from lmlab.engine.records import Record
from lmlab.engine.run import Run
from lmlab.evidence.exports import render, write_exports

# As the guide shows them.
METRICS = ["task", "length", "depth", "mode", "accuracy", "em", "f1", "seed", "runtime"]
SYSTEM = "step,length,vram_mb,tokens_per_sec,window,state_size"
LENGTHS, DEPTHS = (128, 256), (0.1, 0.5, 0.9)
MODES, SEEDS = ("rope", "pi_spiral"), (42, 123)


def score(metric: str, value: float, *, mode: str = "rope", seed: int = 42, **at: Any) -> Record:
    """A result of the long-context tests."""
    return make_record(metric=metric, arm=mode, seed=seed, value=value, at=at, better="higher")


def needle_value(mode: str, seed: int, length: int, depth: float) -> float:
    """Another one each."""
    return round((MODES.index(mode) + 1) * depth / (seed % 7 + 2) + length / 1000, 6)


@pytest.fixture
def needles() -> list[Record]:
    """Two modes, two seeds, two lengths, three depths, two metrics each."""
    return [
        score(metric, value / factor, mode=mode, seed=seed, task="niah", length=length, depth=depth)
        for mode in MODES
        for seed in SEEDS
        for length in LENGTHS
        for depth in DEPTHS
        for value in [needle_value(mode, seed, length, depth)]
        for metric, factor in (("accuracy", 1), ("exact_match", 2))
    ]


def test_metrics_jsonl_has_a_row_a_task_length_depth_mode_and_seed(needles: list[Record]):
    rows = [json.loads(line) for line in render(needles)["metrics.jsonl"].splitlines()]
    assert all(list(row)[: len(METRICS)] == METRICS for row in rows)
    found = {
        (row["mode"], row["seed"], row["length"], row["depth"]): (row["accuracy"], row["em"])
        for row in rows
    }
    assert len(rows) == len(found) == 24
    for key, (accuracy, em) in found.items():
        assert accuracy == needle_value(*key)
        assert em == needle_value(*key) / 2
    assert {row["task"] for row in rows} == {"niah"}


def test_a_row_says_what_it_was_measured_on_and_how_surely():
    main = score("eval/accuracy", 0.75, task="vt", length=64, needles=4)
    others = [score("f1", 0.5, task="vt", length=64, needles=4)]
    others += [score("runtime_seconds", 12.5, task="vt", length=64, needles=4)]
    [row] = map(json.loads, render([*others, main])["metrics.jsonl"].splitlines())
    assert row == {
        "task": "vt",
        "length": 64,
        "depth": None,
        "mode": "rope",
        "accuracy": 0.75,
        "em": None,
        "f1": 0.5,
        "seed": 42,
        "runtime": 12.5,
        "run_id": main.run,
        "checkpoint_sha256": main.weights["model"],
        "data_sha256": main.data["test"],
        "protocol": main.protocol_hash,
        "n": 400,
        "n_error": 1,
        "n_unparsable": None,
        "ci_low": 11.0,
        "ci_high": 13.5,
        "tokens_measured": None,
        "part": "train",
        "training_step": 10,
        "data_kind": "real",
        "dev": False,
        "needles": 4,
    }


def test_two_protocols_never_meet_in_a_row():
    at = {"task": "niah", "length": 64}
    strict, loose = ({"rule": "strict"}, {"rule": "loose"})
    found = [
        make_record(metric=metric, at=at, protocol=protocol, value=value)
        for metric, protocol, value in (
            ("accuracy", strict, 0.1),
            ("f1", strict, 0.2),
            ("accuracy", loose, 0.3),
            ("f1", loose, 0.4),
        )
    ]
    rows = [json.loads(line) for line in render(found)["metrics.jsonl"].splitlines()]
    assert [(row["accuracy"], row["f1"]) for row in rows] == [(0.1, 0.2), (0.3, 0.4)]
    assert len({row["protocol"] for row in rows}) == 2


def test_niah_results_are_what_a_slow_loop_over_the_records_gives(needles: list[Record]):
    found = json.loads(render(needles)["niah_results.json"])
    assert (found["lengths"], found["depths"]) == (list(LENGTHS), list(DEPTHS))
    for mode in MODES:
        cells = {
            (length, depth): sum(needle_value(mode, seed, length, depth) for seed in SEEDS) / 2
            for length in LENGTHS
            for depth in DEPTHS
        }
        matrix = found["accuracy_matrix"][mode]
        for i, length in enumerate(LENGTHS):
            row = [cells[length, depth] for depth in DEPTHS]
            np.testing.assert_allclose(matrix[i], row, rtol=1e-12)
            assert math.isclose(found["by_length"][mode][str(length)], sum(row) / 3)
            area = (0.4 * (row[0] + row[1]) / 2 + 0.4 * (row[1] + row[2]) / 2) / 0.8
            assert math.isclose(found["auc_by_length"][mode][str(length)], area)
        for depth in DEPTHS:
            column = [cells[length, depth] for length in LENGTHS]
            assert math.isclose(found["by_depth"][mode][str(depth)], sum(column) / 2)
        assert found["num_items"][mode] == [[800] * 3] * 2


def test_a_cell_that_was_not_measured_is_empty_and_its_row_has_no_area(needles: list[Record]):
    left = [one for one in needles if (one.at["length"], one.at["depth"]) != (256, 0.5)]
    found = json.loads(render(left)["niah_results.json"])
    assert found["accuracy_matrix"]["rope"][1][1] is None
    assert found["auc_by_length"]["rope"]["256"] is None
    assert found["auc_by_length"]["rope"]["128"] is not None
    assert found["by_depth"]["rope"]["0.5"] == found["accuracy_matrix"]["rope"][0][1]


def test_cells_of_unequal_size_count_by_their_items():
    at = {"task": "niah", "length": 64}
    few = make_record(metric="accuracy", at={**at, "depth": 0.0}, value=1.0, n=10)
    many = make_record(metric="accuracy", at={**at, "depth": 1.0}, value=0.0, n=30)
    found = json.loads(render([few, many])["niah_results.json"])
    assert found["by_length"] == {"trained": {"64": 0.25}}
    assert found["auc_by_length"] == {"trained": {"64": 0.5}}


def test_system_csv_has_the_documents_columns_and_empty_cells():
    at = {"length": 1000, "window": 8000, "memory_kind": "rss"}
    found = [score("system/vram_mb", 12.5, **at), score("tokens_per_second", 45.25, **at)]
    found += [score("state_bytes", 64.0, **(at | {"length": 2000}))]
    text = render(found)["system.csv"]
    assert text.startswith(SYSTEM + ",")
    first, second = csv.DictReader(text.splitlines())
    assert first == {
        "step": "10", "length": "1000", "vram_mb": "12.5", "tokens_per_sec": "45.25",
        "window": "8000", "state_size": "", "cache_bytes": "", "state_bytes": "",
        "memory_kind": "rss", "mode": "rope", "seed": "42",
    }  # fmt: skip
    assert (second["length"], second["state_bytes"], second["vram_mb"]) == ("2000", "64.0", "")


def test_positional_diag_csv_has_a_column_a_mode():
    values = {("rope", 1000): 0.5, ("pi_spiral", 1000): 0.25, ("rope", 50): -0.125}
    found = [
        score("cosine_similarity", value, mode=mode, offset=offset)
        for (mode, offset), value in values.items()
    ]
    assert render(found) == {
        "positional_diag.csv": "offset,cosine_sim_rope,cosine_sim_pi_spiral\n"
        "50,-0.125,\n1000,0.5,0.25\n"
    }


def test_curves_of_one_mode_that_differ_have_columns_of_their_own():
    found = [
        score("cosine_similarity", seed / 4, mode="prng", seed=seed, offset=offset, pairs=8)
        for seed in (1, 2)
        for offset in (3, 4)
    ]
    found.append(score("cosine_similarity", 1.0, mode="rope", seed=1, offset=3, pairs=8))
    header, *rows = csv.reader(render(found)["positional_diag.csv"].splitlines())
    assert header == [
        "offset",
        "cosine_sim_prng_seed_1",
        "cosine_sim_prng_seed_2",
        "cosine_sim_rope",
    ]
    assert rows == [["3", "0.25", "0.5", "1.0"], ["4", "0.25", "0.5", ""]]


def test_spectral_fft_csv_has_a_row_a_frequency_and_mode():
    found = [
        score("magnitude", frequency * 8, mode=mode, frequency=frequency)
        for mode in ("pi", "prng")
        for frequency in (0.25, 0.125)
    ]
    assert render(found)["spectral_fft.csv"] == (
        "freq,magnitude,mode\n0.125,1.0,pi\n0.25,2.0,pi\n0.125,1.0,prng\n0.25,2.0,prng\n"
    )


def test_what_was_not_measured_has_no_file(tmp_path: Path, needles: list[Record]):
    run = Run(tmp_path, "toy", "run")
    other = make_record(metric="word_perplexity", at={"split": "test"})
    assert render([other]) == {}
    run.results().replace("evaluate", [other])
    assert write_exports(run) == []
    assert not (run.folder / "exports").exists()

    run.results().replace("evaluate", needles)
    run.results("0f").replace("evaluate", [score("magnitude", 1.0, frequency=0.5)])
    written = [path.relative_to(run.folder).as_posix() for path in write_exports(run)]
    assert written == [
        "exports/metrics.jsonl",
        "exports/niah_results.json",
        "evaluations/0f/exports/spectral_fft.csv",
    ]
    (run.folder / "exports" / "somebody's.csv").touch()
    run.results().replace("evaluate", [other])
    write_exports(run)
    assert [path.name for path in (run.folder / "exports").iterdir()] == ["somebody's.csv"]
