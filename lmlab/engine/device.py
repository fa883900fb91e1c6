"""Device, precision, threads, seeds and determinism: decided once a training, and kept."""

import contextlib
import ctypes
import json
import os
import platform
import random
import shutil
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor

from lmlab.engine.distributed import Shard, World, from_main
from lmlab.engine.provenance import processor_name
from lmlab.engine.run import Part, cache_folder, read_json, write_json
from lmlab.engine.schema import DeviceConfig, TrainConfig
from lmlab.engine.throughput import dense_peak

# Below this a bf16 product costs more in casts than it saves.
BF16_GAIN = 1.5
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3


@dataclass(frozen=True)
class Decided:
    """What bit-exactness depends on, decided at a training's first start."""

    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16", "float16"]
    compile: bool
    threads: int
    tf32: bool
    deterministic: bool
    micro_batch_size: int
    processes: int
    shard: Shard


def decide(
    config: DeviceConfig, train: TrainConfig, *, shard: Shard, world: World, part: Part
) -> Decided:
    """What was decided for the training, or now, while it has no checkpoint to be true to.

    The same on every process. Raises ValueError where it was begun with another number of them.
    """

    def read_or_make() -> dict[str, Any]:
        if not (part.has_checkpoint() and part.decided_path.exists()):
            new = _decide(config, train, shard=shard, world=world)
            write_json(part.decided_path, asdict(new))
        return read_json(part.decided_path)

    decided = Decided(**from_main(read_or_make, world=world))
    if decided.processes != world.size:
        raise ValueError(
            f"{part.folder} was begun by {decided.processes} processes and cannot go on with "
            f"{world.size}; set launch.processes and launch.nodes back, or start another run "
            "with --new"
        )
    return decided


def _decide(config: DeviceConfig, train: TrainConfig, *, shard: Shard, world: World) -> Decided:
    device = choose_device(config.kind)
    return Decided(
        device=device,
        precision=choose_precision(config.precision, device),
        compile=find_compiler() is not None if config.compile == "auto" else config.compile,
        threads=config.threads or torch.get_num_threads(),
        tf32=config.tf32,
        deterministic=config.deterministic,
        micro_batch_size=train.micro_batch_size or max(1, train.batch_size // world.size),
        processes=world.size,
        shard=shard,
    )


def choose_device(kind: str) -> Literal["cpu", "cuda"]:
    """`auto` is a GPU where torch sees one. Raises ValueError where one is wanted and absent."""
    available = torch.cuda.is_available()
    if kind == "cuda" and not available:
        raise ValueError("device.kind=cuda, but torch sees no GPU here; use device.kind=auto")
    return "cuda" if available and kind != "cpu" else "cpu"


def prepare_scoring(config: DeviceConfig) -> Literal["cpu", "cuda"]:
    """Where a step computes what it does not train, with products in true float32.

    A training of the same process may have allowed TF32, which keeps three digits.
    """
    torch.backends.cuda.matmul.allow_tf32 = False
    torch.backends.cudnn.allow_tf32 = False
    return choose_device(config.kind)


def choose_precision(wanted: str, device: str) -> Literal["float32", "bfloat16", "float16"]:
    """`auto` is bfloat16 wherever it is faster, else float32; float16 never on a CPU."""
    match wanted:
        case "float32" | "bfloat16":
            return wanted
        case "float16" if device == "cpu":
            raise ValueError("float16 is far slower than float32 on a CPU; use bfloat16 or float32")
        case "float16":
            return "float16"
    if device == "cuda":
        return "bfloat16" if torch.cuda.is_bf16_supported() else "float16"
    # Measured rather than read off a list of processors: AMX and Zen 4 gain, others lose.
    speed = measured_gemm("cpu")
    return "bfloat16" if speed["bfloat16"] > BF16_GAIN * speed["float32"] else "float32"


def find_compiler() -> str | None:
    """The C++ compiler that torch.compile would call on a CPU."""
    return shutil.which(os.environ.get("CXX", "g++"))


def apply(decided: Decided) -> None:
    """Set the process up as decided."""
    torch.set_num_threads(decided.threads)
    torch.backends.cuda.matmul.allow_tf32 = decided.tf32
    torch.backends.cudnn.allow_tf32 = decided.tf32
    if decided.deterministic:
        os.environ.setdefault("CUBLAS_WORKSPACE_CONFIG", ":4096:8")
        torch.use_deterministic_algorithms(True, warn_only=decided.device == "cuda")
    keep_freed_memory()


def is_out_of_memory(error: Exception) -> bool:
    """Whether an allocation failed; on a CPU torch says so in words only."""
    known = isinstance(error, (torch.OutOfMemoryError, MemoryError))
    return known or "DefaultCPUAllocator: can't allocate memory" in str(error)


def autocast(decided: Decided) -> contextlib.AbstractContextManager[Any]:
    """Products in the decided precision over float32 master weights."""
    if decided.precision == "float32":
        return contextlib.nullcontext()
    return torch.autocast(decided.device, dtype=getattr(torch, decided.precision))


def seed_everything(seed: int) -> None:
    """Every global generator; draws of ours come from generators of their own all the same."""
    random.seed(seed)
    np.random.seed(seed % 2**32)
    torch.manual_seed(seed)


def rng_state() -> tuple[dict[str, Any], dict[str, Tensor]]:
    """(plain values, tensors) of every global generator: python, numpy, torch, each GPU."""
    version, numbers, gauss = random.getstate()
    kind, keys, position, has_gauss, cached = np.random.get_state(legacy=True)
    plain = {
        "python": [version, list(numbers), gauss],
        "numpy": [kind, position, has_gauss, cached],
    }
    tensors = {"torch": torch.get_rng_state()}
    tensors["numpy"] = torch.from_numpy(np.asarray(keys).astype(np.int64))
    for index in range(torch.cuda.device_count()):
        tensors[f"cuda_{index}"] = torch.cuda.get_rng_state(index)
    return plain, tensors


def set_rng_state(plain: dict[str, Any], tensors: dict[str, Tensor]) -> None:
    """Restore what `rng_state` gave."""
    version, numbers, gauss = plain["python"]
    random.setstate((version, tuple(numbers), gauss))
    kind, position, has_gauss, cached = plain["numpy"]
    keys = tensors["numpy"].numpy().astype(np.uint32)
    np.random.set_state((kind, keys, position, has_gauss, cached))
    torch.set_rng_state(tensors["torch"])
    for index in range(torch.cuda.device_count()):
        torch.cuda.set_rng_state(tensors[f"cuda_{index}"], index)


@contextlib.contextmanager
def undisturbed_rng() -> Iterator[None]:
    """What happens inside draws from the global generators without the training noticing."""
    plain, tensors = rng_state()
    try:
        yield
    finally:
        set_rng_state(plain, tensors)


def machine() -> dict[str, Any]:
    """What this machine is, for manifests."""
    facts: dict[str, Any] = {
        "system": platform.platform(),
        "processor": processor_name(),
        "cpu_count": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
    }
    facts["gpus"] = [torch.cuda.get_device_name(i) for i in range(torch.cuda.device_count())]
    return facts


def peak_flops(device: str) -> float:
    """FLOP/s of dense bf16 or float32 products: a data sheet's for GPUs, else measured here.

    Measured once a machine and thread count, and kept in the cache folder.
    """
    if device == "cuda" and (listed := dense_peak(torch.cuda.get_device_name())):
        return listed
    return max(measured_gemm(device).values())


def measured_gemm(device: str) -> dict[str, float]:
    """dtype -> FLOP/s of a 1,024 x 1,024 x 1,024 product, the best of several."""
    cache = cache_folder() / "gemm.json"
    key = f"{processor_name()}|{device}|{torch.get_num_threads()}|{torch.__version__}"
    known = json.loads(cache.read_text(encoding="utf-8")) if cache.exists() else {}
    if key not in known:
        known[key] = {
            name: gemm_flops(device, getattr(torch, name)) for name in ("float32", "bfloat16")
        }
        write_json(cache, known)
    return known[key]


def keep_freed_memory() -> None:
    """Let glibc keep large freed blocks: else it maps and faults every temporary anew each step."""
    if platform.libc_ver()[0] != "glibc":
        return
    libc = ctypes.CDLL(None)
    libc.mallopt(_M_MMAP_THRESHOLD, 2**30)
    libc.mallopt(_M_TRIM_THRESHOLD, 2**31 - 1)


def gemm_flops(device: str, dtype: torch.dtype) -> float:
    """FLOP/s of a square product of 1,024, the best of several tries."""
    size = 1024
    left = torch.ones(size, size, dtype=dtype, device=device)
    best = float("inf")
    for _ in range(8):
        started = time.perf_counter()
        product = (left @ left) + (left @ left)
        product[0, 0].item()  # waits for a GPU
        best = min(best, (time.perf_counter() - started) / 2)
    return 2 * size**3 / best
