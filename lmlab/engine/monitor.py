"""What the machine does meanwhile, and what it costs: system.csv.

An empty cell means "not available", never 0.
"""

import csv
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import psutil
import pynvml

COLUMNS: tuple[str, ...] = (
    "time", "attempt", "step", "length", "tokens_per_sec", "samples_per_sec", "step_seconds",
    "data_wait_seconds", "cpu_percent", "rss_mb", "memory_kind", "vram_mb", "gpu_util",
    "gpu_temp_c", "gpu_power_w", "cost_usd",
)  # fmt: skip


@dataclass
class Monitor:
    """Writes a row at most every `every_seconds`."""

    path: Path
    every_seconds: float
    attempt: int
    hourly_rate_usd: float | None
    earlier_seconds: float
    _started: float = field(default_factory=time.time)
    _last: float = 0.0
    _process: psutil.Process = field(default_factory=psutil.Process)

    def __post_init__(self) -> None:
        self._process.cpu_percent()  # the first call has nothing to compare with and says 0
        if not self.path.exists():
            with self.path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(COLUMNS)

    @property
    def seconds(self) -> float:
        """Wall time over all attempts, idle included: what a rented machine bills."""
        return self.earlier_seconds + time.time() - self._started

    @property
    def cost_usd(self) -> float | None:
        """None where nobody said what an hour costs."""
        if self.hourly_rate_usd is None:
            return None
        return self.hourly_rate_usd * self.seconds / 3600

    def sample(self, values: Mapping[str, float | int]) -> None:
        """A row with these numbers of the loop, if one is due."""
        now = time.time()
        if now - self._last < self.every_seconds:
            return
        self._last = now
        row: dict[str, Any] = {
            "time": round(now, 3),
            "attempt": self.attempt,
            "cpu_percent": self._process.cpu_percent(),
            "rss_mb": round(self._process.memory_info().rss / 1e6, 1),
            "memory_kind": "host",
            "cost_usd": None if self.cost_usd is None else round(self.cost_usd, 6),
            **values,
            **gpu_figures(),
        }
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, restval="").writerow(row)


def gpu_figures() -> dict[str, float | str]:
    """The first GPU's driver figures; empty without a driver, a figure it lacks is left out."""
    try:
        pynvml.nvmlInit()
        handle = pynvml.nvmlDeviceGetHandleByIndex(0)
    except pynvml.NVMLError:
        return {}  # no driver, or a driver without a GPU
    readings = {
        "vram_mb": lambda: float(pynvml.nvmlDeviceGetMemoryInfo(handle).used) / 1e6,
        "gpu_util": lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu),
        "gpu_temp_c": lambda: float(
            pynvml.nvmlDeviceGetTemperature(handle, pynvml.NVML_TEMPERATURE_GPU)
        ),
        "gpu_power_w": lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000,
    }
    found: dict[str, float | str] = {}
    for name, read in readings.items():
        try:
            found[name] = round(read(), 1)
        except pynvml.NVMLError:
            continue  # this GPU does not report it
    return {**found, "memory_kind": "device"} if found else found
