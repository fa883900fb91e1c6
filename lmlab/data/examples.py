"""Prompts and responses as token rows: only the response is a target, and its end is learnt."""

from bisect import bisect_left, insort
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from jaxtyping import Int, Int64
from torch import Tensor

from lmlab.data.pack import NO_TARGET
from lmlab.data.tokenizer import TextTokenizer

# apart: the prompt's ids are those at generation, whatever follows. joint: prompt and response are
# one text, and the response begins where its ids leave the prompt's.
Joining = Literal["apart", "joint"]


@dataclass(frozen=True)
class Example:
    """Token ids of a prompt, after BOS where there is one, and of its response up to EOS."""

    prompt: list[int]
    response: list[int]

    @property
    def ids(self) -> list[int]:
        """Both."""
        return self.prompt + self.response

    @property
    def targets(self) -> list[int]:
        """What each id is to predict: the next one where that is of the response."""
        return [NO_TARGET] * (len(self.prompt) - 1) + self.response

    def __len__(self) -> int:
        """Predictions: the last id predicts nothing."""
        return len(self.prompt) + len(self.response) - 1


def encode_examples(
    texts: Sequence[tuple[str, str]], *, tokenizer: TextTokenizer, joining: Joining = "apart"
) -> list[Example]:
    """Each (prompt, response) as ids."""
    prompts = tokenizer.encode_batch([prompt for prompt, _ in texts])
    if joining == "apart":
        responses = tokenizer.encode_batch([response for _, response in texts])
    else:
        whole = tokenizer.encode_batch([prompt + response for prompt, response in texts])
        starts = [_common(one, prompt) for one, prompt in zip(whole, prompts, strict=True)]
        prompts = [one[:start] for one, start in zip(whole, starts, strict=True)]
        responses = [one[start:] for one, start in zip(whole, starts, strict=True)]
    found = [
        Example(tokenizer.start_ids + prompt, [*response, tokenizer.eos_id])
        for prompt, response in zip(prompts, responses, strict=True)
    ]
    if not all(one.prompt for one in found):
        raise ValueError("an empty prompt needs a tokenizer with BOS: nothing predicts its answer")
    return found


class ExampleRows:
    """Rows of `context_tokens`, each packed with whole examples that do not see each other.

    Longer examples are left out and counted in `num_dropped`.
    """

    def __init__(self, examples: Sequence[Example], *, context_tokens: int) -> None:
        self.examples = [one for one in examples if len(one) <= context_tokens]
        self.num_dropped = len(examples) - len(self.examples)
        self.context_tokens = context_tokens
        if not self.examples:
            raise ValueError(
                f"none of {len(examples)} examples fits into {context_tokens} tokens; "
                "choose a model with a longer context, or shorter examples"
            )
        self._rows = best_fit([len(one) for one in self.examples], capacity=context_tokens)

    def __len__(self) -> int:
        return len(self._rows)

    def fetch(
        self, ids: Int[np.ndarray, "rows"], epoch: int
    ) -> dict[str, Int64[Tensor, "rows tokens"]]:
        """`tokens`, `targets` and `documents`, as rows of packed text have them.

        The rest of a row is a document of its own without a target. Rows are the same in every
        `epoch`.
        """
        shape = (len(ids), self.context_tokens)
        tokens, documents = np.zeros(shape, np.int64), np.zeros(shape, np.int64)
        targets = np.full(shape, NO_TARGET, np.int64)
        for row, chosen in enumerate(self._rows[index] for index in ids):
            start = 0
            for place, example in enumerate(self.examples[one] for one in chosen):
                end = start + len(example)
                tokens[row, start:end] = example.ids[:-1]
                targets[row, start:end] = example.targets
                documents[row, start:end] = place
                start = end
            documents[row, start:] = len(chosen)
        batch = {"tokens": tokens, "targets": targets, "documents": documents}
        return {name: torch.from_numpy(one) for name, one in batch.items()}


def best_fit(lengths: Sequence[int], *, capacity: int) -> list[list[int]]:
    """Which of the lengths share a row: the longest first, each where it leaves the least room."""
    rows: list[list[int]] = []
    rooms: list[tuple[int, int]] = []
    for index in sorted(range(len(lengths)), key=lambda one: (-lengths[one], one)):
        at = bisect_left(rooms, (lengths[index], -1))
        if at == len(rooms):
            room, row = capacity, len(rows)
            rows.append([])
        else:
            room, row = rooms.pop(at)
        rows[row].append(index)
        insort(rooms, (room - lengths[index], row))
    return rows


def right_padded(
    examples: Sequence[Example], *, multiple: int = 32
) -> dict[str, Int64[Tensor, "examples tokens"]]:
    """`tokens` and `targets` of one example a row.

    Causal attention lets no token see the pads behind it, so they need no mask. Lengths are rounded
    up, so that there are few shapes.
    """
    longest = max(map(len, examples))
    shape = (len(examples), -(-longest // multiple) * multiple)
    tokens, targets = np.zeros(shape, np.int64), np.full(shape, NO_TARGET, np.int64)
    for row, example in enumerate(examples):
        tokens[row, : len(example)] = example.ids[:-1]
        targets[row, : len(example)] = example.targets
    return {"tokens": torch.from_numpy(tokens), "targets": torch.from_numpy(targets)}


def _common(one: Sequence[int], other: Sequence[int]) -> int:
    """How many ids both begin with."""
    pairs = zip(one, other, strict=False)
    return next((n for n, (a, b) in enumerate(pairs) if a != b), min(len(one), len(other)))
