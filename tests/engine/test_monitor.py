"""system.csv: its columns, empty cells, cost by a fake clock, and figures of a fake GPU."""

import csv
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from lmlab.engine import monitor
from lmlab.engine.monitor import COLUMNS, Monitor

SAMPLE = """
import json, sys
from dataclasses import asdict
from pathlib import Path
from lmlab.engine.monitor import Monitor, read_gpus
Monitor(Path(sys.argv[1]), 10.0, 1, None, 0.0, None, None).sample({"step": 3})
print(json.dumps([asdict(gpu) for gpu in read_gpus()]))
"""


class Clock:
    """Tells the time that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 5_000.0
        self.wall = 1_000_000.0
        fake = SimpleNamespace(time=lambda: self.wall + self.now, monotonic=lambda: self.now)
        monkeypatch.setattr(monitor, "time", fake)

    def start(
        self,
        path: Path,
        *,
        attempt: int = 1,
        earlier: float = 0.0,
        rate: float | None = None,
        earlier_cost: float | None = None,
        budget: float | None = None,
    ) -> Monitor:
        return Monitor(path, 10.0, attempt, rate, earlier, earlier_cost, budget)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still."""
    return Clock(monkeypatch)


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a driver."""
    monkeypatch.setattr(monitor, "read_gpus", list)


@pytest.mark.usefixtures("without_gpu")
def test_what_is_not_available_is_an_empty_cell_and_nought_is_nought(tmp_path: Path, clock: Clock):
    path = tmp_path / "system.csv"
    clock.start(path, attempt=2, earlier=0.0, rate=None).sample(
        {"step": 0, "tokens_per_sec": 0.0, "data_wait_seconds": 0.0}
    )
    (row,) = _rows(path)
    assert tuple(row) == COLUMNS
    empty = {name for name, cell in row.items() if cell == ""}
    assert empty == {
        *("length", "samples_per_sec", "step_seconds", "cost_usd"),
        *("vram_mb", "gpu_util", "gpu_temp_c", "gpu_power_w"),
    }
    assert (row["step"], row["tokens_per_sec"], row["attempt"]) == ("0", "0.0", "2")
    assert float(row["rss_mb"]) > 10
    assert row["memory_kind"] == "host"


@pytest.mark.usefixtures("without_gpu")
def test_rows_come_when_due_and_a_later_attempt_goes_on(tmp_path: Path, clock: Clock):
    path = tmp_path / "system.csv"
    for attempt in (1, 2):
        watching = clock.start(path, attempt=attempt, earlier=0.0, rate=None)
        for step in range(5):
            watching.sample({"step": step})
            clock.now += 4
    assert [(row["attempt"], row["step"]) for row in _rows(path)] == [
        *(("1", "0"), ("1", "3")),
        *(("2", "0"), ("2", "3")),
    ]


@pytest.mark.usefixtures("without_gpu")
def test_cost_is_the_sum_over_all_attempts_idle_included(tmp_path: Path, clock: Clock):
    path, seconds, rate = tmp_path / "system.csv", 0.0, 0.37
    for attempt, worked in enumerate((1800.0, 5400.0, 0.5), start=1):
        watching = clock.start(path, attempt=attempt, earlier=seconds, rate=rate)
        clock.now += worked
        watching.sample({"step": attempt})
        seconds = watching.seconds
        clock.now += 86_400  # the machine was gone; nobody billed it
    assert seconds == pytest.approx(7200.5, abs=1e-9)
    assert watching.hourly_rate_usd == rate
    clock.now -= 86_400
    assert watching.cost_usd == pytest.approx(0.37 * 7200.5 / 3600, abs=1e-9)
    assert [row["cost_usd"] for row in _rows(path)] == ["0.185", "0.74", "0.740051"]


@pytest.mark.usefixtures("without_gpu")
def test_each_attempt_costs_what_its_own_machine_costs(tmp_path: Path, clock: Clock):
    path, spent, seconds = tmp_path / "system.csv", 0.0, 0.0
    for attempt, rate in enumerate((0.37, 2.5, 0.11), start=1):
        watching = clock.start(
            path, attempt=attempt, earlier=seconds, rate=rate, earlier_cost=spent, budget=4.0
        )
        clock.now += 1800 * attempt
        assert watching.cost_usd is not None
        spent, seconds = watching.cost_usd, watching.seconds
        assert watching.budget == "within"
    assert seconds == 1800 * 6
    assert spent == pytest.approx(0.37 * 0.5 + 2.5 + 0.11 * 1.5, abs=1e-9)


@pytest.mark.usefixtures("without_gpu")
def test_a_budget_is_warned_of_and_spent_over_all_attempts(tmp_path: Path, clock: Clock):
    """Check T10: an hour costs a dollar, 80 % of the budget were spent by earlier attempts."""
    watching = clock.start(
        tmp_path / "a.csv", attempt=3, earlier=7.9 * 3600, rate=1.0, earlier_cost=7.9, budget=10.0
    )
    states = []
    for _ in range(4):
        states.append(watching.budget)
        clock.now += 0.75 * 3600
    assert states == ["within", "warned", "warned", "spent"]
    assert clock.start(tmp_path / "a.csv", rate=1.0).budget == "unlimited"


@pytest.mark.usefixtures("without_gpu")
def test_a_clock_that_is_set_right_is_neither_cost_nor_silence(tmp_path: Path, clock: Clock):
    path = tmp_path / "a.csv"
    watching = clock.start(path, rate=1.0, earlier_cost=0.0)
    for jump in (0, -86_400, 86_400):
        clock.wall += jump
        clock.now += 1200
        watching.sample({"step": 1})
    assert watching.cost_usd == 1.0
    assert len(_rows(path)) == 3


@pytest.mark.usefixtures("without_gpu")
def test_a_machine_that_costs_nothing_costs_nought(tmp_path: Path, clock: Clock):
    clock.start(tmp_path / "a.csv", attempt=1, earlier=0.0, rate=0.0).sample({})
    assert _rows(tmp_path / "a.csv")[0]["cost_usd"] == "0.0"


@pytest.mark.usefixtures("without_gpu")
def test_an_unknown_column_is_an_error(tmp_path: Path, clock: Clock):
    with pytest.raises(ValueError, match="tokens_per_second"):
        clock.start(tmp_path / "a.csv", attempt=1, earlier=0.0, rate=None).sample(
            {"tokens_per_second": 1.0}
        )


@pytest.fixture
def fake_driver(tmp_path: Path) -> Path:
    """A folder with a driver of its own making, for LD_LIBRARY_PATH."""
    if not shutil.which("gcc"):
        pytest.skip("a fake GPU driver needs gcc")
    folder = tmp_path / "driver"
    folder.mkdir()
    source, library = Path(__file__).parents[1] / "fake_nvml.c", folder / "libnvidia-ml.so.1"
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return folder


COLUMNS_OF_GPUS = ("vram_mb", "gpu_util", "gpu_temp_c", "gpu_power_w", "memory_kind")


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("1234.0", "0.0", "61.0", "350.2", "device")),
        ({"FAKE_SILENT": "0"}, ("1234.0", "0.0", "", "", "device")),
        ({"FAKE_GPUS": "0"}, ("", "", "", "", "host")),
        # The fullest, the mean, the hottest, the sum.
        ({"FAKE_GPUS": "2"}, ("2234.0", "25.0", "62.0", "700.5", "device")),
        # A sum of one of two would be a wrong figure, not a missing one.
        ({"FAKE_GPUS": "2", "FAKE_SILENT": "1"}, ("2234.0", "25.0", "", "", "device")),
        ({"FAKE_GPUS": "2", "CUDA_VISIBLE_DEVICES": ""}, ("", "", "", "", "host")),
    ],
)
def test_a_row_is_of_all_gpus_of_the_process(
    fake_driver: Path, tmp_path: Path, settings: dict[str, str], expected: tuple[str, ...]
):
    row, _ = _sample_elsewhere(tmp_path, {"LD_LIBRARY_PATH": str(fake_driver), **settings})
    assert tuple(row[name] for name in COLUMNS_OF_GPUS) == expected


def test_every_gpu_says_what_its_driver_says(fake_driver: Path, tmp_path: Path):
    settings = {"LD_LIBRARY_PATH": str(fake_driver), "FAKE_GPUS": "2", "FAKE_SILENT": "1"}
    _, (first, second) = _sample_elsewhere(tmp_path, settings)
    assert first == {
        "name": "NVIDIA A100-SXM4-80GB",
        "capability": "8.0",
        "total_mb": 80_000.0,
        "used_mb": 1234.0,
        # What the driver calls free; not total less used, which would be 78,766.
        "free_mb": 60_000.0,
        "utilization": 0.0,
        "temperature_c": 61.0,
        "power_w": 350.25,
    }
    assert (second["capability"], second["temperature_c"], second["power_w"]) == ("8.1", None, None)


@pytest.mark.parametrize(
    ("visible", "capabilities"),
    [
        ("1", ["8.1"]),
        ("2,0", ["8.2", "8.0"]),
        ("GPU-fake-2, 1", ["8.2", "8.1"]),
        ("0,-1,1", ["8.0"]),
        ("7", []),
    ],
)
def test_gpus_are_those_that_cuda_is_allowed_to_see(
    fake_driver: Path, tmp_path: Path, visible: str, capabilities: list[str]
):
    settings = {"FAKE_GPUS": "3", "CUDA_VISIBLE_DEVICES": visible}
    _, gpus = _sample_elsewhere(tmp_path, {"LD_LIBRARY_PATH": str(fake_driver), **settings})
    assert [gpu["capability"] for gpu in gpus] == capabilities


def _sample_elsewhere(
    folder: Path, settings: dict[str, str]
) -> tuple[dict[str, str], list[dict[str, Any]]]:
    """The row of system.csv, and the GPUs, of a process of its own."""
    path = folder / "system.csv"
    environment = {**os.environ, **settings}
    if "CUDA_VISIBLE_DEVICES" not in settings:
        environment.pop("CUDA_VISIBLE_DEVICES", None)
    command = [sys.executable, "-c", SAMPLE, str(path)]
    done = subprocess.run(command, env=environment, check=True, capture_output=True, text=True)
    (row,) = _rows(path)
    assert abs(float(row["time"]) - time.time()) < 60
    return row, json.loads(done.stdout)


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
