"""Preference optimisation: answers that were preferred become likelier than those that were not.

The reference is the model at the start of the stage. Its log-probabilities are computed once and
kept beside the part, so that it is not in memory while the policy is trained.
"""

import hashlib
import json
import logging
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from jaxtyping import Float, Int
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor, nn

from lmlab.data.examples import Example, encode_examples, right_padded
from lmlab.data.instruct import render_prompt
from lmlab.data.pack import NO_TARGET
from lmlab.data.tasks.load import load_pairs
from lmlab.data.tasks.records import Pair, TaskSplit
from lmlab.data.tokenizer import TextTokenizer
from lmlab.engine.contract import Batch, LossTerm
from lmlab.engine.device import prepare_scoring
from lmlab.engine.run import Part, Run
from lmlab.engine.weights import weights_hash
from lmlab.models.decoder import Decoder
from lmlab.models.experts import Routing
from lmlab.models.preference import LogRatios, preference_loss, response_kl, response_logps
from lmlab.studies.scratch.balance import balance_term, usage_up_to_targets, without_capacity
from lmlab.studies.scratch.config import Config, DpoConfig
from lmlab.studies.scratch.model import TrainedDecoder, load_trained
from lmlab.studies.scratch.prepare import load_prepared
from lmlab.studies.scratch.stage import Stage, stage_before, train_stage

log = logging.getLogger(__name__)

# Pairs at a time where nothing is trained; with the rows' lengths it decides the sums' last bits.
PAIRS_AT_ONCE = 16


@dataclass(frozen=True)
class PairExamples:
    """Chosen and rejected responses to the same prompts; `ids` name their pairs in `data`."""

    data: TaskSplit[Pair]
    ids: list[str]
    chosen: list[Example]
    rejected: list[Example]

    def __len__(self) -> int:
        return len(self.ids)

    def batch(self, rows: Sequence[int]) -> dict[str, Tensor]:
        """`tokens` and `targets` of these pairs: all chosen ones, then all rejected ones."""
        return right_padded([one[row] for one in (self.chosen, self.rejected) for row in rows])


@dataclass(frozen=True)
class PairRows:
    """Pairs with the reference's log-probabilities of both responses."""

    pairs: PairExamples
    reference: Float[Tensor, "two pairs"]

    def __len__(self) -> int:
        return len(self.pairs)

    def fetch(self, ids: Int[np.ndarray, "rows"], epoch: int) -> dict[str, Tensor]:
        """One batch; the same in every `epoch`."""
        return self.pairs.batch(ids.tolist()) | {"reference": self.reference[:, ids].flatten()}


def dpo(config: Config, run: Run) -> None:
    """Train from the newest checkpoint, or from the last one of the stage before."""
    assert config.dpo is not None
    settings, tokenizer = config.dpo, load_prepared(run).tokenizer
    before = run.part(stage_before(config, "dpo"))
    # With dropout the policy would differ from its reference before it has learnt anything, and so
    # it would where its experts drop what is over their capacity.
    certain = without_capacity(config.model).model_copy(update={"dropout": 0.0})
    start = load_trained(
        before,
        certain,
        vocab_size=tokenizer.vocab_size,
        at="last",
        device=prepare_scoring(config.device),
    )
    found = {
        split: load_pair_examples(
            settings, split, tokenizer=tokenizer, context_tokens=config.model.context_tokens
        )
        for split in ("train", "validation")
    }
    rows = {
        split: PairRows(pairs, reference_logps(start, pairs, run.part("dpo"), name=split))
        for split, pairs in found.items()
    }

    def objective(batch_size: int) -> PreferenceOptimization:
        return PreferenceOptimization(
            model=start.model,
            settings=settings,
            validation=rows["validation"],
            batch_size=batch_size,
            frozen={"reference": f"{run.reference}:{before.name}@{start.step} {start.weights}"},
        )

    train_stage(config, run, Stage("dpo", settings, rows["train"], "tokens", objective))


@dataclass
class PreferenceOptimization:
    """Objective: a preference loss on each pair's log ratios."""

    model: Decoder
    settings: DpoConfig
    validation: PairRows
    batch_size: int
    frozen: Mapping[str, str]
    modules: Mapping[str, nn.Module] = field(init=False)

    def __post_init__(self) -> None:
        self.modules = {"decoder": self.model}

    def units(self, batch: Batch) -> dict[str, int]:
        """Pairs, and the response tokens that are scored."""
        tokens = int((batch["targets"] != NO_TARGET).sum())
        return {"pairs": len(batch["reference"]) // 2, "tokens": tokens}

    def losses(self, batch: Batch, *, step: int, generator: torch.Generator) -> dict[str, LossTerm]:
        """The pairs' losses, summed, and balance between experts where there are any."""
        routings: list[Routing] = []
        loss = self._losses(self._ratios(batch, routings)).sum()
        usage = usage_up_to_targets(routings, batch["targets"])
        balance = balance_term(usage, batch["targets"], self.model.config, unit="tokens")
        return {"dpo": LossTerm(loss, "pairs", 1.0), **balance}

    def evaluate(self) -> dict[str, float]:
        """Loss, reward margin and preference accuracy of the validation pairs; a tie is half."""
        loss = margin = right = 0.0
        with torch.no_grad():
            for first in range(0, len(self.validation), self.batch_size):
                ids = np.arange(first, min(first + self.batch_size, len(self.validation)))
                batch = self.validation.fetch(ids, 0)
                device = self.model.head_weight.device
                ratios = self._ratios({name: one.to(device) for name, one in batch.items()})
                loss += float(self._losses(ratios).sum())
                margin += float(self.settings.beta * ratios.margin.sum())
                right += float((ratios.margin > 0).sum() + (ratios.margin == 0).sum() / 2)
        found = {"loss": loss, "margin": margin, "accuracy": right}
        return {f"validation/{name}": one / len(self.validation) for name, one in found.items()}

    def compile(self) -> None:
        """Batches come in many lengths: a graph for each would cost more than it saves."""

    def _ratios(self, batch: Batch, routings: list[Routing] | None = None) -> LogRatios:
        logps = response_logps(self.model, batch["tokens"], batch["targets"], routings=routings)
        chosen, rejected = (logps - batch["reference"]).chunk(2)
        chosen_tokens, rejected_tokens = (batch["targets"] != NO_TARGET).sum(1).chunk(2)
        return LogRatios(chosen, rejected, chosen_tokens, rejected_tokens)

    def _losses(self, ratios: LogRatios) -> Float[Tensor, " pairs"]:
        return preference_loss(
            ratios,
            kind=self.settings.loss,
            beta=self.settings.beta,
            label_smoothing=self.settings.label_smoothing,
        )


def load_pair_examples(
    settings: DpoConfig, split: str, *, tokenizer: TextTokenizer, context_tokens: int
) -> PairExamples:
    """The pairs of a split as ids, without those of which a response does not fit."""
    found = load_pairs(settings.data, split)
    prompts = [render_prompt(one.prompt, one.input) for one in found.records]
    texts = (
        [(prompt, one.chosen) for prompt, one in zip(prompts, found.records, strict=True)],
        [(prompt, one.rejected) for prompt, one in zip(prompts, found.records, strict=True)],
    )
    sides = [encode_examples(side, tokenizer=tokenizer, joining=settings.joining) for side in texts]
    kept = [
        row
        for row, both in enumerate(zip(*sides, strict=True))
        if max(map(len, both)) <= context_tokens
    ]
    if not kept:
        raise ValueError(f"no pair of {found.name} ({split}) fits into {context_tokens} tokens")
    dropped = len(found.records) - len(kept)
    log.info("%s: %d %s pairs; %d too long and left out", found.name, len(kept), split, dropped)
    ids = [found.records[row].id for row in kept]
    chosen, rejected = ([side[row] for row in kept] for side in sides)
    return PairExamples(found, ids, chosen, rejected)


def reference_logps(
    start: TrainedDecoder, pairs: PairExamples, part: Part, *, name: str
) -> Float[Tensor, "two pairs"]:
    """Of the chosen and the rejected responses, in float32, kept as `reference_<name>`.

    What was computed for other weights or other pairs, or is damaged, is computed again.
    """
    path = part.folder / f"reference_{name}.safetensors"
    identity = {"weights": start.weights, "pairs": _hash(pairs)}
    if (stored := _read_logps(path, identity)) is not None:
        return stored
    logps = score_pairs(start.model.eval(), pairs)
    # Each process of a training computes and writes the same.
    temporary = path.with_name(f"{path.name}.{os.getpid()}.tmp")
    save_file({"logps": logps}, temporary, metadata=_metadata(identity, logps))
    temporary.replace(path)
    return logps


@torch.no_grad()
def score_pairs(model: Decoder, pairs: PairExamples) -> Float[Tensor, "two pairs"]:
    """log p of the chosen and the rejected responses, in float32 and without autocast."""
    device, found = model.head_weight.device, []
    for first in range(0, len(pairs), PAIRS_AT_ONCE):
        batch = pairs.batch(range(first, min(first + PAIRS_AT_ONCE, len(pairs))))
        logps = response_logps(model, batch["tokens"].to(device), batch["targets"].to(device))
        found.append(logps.cpu().view(2, -1))
    return torch.cat(found, dim=1)


@torch.no_grad()
def measure_kl(policy: Decoder, reference: Decoder, pairs: PairExamples) -> Float[Tensor, " pairs"]:
    """How far the policy went: KL to the reference along each chosen response, nats a token."""
    device, found = policy.head_weight.device, []
    for first in range(0, len(pairs), PAIRS_AT_ONCE):
        batch = right_padded(pairs.chosen[first : first + PAIRS_AT_ONCE])
        tokens, targets = (batch[name].to(device) for name in ("tokens", "targets"))
        found.append(response_kl(policy, reference, tokens, targets).cpu())
    return torch.cat(found)


def _read_logps(path: Path, identity: Mapping[str, str]) -> Float[Tensor, "two pairs"] | None:
    """What is stored, if it is whole and of that identity."""
    if not path.exists():
        return None
    try:
        with safe_open(path, framework="pt") as stored:
            metadata, logps = stored.metadata(), stored.get_tensor("logps")
    except SafetensorError as error:
        log.warning("%s is damaged (%s); it is made anew", path, error)
        return None
    return logps if metadata == _metadata(identity, logps) else None


def _metadata(identity: Mapping[str, str], logps: Tensor) -> dict[str, str]:
    """One entry: safetensors writes several in any order, and equal data are equal bytes."""
    whole = {**identity, "sha256": weights_hash({"logps": logps})}
    return {"identity": json.dumps(whole, sort_keys=True)}


def _hash(pairs: PairExamples) -> str:
    rows = [[one.prompt, one.response] for one in (*pairs.chosen, *pairs.rejected)]
    return hashlib.sha256(json.dumps(rows).encode()).hexdigest()
