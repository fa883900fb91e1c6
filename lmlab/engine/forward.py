"""The objective as a module, so that what spreads a model over processes can wrap it."""

import torch
from torch import nn

from lmlab.engine.contract import Batch, LossTerm, Objective


class Forward(nn.Module):
    """Its losses and evaluation as calls of a module that holds what is trained."""

    def __init__(self, objective: Objective) -> None:
        super().__init__()
        self.objective = objective
        self.trained = nn.ModuleDict(dict(objective.modules))

    def forward(self, batch: Batch, step: int, generator: torch.Generator) -> dict[str, LossTerm]:
        """The objective's losses of a micro-batch."""
        return dict(self.objective.losses(batch, step=step, generator=generator))

    def evaluate(self) -> dict[str, float]:
        """The objective's held-out values; every process computes all of them."""
        return dict(self.objective.evaluate())
