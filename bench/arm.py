"""One arm of the training bench, in a process of its own: `python bench/arm.py NAME STEPS`.

NAME is ours, ours-float32, ours-other-seed, ours-sdpa, or
{gpt,llama}-{eager,compile}-{autocast,bf16}. Prints one JSON object: seconds of each step after the
warm-up, losses, parameters, and the GEMM peak measured meanwhile.
"""

import contextlib
import functools
import json
import sys
import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import torch
from peers import CONTEXT, D_MODEL, HEADS, LAYERS, PEERS, VOCAB, set_compiled

from lmlab.engine.device import gemm_flops, keep_freed_memory
from lmlab.models import attention
from lmlab.models.decoder import Decoder, init_weights
from lmlab.models.schema import DecoderConfig
from lmlab.studies.scratch.model import LanguageModeling

BATCH, WARMUP = 16, 3
SHAPE = DecoderConfig(
    num_layers=LAYERS, d_model=D_MODEL, num_heads=HEADS, d_ff=1024, context_tokens=CONTEXT
)

Step = Callable[[torch.Tensor, torch.Tensor], torch.Tensor]


def batches() -> Iterator[tuple[torch.Tensor, torch.Tensor]]:
    """The same learnable stream for every arm: each token a noisy function of the one before."""
    generator = torch.Generator().manual_seed(1)
    following = torch.randint(0, VOCAB, (VOCAB,), generator=generator)
    while True:
        tokens = torch.randint(0, VOCAB, (BATCH, CONTEXT + 1), generator=generator)
        copied = torch.rand(BATCH, CONTEXT, generator=generator) < 0.7
        for column in range(CONTEXT):
            told = following[tokens[:, column]]
            tokens[:, column + 1] = torch.where(copied[:, column], told, tokens[:, column + 1])
        yield tokens[:, :-1].contiguous(), tokens[:, 1:].contiguous()


def random_rows(ids: np.ndarray, epoch: int) -> dict[str, torch.Tensor]:
    """For a Loader: the cost of a step does not depend on what the tokens say."""
    generator = torch.Generator().manual_seed(int(ids[0]))
    tokens = torch.randint(0, VOCAB, (len(ids), CONTEXT + 1), generator=generator)
    return {"tokens": tokens[:, :-1], "targets": tokens[:, 1:]}


def our_loss(*, bfloat16: bool, seed: int = 0) -> tuple[torch.nn.Module, Step]:
    """Float32 master weights, autocast, compiled blocks, our cross-entropy."""
    keep_freed_memory()
    model = Decoder(SHAPE, vocab_size=VOCAB)
    init_weights(model, seed=seed)
    objective = LanguageModeling(model, validation=None, batch_size=BATCH, packed_apart=False)
    objective.compile()
    generator = torch.Generator()

    def loss(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        batch = {"tokens": tokens, "targets": targets}
        with torch.autocast("cpu", torch.bfloat16) if bfloat16 else contextlib.nullcontext():
            terms = objective.losses(batch, step=0, generator=generator)
        return terms["nll"].sum / targets.numel()

    return model, loss


def peer_loss(kind: str, *, compiled: bool, weights: bool) -> tuple[torch.nn.Module, Step]:
    """A peer under autocast, or with its weights in bf16."""
    torch.manual_seed(0)
    model = PEERS[kind]()
    if weights:
        model = model.bfloat16()
    called = set_compiled(model, compiled=compiled)

    def loss(tokens: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
        with contextlib.nullcontext() if weights else torch.autocast("cpu", torch.bfloat16):
            return called(tokens, targets)

    return model, loss


def build(name: str) -> tuple[torch.nn.Module, Step]:
    """The arm's model and its loss."""
    if name == "ours-sdpa":
        attention.causal_products = functools.partial(
            torch.nn.functional.scaled_dot_product_attention, is_causal=True
        )
    if name.startswith("ours"):
        return our_loss(bfloat16=name != "ours-float32", seed=int(name == "ours-other-seed"))
    kind, mode, precision = name.split("-")
    return peer_loss(kind, compiled=mode == "compile", weights=precision == "bf16")


def measure(name: str, steps: int) -> dict[str, Any]:
    """Whole optimizer steps: loss, backward, clip, fused AdamW."""
    torch.set_num_threads(2)
    model, loss_of = build(name)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, fused=True)
    seconds, losses, stream = [], [], batches()
    for _ in range(WARMUP + steps):
        tokens, targets = next(stream)
        started = time.perf_counter()
        loss = loss_of(tokens, targets)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        losses.append(loss.item())
        seconds.append(time.perf_counter() - started)
    return {
        "arm": name,
        "seconds": seconds[WARMUP:],
        "losses": losses,
        "parameters": sum(one.numel() for one in model.parameters()),
        "peak_flops": gemm_flops("cpu", torch.bfloat16),
    }


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
