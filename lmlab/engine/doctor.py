"""What this machine has, and what a training here would do with it."""

import importlib.metadata
import os
import shutil

import psutil
import torch

from lmlab.engine.device import (
    choose_device,
    choose_precision,
    find_compiler,
    machine,
    measured_gemm,
)
from lmlab.engine.monitor import gpu_figures
from lmlab.engine.run import cache_folder, runs_root


def examine() -> dict[str, str]:
    """name -> finding, in the order in which a person would ask."""
    facts = machine()
    speed = measured_gemm("cpu")
    disk = shutil.disk_usage(runs_root() if runs_root().exists() else runs_root().parent)
    memory = psutil.virtual_memory()
    return {
        "processor": f"{facts['processor']}, {facts['cpu_count']} cores, {facts['cpu_capability']}",
        "memory": f"{memory.available / 1e9:.1f} of {memory.total / 1e9:.1f} GB free",
        "gpu": ", ".join(facts["gpus"]) or "none that torch sees",
        "gpu driver": ", ".join(f"{key} {value}" for key, value in gpu_figures().items()) or "none",
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
