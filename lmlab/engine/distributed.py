"""Several processes that train one model: who they are, what they agree on, how they are wrapped.

torchrun starts them and says who is who (RANK, WORLD_SIZE, LOCAL_RANK). One process alone is a
world of size 1, in which nothing is sent.
"""

import contextlib
import functools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Literal

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.distributed.tensor import DTensor
from torch.nn.parallel import DistributedDataParallel

Shard = Literal["none", "zero2", "zero3"]


@dataclass(frozen=True)
class World:
    """This process among all: its rank, how many there are, its rank on this machine."""

    rank: int = 0
    size: int = 1
    local_rank: int = 0

    @property
    def is_main(self) -> bool:
        """Whether this process writes what is written once."""
        return self.rank == 0


ALONE = World()


@functools.cache
def join(timeout_seconds: float = 600.0) -> World:
    """Meet the other processes that torchrun started, once; alone without torchrun."""
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return ALONE
    world = World(int(os.environ["RANK"]), size, int(os.environ["LOCAL_RANK"]))
    backend = "gloo"
    if torch.cuda.is_available():
        torch.cuda.set_device(world.local_rank)
        backend = "cpu:gloo,cuda:nccl"
    dist.init_process_group(backend, timeout=timedelta(seconds=timeout_seconds))
    return world


def sum_over_ranks(values: Sequence[int | float], *, world: World) -> list[int | float]:
    """Each value summed over all processes, in float64."""
    if world.size == 1:
        return list(values)
    total = torch.tensor(list(values), dtype=torch.float64)
    dist.all_reduce(total)
    return total.tolist()


def from_main(value: Callable[[], Any], *, world: World) -> Any:
    """What `value` gives on the main process, on every process."""
    if not dist.is_initialized():
        return value()
    told = [value() if world.is_main else None]
    dist.broadcast_object_list(told)
    return told[0]


class Meeting:
    """Where all processes wait for one another in a background thread, on a group of its own.

    A group shared with the training loop would mix up the collectives of the two threads.
    """

    def __init__(self, world: World) -> None:
        self.world = world
        self._group = dist.new_group(backend="gloo") if world.size > 1 else None

    def meet(self, error: BaseException | None = None) -> None:
        """Wait for all. Raises OSError on every process where one of them came with an error."""
        if self.world.size == 1:
            if error is not None:
                raise error
            return
        told: list[str | None] = [None] * self.world.size
        dist.all_gather_object(told, None if error is None else str(error), group=self._group)
        failed = [f"process {rank}: {said}" for rank, said in enumerate(told) if said is not None]
        if failed:
            raise OSError("; ".join(failed)) from error


def spread(
    module: nn.Module, blocks: Sequence[nn.Module], *, world: World, shard: Shard, unused: bool
) -> nn.Module:
    """`module` so that backward leaves the sum over all processes / their number in gradients.

    `blocks` are the units that FSDP2 gathers and frees one at a time; `unused` says that some
    parameters may get no gradient.
    """
    if world.size == 1:
        return module
    if shard == "none":
        return DistributedDataParallel(
            module, forward_sync_buffers=False, find_unused_parameters=unused
        )
    device = "cuda" if torch.cuda.is_available() else "cpu"
    mesh = init_device_mesh(device, (world.size,))
    for block in blocks:
        fully_shard(block, mesh=mesh, reshard_after_forward=shard == "zero3")
    fully_shard(module, mesh=mesh, reshard_after_forward=False)
    # What is no `forward` gathers the outermost weights too.
    register_fsdp_forward_method(module, "evaluate")
    return module


def unwrapped(module: nn.Module) -> nn.Module:
    """What `spread` was given."""
    return module.module if isinstance(module, DistributedDataParallel) else module


@contextlib.contextmanager
def synchronised(module: nn.Module, *, last: bool) -> Iterator[None]:
    """Only the last micro-batch of a window sends gradients; those before it add up locally."""
    match module:
        case FSDPModule():
            module.set_requires_gradient_sync(last)
            yield
        case DistributedDataParallel() if not last:
            with module.no_sync():
                yield
        case _:
            yield


def blocks_of(modules: Mapping[str, nn.Module]) -> list[nn.Module]:
    """The layers: every element of every ModuleList."""
    return [
        block
        for module in modules.values()
        for inner in module.modules()
        if isinstance(inner, nn.ModuleList)
        for block in inner
    ]


def is_sharded(tensor: Tensor) -> bool:
    """Whether each process holds a part of it."""
    return isinstance(tensor, DTensor)


def local_part(tensor: Tensor) -> Tensor:
    """What this process holds of a tensor."""
    return tensor.to_local() if isinstance(tensor, DTensor) else tensor


def whole(tensor: Tensor) -> Tensor:
    """The tensor gathered from all processes."""
    return tensor.full_tensor() if isinstance(tensor, DTensor) else tensor


def share_like(full: Tensor, like: Tensor) -> Tensor:
    """`full` cut and placed as `like` is: this process's rows of it where `like` is sharded."""
    if not isinstance(like, DTensor) or full.ndim == 0:
        return full.to(like.device)
    mesh = like.device_mesh
    parts = full.chunk(mesh.size())
    mine = parts[mesh.get_local_rank()] if mesh.get_local_rank() < len(parts) else full[:0]
    return DTensor.from_local(
        mine.to(like.device),
        mesh,
        like.placements,
        run_check=False,
        shape=full.shape,
        stride=full.stride(),
    )
