"""What the machine does meanwhile, and what it costs: system.csv.

An empty cell means "not available", never 0. Where a process has several GPUs, `vram_mb` is of the
fullest, `gpu_temp_c` of the hottest, `gpu_util` their mean and `gpu_power_w` their sum.
"""

import csv
import os
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import psutil
import pynvml

from lmlab.engine.cost import BudgetState, budget_state

COLUMNS: tuple[str, ...] = (
    "time", "attempt", "step", "length", "tokens_per_sec", "samples_per_sec", "step_seconds",
    "data_wait_seconds", "cpu_percent", "rss_mb", "memory_kind", "vram_mb", "gpu_util",
    "gpu_temp_c", "gpu_power_w", "cost_usd",
)  # fmt: skip


T = TypeVar("T")


@dataclass(frozen=True)
class Gpu:
    """A GPU as its driver sees it; None for a figure that it does not report."""

    name: str | None
    capability: str | None
    total_mb: float | None
    used_mb: float | None
    # The driver's own figure: what other processes hold is not free.
    free_mb: float | None
    utilization: float | None
    temperature_c: float | None
    power_w: float | None


@dataclass
class Monitor:
    """Writes a row at most every `every_seconds`, and adds up what all attempts cost."""

    path: Path
    every_seconds: float
    attempt: int
    hourly_rate_usd: float | None
    earlier_seconds: float
    # What earlier attempts cost at their own rates; None where one of them had none: then all of
    # their time is billed at the present one.
    earlier_cost_usd: float | None
    budget_usd: float | None
    _started: float = field(init=False)
    _last: float | None = field(init=False, default=None)
    _process: psutil.Process = field(default_factory=psutil.Process)

    def __post_init__(self) -> None:
        # Monotonic: a clock that is set right meanwhile is no cost.
        self._started = time.monotonic()
        self._process.cpu_percent()  # the first call has nothing to compare with and says 0
        if not self.path.exists():
            with self.path.open("w", newline="", encoding="utf-8") as file:
                csv.writer(file).writerow(COLUMNS)

    @property
    def seconds(self) -> float:
        """Wall time over all attempts, idle included: what a rented machine bills."""
        return self.earlier_seconds + time.monotonic() - self._started

    @property
    def cost_usd(self) -> float | None:
        """None where nobody said what an hour costs."""
        if self.hourly_rate_usd is None:
            return None
        if self.earlier_cost_usd is None:
            return self.hourly_rate_usd * self.seconds / 3600
        now = self.hourly_rate_usd * (time.monotonic() - self._started) / 3600
        return self.earlier_cost_usd + now

    @property
    def budget(self) -> BudgetState:
        """How much of the budget is gone, over all attempts."""
        return budget_state(self.cost_usd, self.budget_usd)

    def sample(self, values: Mapping[str, float | int]) -> bool:
        """Write a row with these numbers of the loop if one is due; whether it was."""
        now = time.monotonic()
        if self._last is not None and now - self._last < self.every_seconds:
            return False
        self._last = now
        row: dict[str, Any] = {
            "time": round(time.time(), 3),
            "attempt": self.attempt,
            "cpu_percent": self._process.cpu_percent(),
            "rss_mb": round(self._process.memory_info().rss / 1e6, 1),
            "memory_kind": "host",
            "cost_usd": None if self.cost_usd is None else round(self.cost_usd, 6),
            **values,
            **gpu_figures(read_gpus()),
        }
        with self.path.open("a", newline="", encoding="utf-8") as file:
            csv.DictWriter(file, COLUMNS, restval="").writerow(row)
        return True


def read_gpus() -> list[Gpu]:
    """Every GPU that this process may use, by its driver; none without a driver."""
    try:
        # Never shut down again: the next start would cost a second on some drivers.
        pynvml.nvmlInit()
        return [_read(handle) for handle in _visible_handles()]
    except pynvml.NVMLError:
        return []  # no driver, or one without a GPU


def gpu_figures(gpus: Sequence[Gpu]) -> dict[str, float | str]:
    """The cells of a row; what one of the GPUs does not report is left out."""
    cells = {
        "vram_mb": _over(max, [gpu.used_mb for gpu in gpus]),
        "gpu_util": _over(statistics.fmean, [gpu.utilization for gpu in gpus]),
        "gpu_temp_c": _over(max, [gpu.temperature_c for gpu in gpus]),
        "gpu_power_w": _over(sum, [gpu.power_w for gpu in gpus]),
    }
    found: dict[str, float | str] = {
        name: round(cell, 1) for name, cell in cells.items() if cell is not None
    }
    return found | {"memory_kind": "device"} if "vram_mb" in found else found


def _over(combine: Callable[[list[float]], float], values: Sequence[float | None]) -> float | None:
    known = [value for value in values if value is not None]
    return combine(known) if known and len(known) == len(values) else None


def _visible_handles() -> list[Any]:
    """As CUDA_VISIBLE_DEVICES names them, up to the first that is none, as CUDA reads it.

    The driver numbers by bus, CUDA only where CUDA_DEVICE_ORDER=PCI_BUS_ID or all GPUs are alike.
    """
    named = os.environ.get("CUDA_VISIBLE_DEVICES")
    if named is None:
        return [_handle(str(index)) for index in range(pynvml.nvmlDeviceGetCount())]
    handles = []
    for one in named.split(","):
        try:
            handles.append(_handle(one.strip()))
        except pynvml.NVMLError:
            break
    return handles


def _handle(named: str) -> Any:
    if named.isdecimal():
        return pynvml.nvmlDeviceGetHandleByIndex(int(named))
    return pynvml.nvmlDeviceGetHandleByUUID(named)


def _read(handle: Any) -> Gpu:
    memory = _reported(lambda: pynvml.nvmlDeviceGetMemoryInfo(handle))
    capability = _reported(lambda: pynvml.nvmlDeviceGetCudaComputeCapability(handle))
    sensor = pynvml.NVML_TEMPERATURE_GPU
    return Gpu(
        name=_reported(lambda: str(pynvml.nvmlDeviceGetName(handle))),
        capability=None if capability is None else "{}.{}".format(*capability),
        total_mb=None if memory is None else int(memory.total) / 1e6,
        used_mb=None if memory is None else int(memory.used) / 1e6,
        free_mb=None if memory is None else int(memory.free) / 1e6,
        utilization=_reported(lambda: float(pynvml.nvmlDeviceGetUtilizationRates(handle).gpu)),
        temperature_c=_reported(lambda: float(pynvml.nvmlDeviceGetTemperature(handle, sensor))),
        power_w=_reported(lambda: pynvml.nvmlDeviceGetPowerUsage(handle) / 1000),
    )


def _reported(read: Callable[[], T]) -> T | None:
    try:
        return read()
    except pynvml.NVMLError:
        return None  # this GPU does not report it
