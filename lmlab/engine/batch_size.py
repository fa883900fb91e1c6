"""The largest micro-batch that fits, measured: doubled until memory fails or a line reaches 80 %.

Each size is tried in a process of its own, so that what one try holds or breaks touches no other,
and the system's killing of a process that took too much is an answer like any.
"""

import math
import multiprocessing
import signal
from collections.abc import Callable
from dataclasses import dataclass
from multiprocessing.connection import Connection
from pathlib import Path

import psutil
import torch

from lmlab.engine.monitor import read_gpus

# The rest is for what varies: fragments, a longer save, other processes.
SHARE_OF_FREE = 0.8
OUT_OF_MEMORY = -1


@dataclass(frozen=True)
class Probe:
    """One try: the bytes held at most, or None where memory was too small."""

    batch_size: int
    peak_bytes: int | None


@dataclass(frozen=True)
class Found:
    """The largest batch size tried that kept within the limit, and every try in order."""

    batch_size: int
    free_bytes: int
    limit_bytes: int
    probes: tuple[Probe, ...]


def find_batch_size(try_step: Callable[[int], int], *, free_bytes: int, largest: int) -> Found:
    """`try_step` makes a training step of so many rows and returns the bytes held at most.

    It raises MemoryError where there were not enough. Raises ValueError where one row is too much.
    """
    limit = int(SHARE_OF_FREE * free_bytes)
    probes: list[Probe] = []
    fits, fails, batch = 0, largest + 1, 1
    while fits < batch < fails:
        probes.append(_try(try_step, batch))
        peak = probes[-1].peak_bytes
        if peak is not None and peak <= limit:
            fits = batch
        else:
            fails = batch
        batch = _next(probes, fits=fits, fails=fails, limit=limit)
    if fits == 0:
        raise ValueError(
            f"a batch of one row needs more than {SHARE_OF_FREE:.0%} of the {free_bytes / 1e9:.2f} "
            "GB that are free; take a smaller model or context, or gradient checkpointing"
        )
    return Found(fits, free_bytes, limit, tuple(probes))


def rough_batch_size(
    *, free_bytes: int, num_parameters: int, context_tokens: int, bytes_per_value: int = 4
) -> int:
    """A formula that is often quoted, within 1...128; it knows neither layers nor vocabulary."""
    left = SHARE_OF_FREE * free_bytes - 4 * num_parameters * bytes_per_value
    row = 4 * context_tokens * math.sqrt(num_parameters) * bytes_per_value
    return min(128, max(1, int(left / row)))


def measured_apart(step: Callable[[int], object]) -> Callable[[int], int]:
    """`step(rows)` as `find_batch_size` wants it: in a new process, which says its peak.

    On a GPU that is what torch allocated at most; on a CPU all that the process held.
    """

    def try_step(batch_size: int) -> int:
        context = multiprocessing.get_context("spawn")
        answers, answer = context.Pipe(duplex=False)
        child = context.Process(target=_measure, args=(step, batch_size, answer))
        child.start()
        answer.close()
        try:
            peak = answers.recv()
        except EOFError:
            peak = None
        child.join()
        # Killed is how Linux answers who takes too much.
        if peak is None and child.exitcode == -signal.SIGKILL:
            raise MemoryError
        if peak is None:
            raise RuntimeError(f"a step of {batch_size} rows failed: its traceback is above")
        if peak == OUT_OF_MEMORY:
            raise MemoryError
        return peak

    return try_step


def free_bytes(device: str) -> int:
    """What a new process could take: by the driver on a GPU, by the system on a CPU."""
    if device == "cpu":
        return psutil.virtual_memory().available
    free_mb = [gpu.free_mb for gpu in read_gpus()][:1]
    if not free_mb or free_mb[0] is None:
        raise ValueError("the GPU's driver does not say how much memory is free")
    return int(free_mb[0] * 1e6)


def _try(try_step: Callable[[int], int], batch_size: int) -> Probe:
    try:
        return Probe(batch_size, try_step(batch_size))
    except MemoryError:
        return Probe(batch_size, None)


def _next(probes: list[Probe], *, fits: int, fails: int, limit: int) -> int:
    """At most double; less where a line through the two largest batches reaches the limit."""
    batch = min(max(1, 2 * fits), fails - 1)
    known = sorted((one.batch_size, one.peak_bytes) for one in probes if one.peak_bytes is not None)
    if len(known) >= 2:
        (small, low), (large, high) = known[-2:]
        slope = (high - low) / (large - small)
        # A process holds much before its first row: a flat line says nothing of the next.
        if slope > 0:
            batch = min(batch, int(large + (limit - high) / slope))
    if probes[-1].batch_size == fails:
        batch = min(max(batch, fits + 1), (fits + fails) // 2)
    return batch


def _measure(step: Callable[[int], object], batch_size: int, answer: Connection) -> None:
    try:
        step(batch_size)
    except (MemoryError, torch.OutOfMemoryError):
        answer.send(OUT_OF_MEMORY)
    except RuntimeError as error:
        # torch has no type of its own for this on a CPU.
        if "can't allocate memory" not in str(error):
            raise
        answer.send(OUT_OF_MEMORY)
    else:
        answer.send(_peak_bytes())


def _peak_bytes() -> int:
    if torch.cuda.is_initialized():
        return torch.cuda.max_memory_allocated()
    # Not getrusage: its figure begins at that of the process that started this one.
    status = Path("/proc/self/status").read_text(encoding="utf-8")
    lines = dict(line.split(":", 1) for line in status.splitlines())
    return int(lines["VmHWM"].removesuffix("kB")) * 1024
