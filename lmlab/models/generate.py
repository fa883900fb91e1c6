"""Text from a decoder: batches with left padding, a cache allocated once, a generator a prompt."""

import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Literal

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor

from lmlab.models.attention import KeyValueCache
from lmlab.models.decoder import Decoder
from lmlab.models.schema import GenerationSettings
from lmlab.models.streaming import PIECE_TOKENS, StreamingCache, check_beyond

Reason = Literal["eos", "length", "stop"]


@dataclass(frozen=True)
class Ending:
    """What ends a text besides its length: a token, or a string in what `decode` makes of it.

    The token is not chosen before a text has `least_tokens` of its own.
    """

    eos: int | None = None
    decode: Callable[[list[int]], str] | None = None
    least_tokens: int = 0


@dataclass(frozen=True)
class Generation:
    """The tokens after the prompt, without the EOS but with what completed a stop string."""

    tokens: list[int]
    reason: Reason


@torch.inference_mode()
def generate(
    model: Decoder,
    prompts: Sequence[list[int]],
    *,
    settings: GenerationSettings,
    generators: Sequence[torch.Generator] = (),
    ending: Ending = Ending(),
) -> list[Generation]:
    """Each prompt continued; a row is the same alone and in a batch.

    `generators`, one a prompt and on the CPU, are needed unless the temperature is 0.
    """
    if not prompts:
        return []
    _check(model, prompts, settings=settings, generators=generators, ending=ending)
    padded = _left_padded(prompts, device=model.embed.weight.device)
    cache = _cache(model, padded, settings=settings)
    seen = _seen(prompts, like=padded.tokens, vocab=model.vocab_size)
    rows = [_Row() for _ in prompts]
    new = padded.tokens
    with _weights_by_column(model):
        for done in range(settings.max_new_tokens):
            hidden = _read(model, new, pads=padded.pads, cache=cache)
            scores = penalize(model.logits(hidden).float(), seen, settings.repetition_penalty)
            if ending.eos is not None and done < ending.least_tokens:
                scores[:, ending.eos] = -torch.inf
            chosen = _choose(scores, rows=rows, settings=settings, generators=generators)
            for row, token in zip(rows, chosen.tolist(), strict=True):
                row.take(token, ending=ending, stop=settings.stop)
            if all(row.reason for row in rows):
                break
            new = chosen[:, None]
            seen.scatter_(1, new, value=True)
    return [Generation(tokens=row.tokens, reason=row.reason or "length") for row in rows]


def prompt_generators(*, seed: int, num_prompts: int) -> list[torch.Generator]:
    """One generator a prompt, keyed by its place: adding prompts changes no earlier text."""
    digests = (hashlib.sha256(f"{seed}:{n}".encode()).digest() for n in range(num_prompts))
    return [torch.Generator().manual_seed(int.from_bytes(digest[:8], "big")) for digest in digests]


@dataclass(frozen=True)
class Candidates:
    """The tokens that may come next, likeliest first, and their probabilities (unnormalised)."""

    weights: Float[Tensor, "batch candidates"]
    tokens: Int[Tensor, "batch candidates"]


def penalize(
    logits: Float[Tensor, "batch vocab"], seen: Bool[Tensor, "batch vocab"], penalty: float
) -> Float[Tensor, "batch vocab"]:
    """Logits of tokens seen before divided by `penalty`, or times it when negative (CTRL, 2019)."""
    if penalty == 1.0:
        return logits
    punished = torch.where(logits < 0, logits * penalty, logits / penalty)
    return torch.where(seen, punished, logits)


def candidates(scores: Float[Tensor, "batch vocab"], *, settings: GenerationSettings) -> Candidates:
    """What temperature, top-k and then top-p leave.

    Top-p keeps a token while those before it hold less than `top_p` of what top-k left.
    """
    vocab = scores.shape[1]
    kept = vocab if settings.top_k is None else min(settings.top_k, vocab)
    best = (scores / settings.temperature).topk(kept, dim=1)
    weights = best.values.softmax(-1)
    # At 1 nothing is left out; rounded sums would cut the rarest tokens.
    if settings.top_p is not None and settings.top_p < 1:
        before = weights.cumsum(-1) - weights
        weights = torch.where(before < settings.top_p, weights, 0.0)
    return Candidates(weights=weights, tokens=best.indices)


@dataclass
class _Row:
    """One text as it grows."""

    tokens: list[int] = field(default_factory=list)
    reason: Reason | None = None

    def take(self, token: int, *, ending: Ending, stop: tuple[str, ...]) -> None:
        if self.reason is not None:
            return
        if token == ending.eos:
            self.reason = "eos"
            return
        self.tokens.append(token)
        if stop and ending.decode is not None:
            text = ending.decode(self.tokens)
            if any(end in text for end in stop):
                self.reason = "stop"


@dataclass(frozen=True)
class _Padded:
    tokens: Int[Tensor, "batch tokens"]
    # None: all prompts are of one length, and no mask is needed.
    pads: Int[Tensor, " batch"] | None


def _cache(
    model: Decoder, prompts: _Padded, *, settings: GenerationSettings
) -> KeyValueCache | StreamingCache:
    batch, num_tokens = prompts.tokens.shape
    like = model.embed.weight
    if settings.beyond is not None:
        return StreamingCache(model.config, settings.beyond, batch=batch, like=like)
    num_tokens += settings.max_new_tokens
    return KeyValueCache(model.config, batch=batch, num_tokens=num_tokens, like=like)


def _read(
    model: Decoder,
    new: Int[Tensor, "batch new"],
    *,
    pads: Int[Tensor, " batch"] | None,
    cache: KeyValueCache | StreamingCache,
) -> Float[Tensor, "batch width"]:
    """The state after the last of the new tokens."""
    at_once = PIECE_TOKENS if isinstance(cache, StreamingCache) else new.shape[1]
    states = [model.hidden(part, pads=pads, cache=cache)[:, -1] for part in new.split(at_once, 1)]
    return states[-1]


@contextmanager
def _weights_by_column(model: Decoder) -> Iterator[None]:
    """On a CPU, keep the wide matrices by column meanwhile.

    A single state times a matrix of 1,152 x 384 takes half the time so, one of 8,192 x 384 two
    fifths; tall ones gain nothing. The copies cost as much as two or three tokens.
    """
    kept = {
        parameter: parameter.data
        for parameter in model.parameters()
        if parameter.device.type == "cpu"
        and parameter.ndim == 2
        and len(parameter) > parameter[0].numel()
    }
    try:
        for parameter, data in kept.items():
            parameter.data = data.T.contiguous().T
        yield
    finally:
        for parameter, data in kept.items():
            parameter.data = data


def _choose(
    scores: Float[Tensor, "batch vocab"],
    *,
    rows: list[_Row],
    settings: GenerationSettings,
    generators: Sequence[torch.Generator],
) -> Int[Tensor, " batch"]:
    if settings.temperature == 0:
        return scores.argmax(-1)
    # A row that has ended draws no more: what its generator gives next must not depend on mates.
    draws = [
        0.0 if row.reason else torch.rand((), generator=generator).item()
        for row, generator in zip(rows, generators, strict=True)
    ]
    return draw(candidates(scores, settings=settings), torch.tensor(draws, dtype=torch.float64))


def draw(among: Candidates, uniform: Float[Tensor, " batch"]) -> Int[Tensor, " batch"]:
    """The candidate in whose share of [0, 1) the uniform number falls."""
    share = among.weights.double().cumsum(-1)
    point = uniform.to(share.device)[:, None] * share[:, -1:]
    place = torch.searchsorted(share, point, right=True).clamp(max=share.shape[1] - 1)
    return among.tokens.gather(1, place)[:, 0]


def _left_padded(prompts: Sequence[list[int]], *, device: torch.device) -> _Padded:
    longest = max(map(len, prompts))
    pads = [longest - len(prompt) for prompt in prompts]
    rows = [[0] * pad + prompt for pad, prompt in zip(pads, prompts, strict=True)]
    counts = torch.tensor(pads, device=device) if any(pads) else None
    return _Padded(tokens=torch.tensor(rows, device=device), pads=counts)


def _seen(
    prompts: Sequence[list[int]], *, like: Int[Tensor, "batch tokens"], vocab: int
) -> Bool[Tensor, "batch vocab"]:
    seen = torch.zeros(len(prompts), vocab, dtype=torch.bool, device=like.device)
    for row, prompt in zip(seen, prompts, strict=True):
        row[prompt] = True
    return seen


def _check(
    model: Decoder,
    prompts: Sequence[list[int]],
    *,
    settings: GenerationSettings,
    generators: Sequence[torch.Generator],
    ending: Ending,
) -> None:
    if model.training:
        raise ValueError("the model is in training mode, with dropout; call model.eval() first")
    if settings.temperature > 0 and len(generators) != len(prompts):
        raise ValueError(
            f"{len(prompts)} prompts need as many generators, not {len(generators)}; "
            "make them with prompt_generators(seed=..., num_prompts=...)"
        )
    if settings.stop and ending.decode is None:
        raise ValueError("stop strings need Ending(decode=...), the tokenizer's decoder")
    if settings.beyond is not None:
        check_beyond(settings.beyond, model.config)
    for place, prompt in enumerate(prompts):
        _check_prompt(prompt, place=place, settings=settings, model=model)


def _check_prompt(
    prompt: list[int], *, place: int, settings: GenerationSettings, model: Decoder
) -> None:
    context, new = model.config.context_tokens, settings.max_new_tokens
    if not prompt:
        raise ValueError(f"prompt {place} has no tokens; begin it with BOS")
    if settings.beyond is None and len(prompt) + new > context:
        raise ValueError(
            f"prompt {place}: {len(prompt)} tokens and {new} new ones are "
            f"{len(prompt) + new}, more than the model's context of {context}"
        )
    if not 0 <= min(prompt) <= max(prompt) < model.vocab_size:
        raise ValueError(
            f"prompt {place} has token ids outside 0..{model.vocab_size - 1}; "
            "does the tokenizer belong to this model?"
        )
