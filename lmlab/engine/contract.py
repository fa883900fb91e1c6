"""What a study hands to the trainer, and what it gets back."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol, runtime_checkable

import numpy as np
import torch
from torch import Tensor, nn

from lmlab.engine.device import Decided
from lmlab.engine.distributed import ALONE, World
from lmlab.engine.schema import CostConfig, MonitorConfig, TrackerConfig, TrainConfig

Batch = Mapping[str, Tensor]


class LossTerm(NamedTuple):
    """A sum over units (not a mean), the unit that divides it, and its weight in the total."""

    sum: Tensor
    unit: str
    weight: float


@runtime_checkable
class Objective(Protocol):
    """What is trained, and what is minimised."""

    modules: Mapping[str, nn.Module]
    # name -> "reference sha256" of what is used but neither trained nor saved.
    frozen: Mapping[str, str]

    def units(self, batch: Batch) -> Mapping[str, int]:
        """unit -> how many of them a batch holds; counted over the window before the forward."""
        ...

    def losses(
        self, batch: Batch, *, step: int, generator: torch.Generator
    ) -> Mapping[str, LossTerm]:
        """name -> a sum over the batch, its unit, its weight."""
        ...

    def evaluate(self) -> Mapping[str, float]:
        """name -> value on held-out data."""
        ...

    def compile(self) -> None:
        """Compile what is worth it; called where the device's settings say so."""
        ...


@runtime_checkable
class Data(Protocol):
    """Windows of micro-batches whose position counts what was consumed."""

    @property
    def steps_per_epoch(self) -> int:
        """Optimizer steps in one pass over the training ids."""
        ...

    @property
    def epoch(self) -> int:
        """Of the last window."""
        ...

    @property
    def last_ids(self) -> np.ndarray:
        """Items of the last window."""
        ...

    @property
    def fillers(self) -> int:
        """Micro-batches at the end of the last window that count nothing.

        They are there where other processes have more: all must run equally many.
        """
        ...

    def window(self) -> Sequence[Batch]:
        """The micro-batches of one optimizer step, equally many on every process."""
        ...

    def state_dict(self) -> dict[str, Any]:
        """Plain values."""
        ...

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on after the last window that was consumed."""
        ...


@dataclass(frozen=True)
class Plan:
    """How to train: the settings, what was decided for this machine, and what identifies it."""

    train: TrainConfig
    decided: Decided
    seed: int
    fingerprint: str
    unit: str
    tracker: TrackerConfig
    monitor: MonitorConfig
    cost: CostConfig
    world: World = ALONE


@dataclass(frozen=True)
class Trained:
    """What a training left."""

    step: int
    weights: str
    units: Mapping[str, int]
    seconds: float
