"""system.csv: its columns, empty cells, cost by a fake clock, and figures of a fake GPU."""

import csv
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest

from lmlab.engine import monitor
from lmlab.engine.monitor import COLUMNS, Monitor

FAKE_NVML = r"""
#include <stdlib.h>
static int gpu;
static long get(const char *name, long otherwise) {
    const char *value = getenv(name);
    return value ? atol(value) : otherwise;
}
int nvmlInit_v2(void) { return 0; }
int nvmlInitWithFlags(unsigned flags) { return 0; }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **handle) {
    *handle = &gpu;
    return index < get("FAKE_GPUS", 1) ? 0 : 2;
}
int nvmlDeviceGetMemoryInfo(void *handle, unsigned long long *memory) {
    memory[0] = 80000000000ULL;
    memory[2] = 1234000000ULL;
    memory[1] = memory[0] - memory[2];
    return 0;
}
int nvmlDeviceGetUtilizationRates(void *handle, unsigned *rates) {
    rates[0] = 0;
    rates[1] = 40;
    return 0;
}
int nvmlDeviceGetTemperature(void *handle, int sensor, unsigned *celsius) {
    *celsius = 61;
    return 0;
}
int nvmlDeviceGetPowerUsage(void *handle, unsigned *milliwatts) {
    *milliwatts = 350250;
    return get("FAKE_POWER", 1) ? 0 : 3;
}
"""
SAMPLE = """
import sys
from pathlib import Path
from lmlab.engine.monitor import Monitor
Monitor(Path(sys.argv[1]), 10.0, 1, None, 0.0).sample({"step": 3})
"""


class Clock:
    """Tells the time that a test sets."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000_000.0
        monkeypatch.setattr(monitor, "time", SimpleNamespace(time=lambda: self.now))

    def start(self, path: Path, *, attempt: int, earlier: float, rate: float | None) -> Monitor:
        return Monitor(path, 10.0, attempt, rate, earlier, _started=self.now)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    """A clock that stands still."""
    return Clock(monkeypatch)


@pytest.fixture
def without_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """As on a machine without a driver."""
    monkeypatch.setattr(monitor, "gpu_figures", dict)


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
    """A folder with an NVML of one GPU."""
    if not shutil.which("gcc"):
        pytest.skip("a fake GPU driver needs gcc")
    source, library = tmp_path / "nvml.c", tmp_path / "driver" / "libnvidia-ml.so.1"
    library.parent.mkdir()
    source.write_text(FAKE_NVML)
    subprocess.run(["gcc", "-shared", "-fPIC", "-o", str(library), str(source)], check=True)
    return library.parent


@pytest.mark.parametrize(
    ("settings", "expected"),
    [
        ({}, ("1234.0", "0.0", "61.0", "350.2", "device")),
        ({"FAKE_POWER": "0"}, ("1234.0", "0.0", "61.0", "", "device")),
        ({"FAKE_GPUS": "0"}, ("", "", "", "", "host")),
    ],
)
def test_figures_of_a_gpu_appear_where_there_are_any(
    fake_driver: Path, tmp_path: Path, settings: dict[str, str], expected: tuple[str, ...]
):
    row = _sample_elsewhere(tmp_path, {"LD_LIBRARY_PATH": str(fake_driver), **settings})
    columns = ("vram_mb", "gpu_util", "gpu_temp_c", "gpu_power_w", "memory_kind")
    assert tuple(row[name] for name in columns) == expected


def _sample_elsewhere(folder: Path, environment: dict[str, str]) -> dict[str, str]:
    path = folder / "system.csv"
    command = [sys.executable, "-c", SAMPLE, str(path)]
    subprocess.run(command, env={**os.environ, **environment}, check=True)
    (row,) = _rows(path)
    assert abs(float(row["time"]) - time.time()) < 60
    return row


def _rows(path: Path) -> list[dict[str, str]]:
    with path.open(newline="") as file:
        return list(csv.DictReader(file))
