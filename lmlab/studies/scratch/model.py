"""The decoder of a run: built, loaded, and trained as a language model."""

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lmlab.data.loader import Rows
from lmlab.data.pack import NO_TARGET
from lmlab.engine import checkpoint
from lmlab.engine.contract import Batch, LossTerm
from lmlab.engine.run import Part
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.experts import Routing, Usage
from lmlab.models.loss import cross_entropy_sum
from lmlab.models.schema import DecoderConfig
from lmlab.studies.scratch.balance import balance_term, usage_up_to_targets

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TrainedDecoder:
    """A decoder with the weights of a checkpoint."""

    model: Decoder
    weights: str
    step: int


def build_decoder(config: DecoderConfig, *, vocab_size: int, seed: int) -> Decoder:
    """A decoder at its start."""
    model = Decoder(config, vocab_size=vocab_size)
    init_weights(model, seed=seed)
    return model


def load_trained(
    part: Part, config: DecoderConfig, *, vocab_size: int, at: str, device: str = "cpu"
) -> TrainedDecoder:
    """The decoder of a checkpoint, strictly loaded, ready to be evaluated on `device`.

    A training moves it to where it trains.
    """
    model = Decoder(config, vocab_size=vocab_size)
    path = checkpoint.find(part.checkpoints, at)
    if at == "last" and path != (newest := checkpoint.checkpoints(part.checkpoints)[0][1]):
        log.warning("%s is damaged; %s is used instead", newest, path.name)
    weights = checkpoint.load_weights(path, {"decoder": model})
    return TrainedDecoder(model.to(device).eval(), weights, int(path.name.removeprefix("step_")))


class Losses(NamedTuple):
    """The targets' NLL, summed, and what each expert got where there are experts."""

    nll: Float[Tensor, ""]
    usage: Usage | None


@dataclass
class LanguageModeling:
    """Objective: the NLL of every target token, and balance between experts where there are any."""

    model: Decoder
    validation: Rows | None
    batch_size: int
    packed_apart: bool
    modules: Mapping[str, nn.Module] = field(init=False)
    frozen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.modules = {"decoder": self.model}
        self._train_score: Callable[..., Losses] = self._score

    def units(self, batch: Batch) -> dict[str, int]:
        """Target tokens."""
        return {"tokens": int((batch["targets"] != NO_TARGET).sum())}

    def losses(self, batch: Batch, *, step: int, generator: torch.Generator) -> dict[str, LossTerm]:
        """The sum of the targets' NLL in nats; rows weigh by their targets in `balance`, too."""
        documents = batch["documents"] if self.packed_apart else None
        nll, usage = self._train_score(batch["tokens"], batch["targets"], documents)
        balance = balance_term(usage, batch["targets"], self.model.config, unit="tokens")
        return {"nll": LossTerm(nll, "tokens", 1.0), **balance}

    def evaluate(self) -> dict[str, float]:
        """NLL a token of the validation rows: sum over sum, never a mean of means.

        With experts also the largest share of a layer's slots that one has (even: 1 / experts) and,
        with a capacity, the share of slots over it, which training drops.
        """
        assert self.validation is not None
        total, count, usages = 0.0, 0, []
        for first in range(0, len(self.validation), self.batch_size):
            ids = torch.arange(first, min(first + self.batch_size, len(self.validation))).numpy()
            batch = self.validation.fetch(ids, 0)
            device = self.model.head_weight.device
            tokens, targets = batch["tokens"].to(device), batch["targets"].to(device)
            documents = batch["documents"].to(device) if self.packed_apart else None
            scored = self._score(tokens, targets, documents)
            total += float(scored.nll)
            count += self.units(batch)["tokens"]
            usages += [scored.usage] if scored.usage is not None else []
        figures = {"loss": total / count} | self._expert_figures(usages)
        return {f"validation/{name}": value for name, value in figures.items()}

    def compile(self) -> None:
        """Forward and loss become one graph; evaluation is too short to be worth another."""
        self._train_score = torch.compile(self._score, dynamic=False)

    def _expert_figures(self, usages: Sequence[Usage]) -> dict[str, float]:
        experts = self.model.config.experts
        if experts is None:
            return {}
        slots = torch.stack([one.slots.sum(1) for one in usages]).sum(0)
        figures = {"expert_share": float((slots / slots.sum(1, keepdim=True)).max())}
        if experts.capacity_factor is not None:
            figures["dropped_share"] = float(sum(one.over.sum() for one in usages) / slots.sum())
        return figures

    def _score(
        self,
        tokens: Int[Tensor, "batch tokens"],
        targets: Int[Tensor, "batch tokens"],
        documents: Int[Tensor, "batch tokens"] | None,
    ) -> Losses:
        routings: list[Routing] = []
        hidden = self.model.hidden(tokens, documents=documents, routings=routings)
        nll = cross_entropy_sum(hidden, self.model.head_weight, targets)
        return Losses(nll, usage_up_to_targets(routings, targets))
