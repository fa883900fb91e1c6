"""A toy training as one of several processes: what the tests start through torchrun.

`torchrun --nproc-per-node 2 tests/spread_toys.py FOLDER [--shard zero3] [--objective pairs] ...`
"""

import argparse
import json
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

import torch
import toys
from torch import Tensor, nn

from lmlab.engine.contract import LossTerm
from lmlab.engine.distributed import join
from lmlab.engine.preempt import EXIT_CODE, Preempted
from lmlab.engine.trainer import train


class Layers(nn.Module):
    """A tower whose layers are in a ModuleList, one of them with fewer rows than processes."""

    def __init__(self) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(toys.VOCAB, 8)
        self.layers = nn.ModuleList(nn.Linear(8, 8) for _ in range(2))
        self.narrow = nn.Linear(8, 1)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits a token, through tied weights."""
        x = self.embed(tokens)
        for layer in self.layers:
            x = x + torch.relu(layer(x))
        return x @ self.embed.weight.T * self.narrow(x).sigmoid()


class Quiet(toys.MaskedLanguage):
    """Neither dropout nor noise: one process and several must agree."""

    def losses(
        self, batch: Mapping[str, Tensor], *, step: int, generator: torch.Generator
    ) -> dict[str, LossTerm]:
        """NLL of masked tokens."""
        logits = self.modules["tower"](batch["tokens"])
        nll = nn.functional.cross_entropy(
            logits.flatten(0, 1), batch["targets"].flatten(), reduction="sum"
        )
        return {"nll": LossTerm(nll, "tokens", 1.0)}


def make_objective(kind: str) -> toys.MaskedLanguage:
    """`noisy` draws random numbers; `quiet`, `pairs` and `label` draw none."""
    match kind:
        case "noisy":
            return toys.MaskedLanguage()
        case "quiet":
            return Quiet(modules={"tower": Layers()})
        case _:
            chosen = toys.Pairs if kind == "pairs" else toys.Classifier
            tower = toys.Tower()
            tower.dropout.p = 0.0
            return chosen(modules={"tower": tower})


def main() -> int:
    """Train; 75 when asked to stop."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--objective", default="noisy")
    parser.add_argument("--shard", default="none")
    parser.add_argument("--micro", type=int, default=2)
    parser.add_argument("--freeze", type=json.loads, default={})
    # Of this rank, at this step: SIGKILL to itself, or SIGTERM.
    parser.add_argument("--die", default="")
    given = parser.parse_args()
    torch.set_num_threads(1)
    world = join(60.0)
    plan = toys.make_plan(micro=given.micro, world=world, shard=given.shard, freeze=given.freeze)
    part = toys.make_part(given.folder)
    objective = make_objective(given.objective)
    rank, _, how = given.die.partition(":")
    if rank == str(world.rank):
        _signal_at(objective, *how.split("@"))
    with part.run.notice.installed(), toys.make_loader(plan) as loader:
        try:
            train(objective, loader, plan, run=part)
        except Preempted:
            return EXIT_CODE
    return 0


def _signal_at(objective: toys.MaskedLanguage, name: str, step: str) -> None:
    units = objective.units

    def watched(batch: Mapping[str, Tensor]) -> dict[str, int]:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.Signals[name])
        return units(batch)

    left = int(step)
    objective.units = watched  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
