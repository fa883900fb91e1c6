"""What a pretrained model says to prompts: label log-probabilities, continuations, class scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from jaxtyping import Float, Float64, Int, Int64
from torch import Tensor
from transformers import GenerationConfig

from lmlab.models.pretrained import Pretrained


@dataclass(frozen=True)
class Completer:
    """A pretrained model that reads prompts, `batch_size` at a time."""

    pretrained: Pretrained
    batch_size: int

    def encode(self, text: str) -> list[int]:
        """A prompt's ids, with what the tokenizer itself puts around a text."""
        return self.pretrained.tokenizer(text)["input_ids"]  # type: ignore[return-value]

    def encode_after(self, before: str, text: str) -> list[int]:
        """The ids of `text` where `before` stands before it, and of it alone in a decoder."""
        return encode_after(self.pretrained, before, text)

    @torch.inference_mode()
    def label_log_probs(
        self, prompts: Sequence[list[int]], tokens: Int64[np.ndarray, "labels"]
    ) -> Float64[np.ndarray, "prompts labels"]:
        """log p of each token as the next one after each prompt, over the whole vocabulary."""
        found = [self._next(batch)[:, tokens.tolist()] for batch in self._batches(prompts)]
        return torch.cat(found).double().cpu().numpy()

    @torch.inference_mode()
    def write(
        self, prompts: Sequence[list[int]], *, max_new_tokens: int, num_beams: int = 1
    ) -> list[str]:
        """Greedy continuations, or the best beam's, without the prompt and special tokens."""
        pretrained, texts = self.pretrained, []
        settings = GenerationConfig(
            max_new_tokens=max_new_tokens, num_beams=num_beams, do_sample=False
        )
        for batch in self._batches(prompts):
            padded = pad(batch, value=self._pad, side="left", device=self._device)
            made = pretrained.model.generate(  # type: ignore[operator]
                input_ids=padded.tokens, attention_mask=padded.mask, generation_config=settings
            )
            new = made if pretrained.kind == "seq2seq" else made[:, padded.tokens.shape[1] :]
            texts += pretrained.tokenizer.batch_decode(new, skip_special_tokens=True)
        return texts

    @torch.inference_mode()
    def class_log_probs(
        self, prompts: Sequence[list[int]]
    ) -> Float64[np.ndarray, "prompts labels"]:
        """Of a model that classifies."""
        found = []
        for batch in self._batches(prompts):
            padded = pad(batch, value=self._pad, side="right", device=self._device)
            logits = self.pretrained.model(
                input_ids=padded.tokens, attention_mask=padded.mask
            ).logits
            found.append(logits.float().log_softmax(-1))
        return torch.cat(found).double().cpu().numpy()

    def _next(self, prompts: Sequence[list[int]]) -> Float[Tensor, "prompts vocab"]:
        """log p of the token after each prompt; padded behind, where causal attention sees none."""
        model = self.pretrained.model
        padded = pad(prompts, value=self._pad, side="right", device=self._device)
        given = {"input_ids": padded.tokens, "attention_mask": padded.mask}
        if self.pretrained.kind == "seq2seq":
            start: int = model.config.decoder_start_token_id  # type: ignore[assignment]
            first = torch.full((len(prompts), 1), start, device=self._device)
            logits = model(**given, decoder_input_ids=first).logits[:, 0]
        else:
            last = torch.tensor([len(one) - 1 for one in prompts], device=self._device)
            rows = torch.arange(len(prompts), device=self._device)
            logits = model(**given).logits[rows, last]
        return logits.float().log_softmax(-1)

    def _batches(self, prompts: Sequence[list[int]]) -> Iterator[Sequence[list[int]]]:
        for first in range(0, len(prompts), self.batch_size):
            yield prompts[first : first + self.batch_size]

    @property
    def _pad(self) -> int:
        return self.pretrained.tokenizer.pad_token_id  # type: ignore[return-value]

    @property
    def _device(self) -> torch.device:
        return next(self.pretrained.model.parameters()).device


@dataclass(frozen=True)
class Padded:
    """Rows of one length, and which of their tokens are real: by lengths, since EOS may be PAD."""

    tokens: Int[Tensor, "rows tokens"]
    mask: Int[Tensor, "rows tokens"]


def pad(
    rows: Sequence[list[int]], *, value: int, side: str, device: torch.device | None = None
) -> Padded:
    """Rows filled up with `value` on the `side` left or right."""
    longest = max(map(len, rows))
    tokens = torch.full((len(rows), longest), value, device=device)
    mask = torch.zeros_like(tokens)
    for index, row in enumerate(rows):
        place = slice(longest - len(row), longest) if side == "left" else slice(0, len(row))
        tokens[index, place] = torch.tensor(row, device=device)
        mask[index, place] = 1
    return Padded(tokens, mask)


def encode_after(pretrained: Pretrained, before: str, text: str) -> list[int]:
    """The ids of `text` as it follows `before`; a decoder of its own (T5) begins with it.

    Raises ValueError where the two melt into one token: then there is no place between them.
    """
    tokenizer = pretrained.tokenizer
    if pretrained.kind == "seq2seq":
        return tokenizer.encode(text.strip(), add_special_tokens=False)
    head = tokenizer.encode(before, add_special_tokens=False)
    whole = tokenizer.encode(before + text, add_special_tokens=False)
    if whole[: len(head)] != head:
        raise ValueError(f"the tokenizer of {pretrained.name} joins {before!r} and {text[:20]!r}")
    return whole[len(head) :]
