"""Sweeps: cells that are runs of their own, whatever becomes of their neighbours (T11)."""

import csv
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
import tiny
from sample_records import make_record

import lmlab
from lmlab import cli
from lmlab.engine.checkpoint import checkpoints
from lmlab.engine.config import load_preset
from lmlab.engine.run import Run, find_runs
from lmlab.launch.grid import Cell
from lmlab.launch.summary import best_settings

PATIENCE_SECONDS = 90


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """LMLAB_RUNS, with nothing in it."""
    monkeypatch.delenv("DEV_MODE", raising=False)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "runs"))
    return tmp_path / "runs"


def test_a_cell_of_a_sweep_equals_the_same_run_alone(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    assert sweep("seed=1,2", "launch.concurrent=2") == 0
    rows = table(root)
    assert {row["state"] for row in rows} == {"done"}
    monkeypatch.setenv("LMLAB_RUNS", str(tmp_path / "alone"))
    for seed in ("1", "2"):
        alone = lmlab.run(tiny.PRESET, *tiny.OVERRIDES, f"seed={seed}", name="alone-" + seed)
        mine = [row for row in rows if row["seed"] == seed]
        assert len(mine) == len(alone.records()) > 0
        for row, record in zip(mine, alone.records(), strict=True):
            assert json.loads(row["weights"]) == record.weights
            assert (row["arm"], row["metric"]) == (record.arm, record.metric)
            assert float(row["value"]) == record.value
    trained = [json.loads(row["weights"])["decoder"] for row in rows if row["arm"] == "trained"]
    assert len(set(trained)) == 2

    # The same command again does nothing, and says the same.
    monkeypatch.setenv("LMLAB_RUNS", str(root))
    assert sweep("seed=1,2") == 0
    assert table(root) == rows
    assert [attempts(run) for run in find_runs()] == [1, 1]


def test_a_cell_that_fails_stops_no_other_and_is_named(
    root: Path, capsys: pytest.CaptureFixture[str]
):
    metric = "pretrain.checkpoint.best_metric"
    assert sweep(f"{metric}=absent,validation/loss") == 1
    said = capsys.readouterr().out
    (summary,) = summaries(root)
    states = {one["settings"][metric]: one["state"] for one in summary["cells"]}
    assert states == {"absent": "failed", "validation/loss": "done"}
    (failed,) = [line for line in said.splitlines() if line.endswith("failed")]
    assert "best_metric-absent" in failed
    (row,) = [row for row in table(root) if row["state"] == "failed"]
    assert row["value"] == ""


@pytest.mark.slow
def test_ctrl_c_reaches_every_cell_and_the_same_command_goes_on(
    root: Path, capfd: pytest.CaptureFixture[str]
):
    arguments = ("seed=1,2", "launch.concurrent=2", "pretrain.max_steps=400")
    process = begin(*arguments)
    wait_for(process, lambda: sum(saved(run) >= 3 for run in find_runs()) == 2)
    # A second sweep in the same moment leaves the first one alone.
    assert sweep(*arguments) == 1
    assert "is being swept by another process" in capfd.readouterr().err
    os.killpg(process.pid, signal.SIGINT)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 75, said
    (summary,) = summaries(root)
    assert [one["state"] for one in summary["cells"]] == ["preempted", "preempted"]
    assert not any(run.is_running() for run in find_runs())
    before = {run.name: (saved(run), attempts(run)) for run in find_runs()}

    process = begin(*arguments)
    said, _ = process.communicate(timeout=PATIENCE_SECONDS)
    assert process.returncode == 0, said
    assert len(find_runs()) == 2, "no run is made twice"
    for run in find_runs():
        assert saved(run) == 400
        assert attempts(run) == before[run.name][1] + 1
    assert {row["state"] for row in table(root)} == {"done"}


def test_a_wrong_setting_of_any_cell_leaves_no_run(root: Path):
    assert sweep("pretrain.batch_size=4,0") == 64
    assert sweep("seed=1") == 64
    assert not list(root.glob("*/*"))


def test_the_best_is_a_mean_that_names_its_seeds():
    found = [
        measured(rate, seed=seed, value=value)
        for rate, seed, value in [
            ("0.1", 1, 3.0), ("0.1", 2, 5.0), ("0.2", 1, 3.5), ("0.2", 2, 3.5), ("0.3", 1, 9.0),
        ]
    ]  # fmt: skip
    (best,) = best_settings(found)
    assert (best["settings"], best["mean"]) == ({"rate": "0.2"}, 3.5)
    assert (best["num_seeds"], best["seeds"], best["compared"]) == (2, [1, 2], 3)
    assert best["values"] == {"rate-0.2-seed-1": 3.5, "rate-0.2-seed-2": 3.5}


def test_other_protocols_and_other_data_are_not_compared():
    other = {"protocol": {"window": 64}}
    found = [
        measured("0.1", seed=1, value=3.0),
        measured("0.2", seed=1, value=2.0, **other),
        measured("0.3", seed=1, value=1.0, data={"test": "ef" * 32}),
    ]
    assert [one["compared"] for one in best_settings(found)] == [1, 1, 1]


def test_where_settings_make_no_difference_there_is_no_best():
    assert best_settings([measured(rate, seed=1, value=2.0) for rate in ("0.1", "0.2")]) == []


def measured(rate: str, *, seed: int, value: float, **changes: Any) -> tuple[Cell, list[Any]]:
    """A cell with one record."""
    swept = {"rate": rate, "seed": str(seed)}
    cell = Cell(f"rate-{rate}-seed-{seed}", swept, load_preset(tiny.PRESET))
    return cell, [make_record(seed=seed, value=value, interval=None, **changes)]


def sweep(*arguments: str) -> int:
    """The exit code of `lmlab sweep` of the tiny preset, in this process."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sys, "argv", ["lmlab", "sweep", tiny.PRESET, *settings(*arguments)])
        with pytest.raises(SystemExit) as leaving:
            cli.main()
    return int(leaving.value.code or 0)


def begin(*arguments: str) -> subprocess.Popen[str]:
    """The same in a process group of its own, as a shell starts it."""
    return subprocess.Popen(
        tiny.command("sweep", tiny.PRESET, *settings(*arguments)),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )


def settings(*given: str) -> list[str]:
    """The tiny preset's overrides, but for those given."""
    keys = {one.split("=")[0] for one in given}
    return [*(one for one in tiny.OVERRIDES if one.split("=")[0] not in keys), *given]


def table(root: Path) -> list[dict[str, str]]:
    """The only `sweep_results.csv`."""
    (path,) = root.glob("sweeps/*/sweep_results.csv")
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def summaries(root: Path) -> list[dict[str, Any]]:
    """Every `sweep_summary.json`."""
    return [json.loads(path.read_text()) for path in root.glob("sweeps/*/sweep_summary.json")]


def saved(run: Run) -> int:
    """The newest step saved."""
    found = checkpoints(run.folder / "pretrain" / "checkpoints")
    return found[0][0] if found else 0


def attempts(run: Run) -> int:
    """How often the run was started."""
    return len(run.manifest()["attempts"])


def wait_for(process: subprocess.Popen[str], condition: Any) -> None:
    """Until it holds; a process that ends before is a failure."""
    deadline = time.monotonic() + PATIENCE_SECONDS
    while not condition():
        if process.poll() is not None or time.monotonic() > deadline:
            process.send_signal(signal.SIGTERM)
            pytest.fail(f"it ended before its time: {process.communicate()[0]}")
        time.sleep(0.01)
