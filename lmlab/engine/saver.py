"""Checkpoints written in a background thread, so that the training loop does not wait for a disk.

The loop copies the state and goes on. One save at a time: the next one waits for the last.
"""

import copy
import logging
import time
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace

from torch import Tensor

from lmlab.engine import checkpoint
from lmlab.engine.checkpoint import Snapshot
from lmlab.engine.distributed import Meeting, World, is_sharded
from lmlab.engine.run import Part
from lmlab.engine.schema import CheckpointConfig

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Saved:
    """A checkpoint that is on disk."""

    step: int
    weights: str
    seconds: float


class Saver:
    """Saves of one training; every process of it has one, and calls it at the same steps."""

    def __init__(self, part: Part, kept: CheckpointConfig, *, world: World) -> None:
        self._part, self._kept, self._meeting = part, kept, Meeting(world)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="checkpoint")
        self._under_way: Future[Saved] | None = None

    def begin(self, snapshot: Snapshot, *, step: int) -> Saved | None:
        """Copy the state and write it while the training goes on; what the last save left."""
        before = self.wait()
        held = replace(
            snapshot,
            state=copy.deepcopy(snapshot.state),
            tensors={
                name: _copied(tensors, world=self._meeting.world, own=name == "rng")
                for name, tensors in snapshot.tensors.items()
            },
        )
        self._under_way = self._thread.submit(self._save, held, step)
        return before

    def finished(self) -> Saved | None:
        """A save that has ended since it was last asked. Raises OSError where it failed."""
        if self._under_way is None or not self._under_way.done():
            return None
        return self.wait()

    def wait(self) -> Saved | None:
        """Wait for the save under way. Raises OSError where it failed."""
        if self._under_way is None:
            return None
        ended, self._under_way = self._under_way, None
        return ended.result()

    def close(self) -> None:
        """End the thread; a save under way is finished first, and its failure is said."""
        self._thread.shutdown(wait=True)
        if self._under_way is not None and (error := self._under_way.exception()) is not None:
            log.error("%s", error)

    def _save(self, snapshot: Snapshot, step: int) -> Saved:
        started = time.perf_counter()
        path = checkpoint.save(self._part.checkpoints, snapshot, step=step, meeting=self._meeting)
        weights = str(checkpoint.read_manifest(path)["identity"]["weights"])
        if self._meeting.world.is_main:
            checkpoint.apply_retention(
                self._part.checkpoints,
                keep_last=self._kept.keep_last,
                keep_best=self._kept.keep_best,
            )
            if self._part.run.mirror is not None:
                self._part.run.mirror.request()
        seconds = time.perf_counter() - started
        log.info("saved step %d in %.2f s", step, seconds)
        return Saved(step, weights, seconds)


def _copied(tensors: Mapping[str, Tensor], *, world: World, own: bool) -> dict[str, Tensor]:
    """What this process will write, apart from what the training goes on to change."""
    return {
        name: tensor.detach().to("cpu", copy=True)
        for name, tensor in tensors.items()
        if own or world.is_main or is_sharded(tensor)
    }
