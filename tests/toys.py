"""Small trainings for the tests of the engine: a masked language model, pairs, a classifier."""

import json
import random
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmlab.data.loader import Loader, keyed_generator
from lmlab.engine import checkpoint
from lmlab.engine.contract import LossTerm, Plan
from lmlab.engine.device import Decided
from lmlab.engine.distributed import ALONE, Shard, World
from lmlab.engine.preempt import Notice
from lmlab.engine.run import Part, Run
from lmlab.engine.schema import CostConfig, MonitorConfig, TrackerConfig, TrainConfig
from lmlab.engine.tracker import VOLATILE

VOCAB, LENGTH = 17, 6


class Tower(nn.Module):
    """An embedding, dropout, two layers."""

    def __init__(self, outputs: int = VOCAB) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.embed = nn.Embedding(VOCAB, 8)
        self.inner = nn.Linear(8, 8)
        self.norm = nn.LayerNorm(8)
        self.dropout = nn.Dropout(0.1)
        self.out = nn.Linear(8, outputs)

    def forward(self, tokens: Tensor) -> Tensor:
        """Logits a token."""
        hidden = self.dropout(torch.relu(self.inner(self.embed(tokens))))
        return self.out(self.norm(hidden + self.embed(tokens)))


@dataclass
class MaskedLanguage:
    """NLL of masked tokens; dropout draws from torch's generator, noise from the trainer's."""

    modules: Mapping[str, nn.Module] = field(default_factory=lambda: {"tower": Tower()})
    frozen: Mapping[str, str] = field(default_factory=dict)
    noise: float = 0.1
    # Draw from python's generator too; not where shapes are checked, for the checks do as well.
    careless: bool = False

    def units(self, batch: Mapping[str, Tensor]) -> dict[str, int]:
        """Masked tokens."""
        return {"tokens": int((batch["targets"] != -100).sum())}

    def losses(
        self, batch: Mapping[str, Tensor], *, step: int, generator: torch.Generator
    ) -> dict[str, LossTerm]:
        """NLL and a noisy auxiliary term with a unit of its own."""
        logits = self.modules["tower"](batch["tokens"])
        scale = self.noise * (np.random.rand() + (random.random() if self.careless else 0))
        noise = scale * torch.randn(logits.shape, generator=generator)
        nll = F.cross_entropy(
            (logits + noise).flatten(0, 1), batch["targets"].flatten(), reduction="sum"
        )
        return {"nll": LossTerm(nll, "tokens", 1.0)}

    def evaluate(self) -> dict[str, float]:
        """Draws from every global generator, as careless evaluations do."""
        np.random.rand()
        tokens = torch.randint(0, VOCAB, (4, LENGTH))
        return {"validation/loss": float(self.modules["tower"](tokens).square().mean())}

    def compile(self) -> None:
        """Nothing to compile."""


@dataclass
class Pairs(MaskedLanguage):
    """-log sigmoid of the difference of two summed scores: a pair loss, whose unit is the pair."""

    def units(self, batch: Mapping[str, Tensor]) -> dict[str, int]:
        """Pairs."""
        return {"tokens": len(batch["tokens"])}

    def losses(
        self, batch: Mapping[str, Tensor], *, step: int, generator: torch.Generator
    ) -> dict[str, LossTerm]:
        """DPO's shape without its reference."""
        tower = self.modules["tower"]
        tokens, counted = batch["tokens"], (batch["targets"] != -100)
        better = (tower(tokens).mean(-1) * counted).sum(-1)
        worse = (tower(tokens.flip(1)).mean(-1) * counted).sum(-1)
        return {"pair": LossTerm(-F.logsigmoid(better - worse).sum(), "tokens", 1.0)}


@dataclass
class Classifier(MaskedLanguage):
    """Cross-entropy of one label a row, and a penalty with a unit of its own."""

    def units(self, batch: Mapping[str, Tensor]) -> dict[str, int]:
        """Rows, and the characters of the penalty."""
        return {"tokens": len(batch["tokens"]), "entries": batch["tokens"].numel()}

    def losses(
        self, batch: Mapping[str, Tensor], *, step: int, generator: torch.Generator
    ) -> dict[str, LossTerm]:
        """The label is the first token's parity."""
        logits = self.modules["tower"](batch["tokens"])
        labels = batch["tokens"][:, 0] % 2
        label = F.cross_entropy(logits.mean(1), labels, reduction="sum")
        return {
            "label": LossTerm(label, "tokens", 1.0),
            "penalty": LossTerm(logits.square().sum(), "entries", 0.01),
        }


def masked_rows(ids: np.ndarray, epoch: int) -> dict[str, Tensor]:
    """Row i of a fixed corpus with a keyed random share of its tokens as targets."""
    corpus = np.random.default_rng(7).integers(0, VOCAB, (1000, LENGTH))
    tokens, targets = [], []
    for item in ids:
        generator = keyed_generator(3, purpose="mask", epoch=epoch, item_id=int(item))
        masked = generator.random(LENGTH) < 0.5
        masked[0] = True
        tokens.append(np.where(masked, 0, corpus[item]))
        targets.append(np.where(masked, corpus[item], -100))
    return {"tokens": torch.tensor(np.array(tokens)), "targets": torch.tensor(np.array(targets))}


def make_loader(plan: Plan, *, num_items: int = 50, workers: int = 0) -> Loader:
    """50 items in batches of 8: the last window of an epoch is short."""
    return Loader(
        num_items,
        masked_rows,
        batch_size=plan.train.batch_size,
        micro_batch_size=plan.decided.micro_batch_size,
        seed=5,
        workers=workers,
        rank=plan.world.rank,
        world_size=plan.world.size,
    )


def make_plan(
    *, micro: int = 3, world: World = ALONE, shard: Shard = "none", **changes: Any
) -> Plan:
    """Three epochs with evaluation and saves at odd places; `changes` are of the TrainConfig."""
    train = {
        "max_steps": 18,
        "batch_size": 8,
        "optim": {"learning_rate": 0.01, "schedule": {"warmup": 4}},
        "checkpoint": {"save_every": 5, "best_metric": "validation/loss"},
        "eval_every": 3,
        "log_every": 1,
    }
    decided = Decided("cpu", "float32", False, 1, False, True, micro, world.size, shard)
    return Plan(
        train=TrainConfig.model_validate(train | changes),
        decided=decided,
        seed=11,
        fingerprint="toy",
        unit="tokens",
        tracker=TrackerConfig(tensorboard=False),
        monitor=MonitorConfig(),
        cost=CostConfig(),
        world=world,
    )


def make_part(folder: Path) -> Part:
    """A part of a run that has nothing else."""
    return Run(folder, "toy", "run", Notice()).part("train")


def differences(one: Part, other: Part) -> set[str]:
    """Names of what differs between the last checkpoints and the metrics of two trainings."""
    a, b = (checkpoint.load(checkpoint.find(part.checkpoints, "last")) for part in (one, other))
    found = {key for key in a.state if a.state[key] != b.state[key]}
    found |= {f"{key} rng" for key, value in a.state["rng"].items() if value != b.state["rng"][key]}
    for file in a.tensors:
        names = a.tensors[file].keys() | b.tensors[file].keys()
        unequal = {name for name in names if not _equal(a.tensors[file], b.tensors[file], name)}
        found |= (
            {f"{name} rng" for name in unequal} if file == "rng" else {file} if unequal else set()
        )
    if metrics(one) != metrics(other):
        found.add("metrics")
    # Time stamps vary in length, so the offset of equal rows varies; `rng` is named in parts.
    return found - {"metrics_offset", "rng"}


def metrics(part: Part) -> list[dict[str, Any]]:
    """Rows without what differs between two runs of the same numbers."""
    rows = [json.loads(line) for line in part.metrics_path.read_text().splitlines()]
    return [{key: value for key, value in row.items() if key not in VOLATILE} for row in rows]


def _equal(a: Mapping[str, Tensor], b: Mapping[str, Tensor], name: str) -> bool:
    return name in a and name in b and torch.equal(a[name], b[name])
