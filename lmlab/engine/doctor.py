"""What this machine has, what a training here would do with it, and records of what was tried."""

import importlib
import importlib.metadata
import os
import shlex
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any, Literal

import psutil
import torch

from lmlab.engine.batch_size import (
    SHARE_OF_FREE,
    Found,
    find_batch_size,
    free_bytes,
    measured_apart,
)
from lmlab.engine.config import Resolved, load_preset
from lmlab.engine.device import (
    choose_device,
    choose_precision,
    find_compiler,
    machine,
    measured_gemm,
)
from lmlab.engine.monitor import Gpu, read_gpus
from lmlab.engine.provenance import code_state, command_line
from lmlab.engine.records import Record, write_records
from lmlab.engine.run import cache_folder, runs_root
from lmlab.engine.schema import StudyConfig
from lmlab.engine.throughput import dense_peak

# Rows beyond which nobody waits for a probe on a CPU.
LARGEST_BATCH = 128


@dataclass(frozen=True)
class Measured:
    """A number, what it counts, and from how many it comes."""

    metric: str
    unit: str
    better: Literal["higher", "lower"]
    value: float
    n: int = 1
    at: Mapping[str, str | int | float] = field(default_factory=dict)


def examine() -> dict[str, str]:
    """name -> finding, in the order in which a person would ask."""
    facts = machine()
    speed = measured_gemm("cpu")
    disk = shutil.disk_usage(runs_root() if runs_root().exists() else runs_root().parent)
    memory = psutil.virtual_memory()
    gpus = read_gpus()
    return {
        "processor": f"{facts['processor']}, {facts['cpu_count']} cores, {facts['cpu_capability']}",
        "memory": f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free",
        "gpu": ", ".join(facts["gpus"]) or "none that torch sees",
        **{f"gpu {index} by driver": describe(gpu) for index, gpu in enumerate(gpus)},
        "torch": f"{torch.__version__}, {torch.get_num_threads()} threads",
        "transformers": importlib.metadata.version("transformers"),
        "float32 products": f"{speed['float32'] / 1e9:.0f} GFLOP/s measured",
        "bfloat16 products": f"{speed['bfloat16'] / 1e9:.0f} GFLOP/s measured",
        "precision=auto means": choose_precision("auto", choose_device("auto")),
        "compiler": find_compiler() or "none: device.compile needs g++, or CXX set",
        "runs": f"{runs_root()} ({disk.free / 1e9:.0f} GB free)",
        "cache": str(cache_folder()),
        "data": os.environ.get("LMLAB_DATA", "LMLAB_DATA is not set: built-in data only"),
    }


def describe(gpu: Gpu) -> str:
    """One line; what the driver does not report is left out, an unlisted peak is unknown."""
    peak = dense_peak(gpu.name or "")
    said = {
        "compute capability {}": gpu.capability,
        "{:,.0f} MB": gpu.total_mb,
        "{:,.0f} MB free": gpu.free_mb,
        "{:.0f} % busy": gpu.utilization,
        "{:.0f} °C": gpu.temperature_c,
        "{:.0f} W": gpu.power_w,
    }
    known = [form.format(value) for form, value in said.items() if value is not None]
    known.append(f"bfloat16 peak {'unknown' if peak is None else f'{peak / 1e12:.0f} TFLOP/s'}")
    return ", ".join([gpu.name or "unnamed", *known])


def new_folder() -> Path:
    """`$LMLAB_RUNS/doctor/<UTC seconds>/`, for what is tried now."""
    folder = runs_root() / "doctor" / datetime.now(UTC).strftime("%Y%m%dT%H%M%SZ")
    folder.mkdir(parents=True)
    return folder


def report_batch_size(preset: str, overrides: Sequence[str]) -> list[str]:
    """What each try held, and the largest micro-batch; the tries become records."""
    resolved = load_preset(preset, overrides)
    found, folder = measure_batch_size(resolved.config), new_folder()
    write_records(folder / "results.jsonl", batch_size_records(resolved, found))
    held = {
        one.batch_size: "too much" if one.peak_bytes is None else f"{one.peak_bytes / 1e6:,.0f} MB"
        for one in sorted(found.probes, key=lambda one: one.batch_size)
    }
    rows = f"{found.batch_size}{' or more' if found.batch_size == LARGEST_BATCH else ''}"
    rough = _sizing(resolved.config).rough_rows(resolved.config, found.free_bytes)
    return [
        *(f"{batch_size:>4} rows {said:>12}" for batch_size, said in held.items()),
        f"{rough:>4} rows by the rough formula, which knows neither layers nor vocabulary",
        f"limit     {found.limit_bytes / 1e6:>12,.0f} MB, {SHARE_OF_FREE:.0%} of what is free",
        f"largest micro-batch measured: {rows}; records: {folder / 'results.jsonl'}",
    ]


def measure_batch_size(config: StudyConfig) -> Found:
    """The largest micro-batch of the study's own training step on this machine."""
    return find_batch_size(
        measured_apart(partial(_sizing(config).training_step, config)),
        free_bytes=free_bytes(choose_device(config.device.kind)),
        largest=LARGEST_BATCH,
    )


def _sizing(config: StudyConfig) -> Any:
    return importlib.import_module(f"lmlab.studies.{config.study}.sizing")


def batch_size_records(resolved: Resolved, found: Found) -> list[Record]:
    """The bytes held at most with so many rows."""
    tried = {one.batch_size: one.peak_bytes for one in found.probes if one.peak_bytes is not None}
    return [
        machine_record(
            resolved, Measured("peak_memory_mb", "MB", "lower", peak / 1e6, at={"rows": rows})
        )
        for rows, peak in tried.items()
    ]


def machine_record(
    resolved: Resolved,
    measured: Measured,
    *,
    data: Mapping[str, str] | None = None,
    weights: Mapping[str, str] | None = None,
) -> Record:
    """What was measured of this machine, with what the machine is."""
    config = resolved.config
    device = choose_device(config.device.kind)
    precision = choose_precision(config.device.precision, device)
    return Record(
        study=config.study,
        run="doctor",
        part="pretrain",
        step="doctor",
        training_step=None,
        arm=resolved.preset,
        at={"device": device, **measured.at},
        metric=measured.metric,
        unit=measured.unit,
        better=measured.better,
        value=measured.value,
        n=measured.n,
        n_error=0,
        interval=None,
        interval_method=None,
        protocol={**machine(), "precision": precision, "torch": torch.__version__},
        data=data or {},
        data_kind="generated",
        weights=weights or {},
        weightless=weights is None,
        seed=config.seed,
        dev=config.dev,
        command=shlex.join(command_line()),
        commit=code_state()["commit"],
    )
