"""Training of a pretrained model for a task: its rows, its loss, and the objective."""

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
import torch.nn.functional as F
from jaxtyping import Float, Int
from torch import Tensor, nn

from lmlab.data.examples import Example, right_padded
from lmlab.data.pack import NO_TARGET
from lmlab.engine.contract import Batch, LossTerm
from lmlab.models.adapt import Adapted
from lmlab.models.complete import encode_after, pad
from lmlab.models.pretrained import Kind, Pretrained
from lmlab.studies.scratch.prompting import LABELS, Question, TaskName, prompt_end, render

log = logging.getLogger(__name__)


@dataclass(frozen=True)
class TaskRows:
    """Examples of a task as one kind of model reads them; a class is a response of one number."""

    kind: Kind
    examples: list[Example]
    pad_id: int

    def __len__(self) -> int:
        return len(self.examples)

    def fetch(self, ids: Int[np.ndarray, "rows"], epoch: int) -> dict[str, Tensor]:
        """`tokens` and `targets`, and a `mask` where pads could be seen; the same every `epoch`."""
        chosen = [self.examples[index] for index in ids]
        if self.kind == "causal":
            return right_padded(chosen)
        read = pad([one.prompt for one in chosen], value=self.pad_id, side="right")
        targets = pad([one.response for one in chosen], value=NO_TARGET, side="right")
        return {"tokens": read.tokens, "mask": read.mask, "targets": targets.tokens}


def task_rows(
    questions: Sequence[Question], base: Pretrained, *, task: TaskName, max_tokens: int, split: str
) -> TaskRows:
    """Each question with its answer; what is longer than `max_tokens` is left out and counted."""
    pad_id = base.tokenizer.pad_token_id
    assert isinstance(pad_id, int)
    every = [_example(one, base, task) for one in questions]
    spent = 0 if base.kind == "classification" else 1
    fitting = [one for one in every if len(one.prompt) + spent * len(one.response) <= max_tokens]
    log.info(
        "%s: %d %s examples; %d longer than %d tokens and left out",
        base.name, len(fitting), split, len(every) - len(fitting), max_tokens,
    )  # fmt: skip
    if not fitting:
        raise ValueError(f"no {split} example fits into max_tokens={max_tokens}; set it higher")
    return TaskRows(base.kind, fitting, pad_id)


@dataclass
class Adapting:
    """Objective: the NLL of every answer's tokens, or of its class."""

    adapted: Adapted
    validation: TaskRows
    batch_size: int
    frozen: Mapping[str, str]
    modules: Mapping[str, nn.Module] = field(init=False)

    def __post_init__(self) -> None:
        self.modules = {"adapter": self.adapted.trained}

    @property
    def unit(self) -> str:
        """What the loss is divided by."""
        return "rows" if self.validation.kind == "classification" else "tokens"

    def units(self, batch: Batch) -> dict[str, int]:
        """Targets."""
        return {self.unit: int((batch["targets"] != NO_TARGET).sum())}

    def losses(self, batch: Batch, *, step: int, generator: torch.Generator) -> dict[str, LossTerm]:
        """The sum over targets, in nats."""
        logits = task_logits(self.adapted.model, self.validation.kind, batch)
        return {"nll": LossTerm(_nll_sum(logits, batch["targets"]), self.unit, 1.0)}

    def evaluate(self) -> dict[str, float]:
        """NLL a target, and the share of targets that are the likeliest."""
        nll, right, count = 0.0, 0, 0
        for batch in self._validation_batches():
            logits = task_logits(self.adapted.model, self.validation.kind, batch)
            targets = batch["targets"]
            nll += float(_nll_sum(logits, targets))
            right += int((logits.argmax(-1) == targets).sum())
            count += self.units(batch)[self.unit]
        return {"validation/loss": nll / count, "validation/accuracy": right / count}

    def compile(self) -> None:
        """Batches come in many lengths: a graph for each would cost more than it saves."""

    def _validation_batches(self) -> Iterator[Batch]:
        device = next(self.adapted.model.parameters()).device
        for first in range(0, len(self.validation), self.batch_size):
            ids = np.arange(first, min(first + self.batch_size, len(self.validation)))
            batch = self.validation.fetch(ids, 0)
            yield {name: one.to(device) for name, one in batch.items()}


def task_logits(model: nn.Module, kind: Kind, batch: Batch) -> Float[Tensor, "rows targets out"]:
    """Scores beside each target: next tokens', or the classes' as those of a single one."""
    match kind:
        case "causal":
            # Pads stand behind, where causal attention does not look.
            return model(input_ids=batch["tokens"]).logits
        case "seq2seq":
            shifted = model.prepare_decoder_input_ids_from_labels(labels=batch["targets"])  # type: ignore[operator]
            return model(
                input_ids=batch["tokens"], attention_mask=batch["mask"], decoder_input_ids=shifted
            ).logits
        case "classification":
            found = model(input_ids=batch["tokens"], attention_mask=batch["mask"])
            return found.logits[:, None]


def _nll_sum(
    logits: Float[Tensor, "rows targets out"], targets: Int[Tensor, "rows targets"]
) -> Float[Tensor, ""]:
    return F.cross_entropy(
        logits.float().flatten(0, 1), targets.flatten(), ignore_index=NO_TARGET, reduction="sum"
    )


def _example(asked: Question, base: Pretrained, task: TaskName) -> Example:
    """The prompt's ids are those at evaluation, whatever follows; the answer's end is learnt."""
    read = asked.text if base.kind == "classification" else render(task, asked.text)
    prompt = base.tokenizer(read)["input_ids"]
    if base.kind == "classification":
        return Example(prompt, [LABELS.index(asked.answer)])  # type: ignore[arg-type]
    end = base.tokenizer.eos_token_id
    answer = encode_after(base, prompt_end(task), f" {asked.answer}")
    return Example(prompt, [*answer, end])  # type: ignore[arg-type]
