"""The decoder of a run: built, loaded, and trained as a language model."""

import logging
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import torch
from jaxtyping import Float, Int
from torch import Tensor, nn

from lmlab.data.pack import NO_TARGET, PackedRows
from lmlab.engine import checkpoint
from lmlab.engine.contract import Batch, LossTerm
from lmlab.engine.run import Part
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.loss import cross_entropy_sum
from lmlab.models.schema import DecoderConfig

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


def load_trained(part: Part, config: DecoderConfig, *, vocab_size: int, at: str) -> TrainedDecoder:
    """The decoder of a checkpoint, strictly loaded, ready to be evaluated."""
    model = Decoder(config, vocab_size=vocab_size)
    path = checkpoint.find(part.checkpoints, at)
    if at == "last" and path != (newest := checkpoint.checkpoints(part.checkpoints)[0][1]):
        log.warning("%s is damaged; %s is used instead", newest, path.name)
    weights = checkpoint.load_weights(path, {"decoder": model})
    return TrainedDecoder(model.eval(), weights, int(path.name.removeprefix("step_")))


@dataclass
class LanguageModeling:
    """Objective: the NLL of every target token."""

    model: Decoder
    validation: PackedRows | None
    batch_size: int
    packed_apart: bool
    modules: Mapping[str, nn.Module] = field(init=False)
    frozen: Mapping[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.modules = {"decoder": self.model}
        self._train_nll: Callable[..., Tensor] = self._nll

    def units(self, batch: Batch) -> dict[str, int]:
        """Target tokens."""
        return {"tokens": int((batch["targets"] != NO_TARGET).sum())}

    def losses(self, batch: Batch, *, step: int, generator: torch.Generator) -> dict[str, LossTerm]:
        """The sum of the targets' NLL in nats."""
        documents = batch["documents"] if self.packed_apart else None
        nll = self._train_nll(batch["tokens"], batch["targets"], documents)
        return {"nll": LossTerm(nll, "tokens", 1.0)}

    def evaluate(self) -> dict[str, float]:
        """NLL a token of the validation rows: sum over sum, never a mean of means."""
        assert self.validation is not None
        total, count = 0.0, 0
        for first in range(0, len(self.validation), self.batch_size):
            ids = torch.arange(first, min(first + self.batch_size, len(self.validation))).numpy()
            batch = self.validation.fetch(ids, 0)
            device = self.model.head_weight.device
            tokens, targets = batch["tokens"].to(device), batch["targets"].to(device)
            documents = batch["documents"].to(device) if self.packed_apart else None
            total += float(self._nll(tokens, targets, documents))
            count += self.units(batch)["tokens"]
        return {"validation/loss": total / count}

    def compile(self) -> None:
        """Forward and loss become one graph; evaluation is too short to be worth another."""
        self._train_nll = torch.compile(self._nll, dynamic=False)

    def _nll(
        self,
        tokens: Int[Tensor, "batch tokens"],
        targets: Int[Tensor, "batch tokens"],
        documents: Int[Tensor, "batch tokens"] | None,
    ) -> Float[Tensor, ""]:
        hidden = self.model.hidden(tokens, documents=documents)
        return cross_entropy_sum(hidden, self.model.head_weight, targets)
